"""Reserve equals a literal model, and what is sold can be delivered: a call is played at every step of the plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.block import EndValue
from dispatch.products.reserve import Side, Terms, decision
from tests.dispatch.activation import Battery, begins, play
from tests.dispatch.commitment_oracle import solve
from tests.dispatch.random_fleet import Fleet, random_fleet
from tests.dispatch.trade_cases import Traded, reserve_contract, terms, trade
from vpp.domain.time import Array

PRICE = 60.0
QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
seeds, grids = st.integers(0, 10_000), st.sampled_from(["quarters", "mixed", "odd", "hours"])
PRODUCTS = {
    "up": terms(),
    "down": terms(direction="down", sustain_h=1.0, recovery_h=3.0),
    "symmetric": terms(direction="symmetric", interval_min=120, sustain_h=0.25, recovery_h=0.75),
    "long": terms(direction="symmetric", interval_min=30, sustain_h=0.75, recovery_h=2.0),
}


def prices(fleet: Fleet, seed: int) -> Array:
    return np.random.default_rng(seed).uniform(-10.0, 160.0, fleet.grid.n)


def held(traded: Traded, asset: str, side: Side, contract: str = "r") -> Array:
    return traded.schedule.decisions[asset].get(decision(contract, side), np.zeros(traded.schedule.grid.n))


def oracle(fleet: Fleet, contracts: list[Terms], price: Array, firm: dict[str, float]) -> float:
    """Batteries and capacity contracts, equation by equation; loops over everything."""
    grid, n, m = fleet.grid, fleet.grid.n, pyo.ConcreteModel()
    h = [minutes / 60 for minutes in grid.minutes]
    begin = [sum(h[:t]) for t in range(n)]
    end = [begin[t] + h[t] for t in range(n)]
    m.rules, money = pyo.ConstraintList(), 0.0
    who = range(len(fleet.assets))
    m.z = pyo.Var(who, range(n), domain=pyo.Binary)
    m.c, m.d, m.e = (pyo.Var(who, range(n), domain=pyo.NonNegativeReals) for _ in range(3))
    window: dict[tuple[int, int], tuple[float, float]] = {}
    start: dict[int, float] = {}
    for i, a in enumerate(fleet.assets):
        q = a.params
        start[i] = untouched = min(max(fleet.states[a.id].stored_mwh, 0.0), q.capacity_mwh)
        for t in range(n):
            keep = 1 - q.standing_loss_per_h * h[t]
            before = start[i] if t == 0 else m.e[i, t - 1]
            untouched *= keep
            window[i, t] = min(q.soc_min * q.capacity_mwh, untouched), max(q.soc_max * q.capacity_mwh, untouched)
            gained = q.charge_efficiency * m.c[i, t] - m.d[i, t] / q.discharge_efficiency
            m.rules.add(m.e[i, t] == keep * before + h[t] * gained)
            m.rules.add(pyo.inequality(window[i, t][0], m.e[i, t], window[i, t][1]))
            m.rules.add(m.c[i, t] <= q.power_mw * fleet.states[a.id].available * m.z[i, t])
            m.rules.add(m.d[i, t] <= q.power_mw * fleet.states[a.id].available * (1 - m.z[i, t]))
            if q.taper_from_soc < 1:
                m.rules.add(m.c[i, t] * (1 - q.taper_from_soc) <= q.power_mw * (1 - m.e[i, t] / q.capacity_mwh))
            money += h[t] * (q.wear_eur_per_mwh * (m.c[i, t] + m.d[i, t]) - price[t] * (m.d[i, t] - m.c[i, t]))
        money -= end_worth(m, f"end{i}", EndValue(np.array([0.3, 0.5]), np.array([40.0, 20.0])), m.e[i, n - 1],
                           q.soc_min * q.capacity_mwh, window[i, n - 1][0])  # fmt: skip
    offers = [(k, c, side) for k, c in enumerate(contracts) for side in c.sides]
    of_step = {k: [int(b * 60 + 1e-6) // c.interval_min for b in begin] for k, c in enumerate(contracts)}
    m.r = pyo.Var(range(len(offers)), who, range(n), domain=pyo.NonNegativeReals)
    m.spare = pyo.Var(range(len(offers)), who, range(n), domain=pyo.NonNegativeReals)
    m.called = pyo.Var(range(len(offers)), who, range(n), domain=pyo.Binary)
    m.sold = pyo.Var(range(len(contracts)), range(n), domain=pyo.NonNegativeReals)
    m.short = pyo.Var(range(len(offers)), range(n), domain=pyo.NonNegativeReals)
    for k, c in enumerate(contracts):
        for t in range(n):
            if c.id in firm:
                m.rules.add(m.sold[k, t] == firm[c.id])
            m.rules.add(m.sold[k, t] <= max(c.most_mw, firm.get(c.id, 0.0)))
            money -= PRICE * h[t] * m.sold[k, t]
    for o, (k, c, _) in enumerate(offers):
        for t in range(n):
            if c.id not in firm:
                m.rules.add(m.short[o, t] == 0)
            m.rules.add(sum(m.r[o, i, t] for i in who) + m.short[o, t] == m.sold[k, t])
            money += c.penalty_eur_per_mw_h * h[t] * m.short[o, t]
            if t and of_step[k][t] == of_step[k][t - 1]:
                m.rules.add(m.sold[k, t] == m.sold[k, t - 1])
                for i in who:
                    m.rules.add(m.r[o, i, t] == m.r[o, i, t - 1])
                    m.rules.add(m.called[o, i, t] == m.called[o, i, t - 1])
    for i, a in enumerate(fleet.assets):
        q = a.params
        for t in range(n):
            before = start[i] if t == 0 else m.e[i, t - 1]
            rated, slope = q.power_mw * fleet.states[a.id].available, q.power_mw / max(1 - q.taper_from_soc, 1e-9)
            for side in ("up", "down"):
                mine = [o for o, (_, _, s) in enumerate(offers) if s == side]
                spare = sum(m.spare[o, i, t] for o, (_, _, s) in enumerate(offers) if s != side)
                net = (m.d[i, t] - m.c[i, t]) * (1 if side == "up" else -1)
                m.rules.add(sum(m.r[o, i, t] for o in mine) + spare <= rated - net)
                energy = sum(offers[o][1].sustain_h * m.r[o, i, t] for o in mine)
                if side == "down":
                    if q.taper_from_soc < 1:
                        for content in (before, m.e[i, t]):
                            total = sum(m.r[o, i, t] for o in mine) + spare + net
                            m.rules.add(total <= slope * (1 - content / q.capacity_mwh))
                    knee = min(q.taper_from_soc, q.soc_max) * q.capacity_mwh
                    inside = (max(window[i, u][1] for u in range(n)) - knee) * sum(m.called[o, i, t] for o in mine)
                    m.rules.add(energy / q.discharge_efficiency + inside <= (
                        max(window[i, 0][1] - before, 0.0) if t == 0 else window[i, t - 1][1] - before))  # fmt: skip
                    m.rules.add(energy / q.discharge_efficiency + inside <= window[i, t][1] - m.e[i, t])
                if side == "up":
                    inside = q.soc_min * q.capacity_mwh - min(window[i, u][0] for u in range(n))
                    inside = inside * sum(m.called[o, i, t] for o in mine)
                    m.rules.add(energy / q.discharge_efficiency + inside <= m.e[i, t] - window[i, t][0])
                    m.rules.add(energy / q.discharge_efficiency + inside <= (
                        max(before - window[i, 0][0], 0.0) if t == 0 else before - window[i, t - 1][0]))  # fmt: skip
                for o in mine:
                    m.rules.add(m.r[o, i, t] <= 2 * rated * m.called[o, i, t])
        for o, (k, c, _) in enumerate(offers):
            back = c.sustain_h / c.recovery_h / (q.charge_efficiency * q.discharge_efficiency)
            for t in range(n):
                last = max(end[s] for s in range(n) if of_step[k][s] == of_step[k][t])
                first = min(begin[s] for s in range(n) if of_step[k][s] == of_step[k][t])
                for u in range(n):
                    if end[u] > first + 1e-9 and begin[u] < last + c.sustain_h + c.recovery_h - 1e-9:
                        m.rules.add(m.spare[o, i, u] >= back * m.r[o, i, t])
        for side in ("up", "down"):
            mine = [o for o, (_, _, s) in enumerate(offers) if s == side]
            inner = {
                b + offers[o][1].sustain_h
                for o in mine
                for t in range(n)
                for b in ([begin[t]] if t == 0 or of_step[offers[o][0]][t] != of_step[offers[o][0]][t - 1] else [])
            }
            for t in range(n):
                for until in {end[t]} | {x for x in inner if begin[t] + 1e-9 < x < end[t] - 1e-9}:
                    ran = {
                        (o, s): max(0.0, min(end[s], until) - max(begin[s], until - offers[o][1].sustain_h))
                        for o in mine for s in range(n)
                    }  # fmt: skip
                    taken = sum(x * m.r[o, i, s] for (o, s), x in ran.items() if x > 1e-9) / q.discharge_efficiency
                    high, low = max(window[i, u][1] for u in range(n)), min(window[i, u][0] for u in range(n))
                    relief = (high - min(q.taper_from_soc, q.soc_max) * q.capacity_mwh if side == "down"
                              else q.soc_min * q.capacity_mwh - low)  # fmt: skip
                    taken += sum(
                        relief * x / offers[o][1].sustain_h * m.called[o, i, s] for (o, s), x in ran.items() if x > 1e-9
                    )
                    for u in {t, t - 1} if until < end[t] - 1e-9 else {t}:
                        content = m.e[i, u] if u >= 0 else start[i]
                        low_u, high_u = window[i, max(u, 0)]
                        left = content - low_u if side == "up" else high_u - content
                        m.rules.add(taken <= (left if u >= 0 else max(left, 0.0)))
    m.objective = pyo.Objective(expr=money)
    return solve(m)


def end_worth(m: pyo.ConcreteModel, name: str, end: EndValue, content: object, origin: float, least: float) -> object:
    """Falling segments above the floor; what is missing below it costs the first segment's value."""
    s = pyo.Var(range(3), domain=pyo.Reals)
    m.add_component(name, s)
    for k, (low, high) in enumerate([(min(0.0, least - origin), 0.3), (0.0, 0.5), (0.0, None)]):
        s[k].setlb(low)
        s[k].setub(high)
    m.rules.add(sum(s[k] for k in range(3)) == content - origin)
    return 40.0 * s[0] + 20.0 * s[1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grid_name", ["quarters", "mixed", "odd"])
def test_equals_the_literal_model(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name, ("battery",), outages=seed == 5)
    contracts = [replace_id(PRODUCTS[name], name) for name in sorted(PRODUCTS)[seed % 3 : seed % 3 + 2]]
    firm = {contracts[0].id: 0.4} if seed % 2 else {}
    price = prices(fleet, seed)
    bound = [reserve_contract(fleet, c, PRICE, firm_mw=firm.get(c.id, np.nan)) for c in contracts]
    traded = trade(fleet, bound, price, gap=1e-9)
    assert traded.objective == pytest.approx(oracle(fleet, contracts, price, firm), rel=1e-6, abs=1e-6)
    sold = [traded.schedule.products[c.id]["sold_mw"].max() for c in contracts]
    assert max(sold) > 0.0


def replace_id(definition: Terms, name: str) -> Terms:
    return definition.model_copy(update={"id": name})


@settings(max_examples=12, deadline=None, phases=QUICK)
@given(seeds, grids, st.sampled_from(sorted(PRODUCTS)))
def test_a_call_at_every_step_is_delivered_and_made_good(seed: int, grid_name: str, name: str) -> None:
    fleet, contract = random_fleet(seed, grid_name, ("battery",)), PRODUCTS[name]
    traded = trade(fleet, [reserve_contract(fleet, contract, PRICE)], prices(fleet, seed), gap=1e-6)
    for asset in fleet.assets:
        battery = Battery(asset, fleet.states[asset.id])
        for side in contract.sides:
            for begin in begins(traded.schedule):
                assert play(battery, traded.schedule, side, begin, contract) == [], (asset.id, side, begin)


def oversold(traded: Traded, asset: str, side: Side, by_mw: float) -> Traded:
    """The same plan, with more held in every step that holds anything."""
    schedule, name = traded.schedule, decision("r", side)
    told = dict(schedule.decisions[asset])
    told[name] = np.where(told[name] > 1e-6, told[name] + by_mw, 0.0)
    return replace(traded, schedule=replace(schedule, decisions={**schedule.decisions, asset: told}))


@pytest.mark.parametrize("side", ["up", "down"])
def test_playing_finds_what_could_not_be_delivered(side: Side) -> None:
    """The plan sells to the limit: more of it breaks the power, the window or the recovery."""
    contract = terms(direction=side)
    fleet = random_fleet(2, "quarters", ("battery",), outages=False)
    traded = trade(fleet, [reserve_contract(fleet, contract, 500.0)], prices(fleet, 2))
    found = {}
    for asset in fleet.assets:
        assert held(traded, asset.id, side).max() > 0.05
        more = oversold(traded, asset.id, side, 0.05).schedule
        battery = Battery(asset, fleet.states[asset.id])
        found[asset.id] = [p for begin in begins(more) for p in play(battery, more, side, begin, contract)]
    assert all(found.values())
