"""Batteries and capacity contracts as a literal Pyomo model, equation by equation; loops over everything."""

from __future__ import annotations

from typing import Any

import pyomo.environ as pyo

from dispatch.products.reserve import Terms
from tests.dispatch.commitment_oracle import solve
from tests.dispatch.random_fleet import Fleet
from vpp.domain.time import Array

PRICE_EUR_PER_MW_H = 60.0
EPS = 1e-9


class Oracle:
    """The model `m`, what it is about, and the money spent so far."""

    def __init__(self, fleet: Fleet, contracts: list[Terms], price: Array, firm: dict[str, float]) -> None:
        self.fleet, self.contracts, self.price, self.firm = fleet, contracts, price, firm
        self.n, self.who, self.money = fleet.grid.n, range(len(fleet.assets)), 0.0
        self.h = [minutes / 60 for minutes in fleet.grid.minutes]
        self.begin = [sum(self.h[:t]) for t in range(self.n)]
        self.end = [self.begin[t] + self.h[t] for t in range(self.n)]
        self.offers = [(k, c, side) for k, c in enumerate(contracts) for side in c.sides]
        self.of_step = {k: [int(b * 60 + 1e-6) // c.interval_min for b in self.begin] for k, c in enumerate(contracts)}
        self.window: dict[tuple[int, int], tuple[float, float]] = {}
        self.start: dict[int, float] = {}
        self.m = m = pyo.ConcreteModel()
        m.rules, many = pyo.ConstraintList(), range(len(self.offers))
        m.c, m.d, m.e = (pyo.Var(self.who, range(self.n), domain=pyo.NonNegativeReals) for _ in range(3))
        m.z = pyo.Var(self.who, range(self.n), domain=pyo.Binary)
        m.r, m.spare = (pyo.Var(many, self.who, range(self.n), domain=pyo.NonNegativeReals) for _ in range(2))
        m.called = pyo.Var(many, self.who, range(self.n), domain=pyo.Binary)
        m.sold = pyo.Var(range(len(contracts)), range(self.n), domain=pyo.NonNegativeReals)
        m.short = pyo.Var(many, range(self.n), domain=pyo.NonNegativeReals)

    def mine(self, side: str) -> list[int]:
        return [o for o, (_, _, s) in enumerate(self.offers) if s == side]

    def content(self, i: int, edge: int) -> Any:
        """Content at the start of step `edge`; the last edge is the end of the grid."""
        return self.start[i] if edge == 0 else self.m.e[i, edge - 1]

    def left(self, i: int, edge: int, side: str) -> Any:
        """MWh above the floor, or below the ceiling."""
        low, high = self.window[i, max(edge - 1, 0)]
        content = self.content(i, edge)
        room = content - low if side == "up" else high - content
        return max(room, 0.0) if edge == 0 else room

    def relief(self, i: int, side: str) -> float:
        """What of it the plan may use and reserve may not."""
        q = self.fleet.assets[i].params
        if side == "up":
            return q.soc_min * q.capacity_mwh - min(self.window[i, t][0] for t in range(self.n))
        knee = min(q.taper_from_soc, q.soc_max) * q.capacity_mwh
        return max(self.window[i, t][1] for t in range(self.n)) - knee


def oracle(fleet: Fleet, contracts: list[Terms], price: Array, firm: dict[str, float]) -> float:
    """The least money spent."""
    o = Oracle(fleet, contracts, price, firm)
    for i in o.who:
        _battery(o, i)
    _contracts(o)
    for i in o.who:
        for t in range(o.n):
            _room(o, i, t)
            _calls(o, i, t)
        _recovery(o, i)
    o.m.objective = pyo.Objective(expr=o.money)
    return solve(o.m)


def _battery(o: Oracle, i: int) -> None:
    m, a = o.m, o.fleet.assets[i]
    q, state = a.params, o.fleet.states[a.id]
    o.start[i] = untouched = min(max(state.stored_mwh, 0.0), q.capacity_mwh)
    for t in range(o.n):
        keep = 1 - q.standing_loss_per_h * o.h[t]
        untouched *= keep
        o.window[i, t] = min(q.soc_min * q.capacity_mwh, untouched), max(q.soc_max * q.capacity_mwh, untouched)
        gained = q.charge_efficiency * m.c[i, t] - m.d[i, t] / q.discharge_efficiency
        m.rules.add(m.e[i, t] == keep * o.content(i, t) + o.h[t] * gained)
        m.rules.add(pyo.inequality(o.window[i, t][0], m.e[i, t], o.window[i, t][1]))
        m.rules.add(m.c[i, t] <= q.power_mw * state.available * m.z[i, t])
        m.rules.add(m.d[i, t] <= q.power_mw * state.available * (1 - m.z[i, t]))
        if q.taper_from_soc < 1:
            m.rules.add(m.c[i, t] * (1 - q.taper_from_soc) <= q.power_mw * (1 - m.e[i, t] / q.capacity_mwh))
        o.money += o.h[t] * q.wear_eur_per_mwh * (m.c[i, t] + m.d[i, t])
        o.money -= o.h[t] * o.price[t] * (m.d[i, t] - m.c[i, t])
    s = pyo.Var(range(3), domain=pyo.Reals)
    m.add_component(f"end{i}", s)
    origin, least = q.soc_min * q.capacity_mwh, o.window[i, o.n - 1][0]
    for k, (low, high) in enumerate([(min(0.0, least - origin), 0.3), (0.0, 0.5), (0.0, None)]):
        s[k].setlb(low)
        s[k].setub(high)
    m.rules.add(sum(s[k] for k in range(3)) == m.e[i, o.n - 1] - origin)
    o.money -= 40.0 * s[0] + 20.0 * s[1]


def _contracts(o: Oracle) -> None:
    """What is sold is held or short, at one level over each interval."""
    m = o.m
    for k, c in enumerate(o.contracts):
        for t in range(o.n):
            if c.id in o.firm:
                m.rules.add(m.sold[k, t] == o.firm[c.id])
            m.rules.add(m.sold[k, t] <= max(c.most_mw, o.firm.get(c.id, 0.0)))
            o.money -= PRICE_EUR_PER_MW_H * o.h[t] * m.sold[k, t]
    for x, (k, c, _) in enumerate(o.offers):
        for t in range(o.n):
            if c.id not in o.firm:
                m.rules.add(m.short[x, t] == 0)
            m.rules.add(sum(m.r[x, i, t] for i in o.who) + m.short[x, t] == m.sold[k, t])
            o.money += c.penalty_eur_per_mw_h * o.h[t] * m.short[x, t]
            if t and o.of_step[k][t] == o.of_step[k][t - 1]:
                m.rules.add(m.sold[k, t] == m.sold[k, t - 1])
                for i in o.who:
                    m.rules.add(m.r[x, i, t] == m.r[x, i, t - 1])
                    m.rules.add(m.called[x, i, t] == m.called[x, i, t - 1])


def _room(o: Oracle, i: int, t: int) -> None:
    """Power beside the plan, and the energy of the longest call at both ends of a step."""
    m, q = o.m, o.fleet.assets[i].params
    rated = q.power_mw * o.fleet.states[o.fleet.assets[i].id].available
    for side in ("up", "down"):
        mine = o.mine(side)
        spare = sum(m.spare[x, i, t] for x in o.mine("down" if side == "up" else "up"))
        net = (m.d[i, t] - m.c[i, t]) * (1 if side == "up" else -1)
        total = sum(m.r[x, i, t] for x in mine) + spare + net
        m.rules.add(total <= rated)
        if side == "down" and q.taper_from_soc < 1:
            for edge in (t, t + 1):
                full = 1 - o.content(i, edge) / q.capacity_mwh
                m.rules.add(total <= q.power_mw / (1 - q.taper_from_soc) * full)
        energy = sum(o.offers[x][1].sustain_h * m.r[x, i, t] for x in mine) / q.discharge_efficiency
        inside = o.relief(i, side) * sum(m.called[x, i, t] for x in mine)
        for edge in (t, t + 1):
            m.rules.add(energy + inside <= o.left(i, edge, side))
        for x in mine:
            m.rules.add(m.r[x, i, t] <= 2 * rated * m.called[x, i, t])


def _calls(o: Oracle, i: int, t: int) -> None:
    """A call of the longest duration that ends in step t: at its end, and where it may have begun with an interval."""
    m, q = o.m, o.fleet.assets[i].params
    for side in ("up", "down"):
        mine = o.mine(side)
        turns = {o.end[t]}
        for x in mine:
            k, c, _ = o.offers[x]
            firsts = [s for s in range(o.n) if s == 0 or o.of_step[k][s] != o.of_step[k][s - 1]]
            turns |= {y for s in firsts if o.begin[t] + EPS < (y := o.begin[s] + c.sustain_h) < o.end[t] - EPS}
        for until in turns:
            taken = 0.0
            for x in mine:
                lasts = o.offers[x][1].sustain_h
                for s in range(o.n):
                    ran = min(o.end[s], until) - max(o.begin[s], until - lasts)
                    if ran > EPS:
                        taken += ran / q.discharge_efficiency * m.r[x, i, s]
                        taken += o.relief(i, side) * ran / lasts * m.called[x, i, s]
            for edge in (t, t + 1) if until < o.end[t] - EPS else (t + 1,):
                m.rules.add(taken <= o.left(i, edge, side))


def _recovery(o: Oracle, i: int) -> None:
    """Power kept free until a call of any step has been made good."""
    m, q = o.m, o.fleet.assets[i].params
    for x, (k, c, _) in enumerate(o.offers):
        back = c.sustain_h / c.recovery_h / (q.charge_efficiency * q.discharge_efficiency)
        for t in range(o.n):
            same = [s for s in range(o.n) if o.of_step[k][s] == o.of_step[k][t]]
            until = o.end[same[-1]] + c.sustain_h + c.recovery_h
            for u in range(o.n):
                if o.end[u] > o.begin[same[0]] + EPS and o.begin[u] < until - EPS:
                    m.rules.add(m.spare[x, i, u] >= back * m.r[x, i, t])
