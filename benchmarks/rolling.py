"""The next 15-minute roll of a fleet against solving it cold.

`python -m benchmarks.rolling --assets 1000` prints one JSON object as its last line. Nine assets of ten are
batteries, one in a hundred is a gas engine, the rest are on/off processes; 96 quarters, a market price, and a
connection limit at what the processes take when all run, which binds where batteries charge beside them. A
first plan is made; its first quarter is executed; a quarter later the states are those it led to, and
prices, shipments and heat are forecast anew (2 % noise on each hour). That problem is planned twice: cold,
until it certifies `--gap` or `--deadline` is over, and with what the first plan left (`Warm`), its basis,
its prices and its commitment, until it certifies the gap the cold run ended with. Both times include the build. The
reading is `same_certified_gap` where the cold run certified `--gap`, else `cold_gap_at_deadline`.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.vpp_fleet import PRICE_EUR_PER_MWH, STORED_EUR_PER_MWH, Fleet, blocks, hours_of, made, quarters
from dispatch.block import Block, Rows
from dispatch.problem import Problem, assemble, group_rows
from dispatch.secure import Secured, secure_plan
from dispatch.warm import Warm
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid

STEPS = 96
NOISE = 0.02
CONNECTED = 1.0


@dataclass(frozen=True)
class Moment:
    """What is known at one quarter: states, inputs (T,) and the price (T,) over its grid."""

    grid: TimeGrid
    states: Mapping[str, AssetState]
    inputs: Mapping[str, Mapping[str, Array]]
    price: Array


def problem_at(fleet: Fleet, moment: Moment, limit_mw: float) -> Problem:
    """The fleet behind a connection of `limit_mw` either way; money spent, with the change of what is stored."""
    ids = [a.id for a in fleet.assets]
    limit = Rows("connection", -limit_mw, limit_mw, injection=group_rows(ids, ids, moment.grid.n))
    begun = sum(STORED_EUR_PER_MWH[a.kind] * moment.states[a.id].stored_mwh for a in fleet.assets)
    parts = blocks(fleet, moment.states, moment.grid, moment.inputs, moment.price)
    return assemble(moment.grid, ids, [*parts, Block("stored at the start", (), (), offset=begun)], [limit])


def first_moment(fleet: Fleet) -> Moment:
    grid = quarters(STEPS)
    return Moment(grid, fleet.states, fleet.inputs(grid), PRICE_EUR_PER_MWH[hours_of(grid)])


def next_moment(fleet: Fleet, last: Moment, plan: Schedule, seed: int) -> Moment:
    """A quarter later: states from the executed first step, every hour's forecast moved a little."""
    rng = np.random.default_rng(seed)
    grid = quarters(STEPS, first=1)
    hour = hours_of(grid)
    inputs = {
        asset: {name: np.maximum(v * (1.0 + NOISE * rng.standard_normal(24)), 0.0)[hour] for name, v in named.items()}
        for asset, named in fleet.hourly.items()
    }
    price = (PRICE_EUR_PER_MWH * (1.0 + NOISE * rng.standard_normal(24)))[hour]
    states = {a: _after(last.states[a], plan, row) for row, a in enumerate(plan.asset_ids)}
    return Moment(grid, states, inputs, price)


def _after(state: AssetState, plan: Schedule, row: int) -> AssetState:
    asset = state.asset_id
    on = bool(plan.commitment[asset][0] > 0.5) if asset in plan.commitment else state.on
    minutes = state.minutes_in_state if on == state.on else 0
    return replace(
        state, at=state.at + QUARTER, known_at=state.known_at + QUARTER, power_mw=float(plan.power_mw[row, 0]),
        stored_mwh=float(plan.stored_mwh[asset][0]), on=on, minutes_in_state=minutes + 15,
    )  # fmt: skip


def timed(
    fleet: Fleet, moment: Moment, limit_mw: float, gap: float, deadline_s: float, warm: Warm | None = None
) -> tuple[Secured, float]:
    """The plan and the seconds from the start of its build."""
    began = time.perf_counter()
    whole = problem_at(fleet, moment, limit_mw)
    secured = secure_plan(whole, None, None, deadline_s=deadline_s, rel_gap=gap, warm=warm)
    return secured, time.perf_counter() - began


def measure(assets: int, gap: float, deadline_s: float, seed: int) -> dict[str, Any]:
    """Plans the first moment, then the next one cold and warm."""
    engines, storages = assets // 100, assets * 9 // 10
    fleet = made(storages, assets - storages - engines, engines, [], seed)
    running = sum(a.params.power_mw for a in fleet.assets if a.kind == "process")
    limit_mw = CONNECTED * running
    first, first_s = timed(fleet, first_moment(fleet), limit_mw, gap, deadline_s)
    later = next_moment(fleet, first_moment(fleet), first.solution.schedule, seed + 1)
    cold, cold_s = timed(fleet, later, limit_mw, gap, deadline_s)
    reached = max(gap, cold.solution.gap)
    roll, roll_s = timed(fleet, later, limit_mw, reached, deadline_s, first.warm)
    difference = roll.solution.objective - cold.solution.objective
    net = roll.solution.schedule.power_mw.sum(axis=0)
    return {
        "assets": assets, "gap_asked": gap,
        "reading": "same_certified_gap" if cold.solution.gap <= gap else "cold_gap_at_deadline",
        "cold_s": round(cold_s, 3),
        "roll_s": round(roll_s, 3), "ratio": round(cold_s / roll_s, 2), "objective_difference": difference,
        "objective_difference_relative": difference / max(1.0, abs(cold.solution.objective)),
        "cold_gap": cold.solution.gap, "roll_gap": roll.solution.gap, "cold_status": cold.solution.status,
        "roll_status": roll.solution.status, "first_s": round(first_s, 3),
        "steps_at_the_connection_limit": int((np.abs(net) > limit_mw - 1e-6).sum()),
    }  # fmt: skip


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=1000)
    parser.add_argument("--gap", type=float, default=0.005)
    parser.add_argument("--deadline", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.assets < 1:
        parser.error("a fleet needs at least one asset")
    print(json.dumps(measure(given.assets, given.gap, given.deadline, given.seed)))


if __name__ == "__main__":
    main()
