"""The least a day could have cost: one secure plan with perfect foresight of everything.

Load, generation, prices and the answer of price-takers are the true ones; physics, network limits and
the value of what is left in store are those of every other plan. Nothing is sold in advance, because
who knows the outcome has no deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np

from vpp.domain.forecast import LEVELS, Forecast
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import Solution
from vpp.domain.stage import DAY_AHEAD
from vpp.domain.time import Array, TimeGrid
from vpp.service.assemble import exposure_of
from vpp.service.cascade import plan_of
from vpp.service.contracts import contracts_over
from vpp.service.inputs import trajectories
from vpp.service.knowledge import end_values, price_over
from vpp.service.orders import event_grid, orders_of
from vpp.service.situation import Call, Situation, UnitPosition
from vpp.service.system import System
from vpp.service.truth import Truth

DEADLINE = timedelta(seconds=150)


def perfect_foresight(system: System, truth: Truth, initial: Mapping[str, AssetState]) -> Solution:
    """The plan that knew everything, over the truth's quarters. Raises NotSolved."""
    s = _situation(system, truth, initial)
    return plan_of(s, exposure_of(s)).solution


def oracle_cost(
    system: System, solution: Solution, truth: Truth, initial: Mapping[str, AssetState]
) -> dict[str, float]:
    """Money spent by the oracle by term, with the change of stored energy at the stated price as everywhere."""
    stated, schedule = system.market.stored_energy_eur_per_mwh, solution.schedule
    used = sum(
        stated[a.kind] * (initial[a.id].stored_mwh - float(schedule.stored_mwh[a.id][-1]))
        for a in system.portfolio.assets
        if a.kind in stated
    )
    return dict(solution.costs) | {"stored_energy": used, "events": -_income(system, truth)}


def _income(system: System, truth: Truth) -> float:
    """What the grid desk pays for every settled event delivered in full."""
    events = system.store.events.list(truth.grid.start, truth.grid.end)
    return sum(
        e.mw * float(e.price_eur_per_mwh) * float(event_grid(e).hours.sum())
        for e in events
        if system.store.events.statement(e.id) is not None
    )


def _situation(system: System, truth: Truth, initial: Mapping[str, AssetState]) -> Situation:
    grid, portfolio = truth.quarters, system.portfolio
    ids = system.book.ids
    p = np.array([grid.sample(truth.grid, truth.series[i]) for i in ids])
    forecast = Forecast(
        grid.start, grid, ids, LEVELS, np.repeat(p[:, None, :], len(LEVELS), axis=1),
        np.empty((0, len(ids), grid.n)), ("truth",) * len(ids),
    )  # fmt: skip
    side = system.grid_side(grid.end)
    units = tuple(
        UnitPosition(u.id, tuple(a.id for a in portfolio.assets if a.site in u.sites), np.full(grid.n, np.nan))
        for u in portfolio.trading_units
    )
    return Situation(
        stage=replace(system.stage(DAY_AHEAD), deadline=DEADLINE), purpose="oracle", now=grid.start, grid=grid,
        portfolio=portfolio, states=initial, inputs=trajectories(portfolio, grid, dict(zip(ids, p, strict=True))),
        forecast=forecast, price_eur_per_mwh=price_over(system, grid, grid.end),
        fee_eur_per_mwh=system.market.fee(grid, portfolio.zone), deviation_factor=system.market.deviation_beta,
        positions=units, end_value=end_values(system, grid, None), calls=_calls(system, grid), grid_side=side,
        contracts=contracts_over(system, grid, grid.start, "oracle", limits_at=grid.end),
        rules=system.loaded.rules,
    )  # fmt: skip


def _calls(system: System, grid: TimeGrid) -> tuple[Call, ...]:
    """Each settled event as one order on all its participants; what is missed costs its price and its penalty."""
    found = []
    for event in system.store.events.list(grid.start, grid.end):
        offers, answers = system.store.events.offers(event.id), system.store.events.acceptances(event.id)
        orders = orders_of(event, offers, answers)
        if not orders or system.store.events.statement(event.id) is None:
            continue
        over = event_grid(event)
        baseline: Array = np.sum([o.baseline_mw for o in orders], axis=0)
        found.append(
            Call(
                event.id, tuple(a for o in orders for a in o.assets),
                np.nan_to_num(grid.sample(over, baseline)), np.nan_to_num(grid.sample(over, np.full(over.n, event.mw))),
                float(event.price_eur_per_mwh + event.penalty_eur_per_mwh),
            )
        )  # fmt: skip
    return tuple(found)
