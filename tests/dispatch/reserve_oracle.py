"""Capacity contracts over assets of any kind as a literal Pyomo model, equation by equation; loops over everything."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo

from dispatch.block import EndValue
from dispatch.products.reserve import Terms
from tests.dispatch.commitment_oracle import solve
from tests.dispatch.random_fleet import Fleet
from tests.dispatch.reserve_sellers import SELLERS, Mill, Seller, Way
from vpp.domain.time import Array

PRICE_EUR_PER_MW_H = 60.0
EPS = 1e-9
NO_STORE = ("curtailable", "thermal_unit")
END = EndValue(np.array([0.3, 0.5]), np.array([40.0, 20.0]))


class Oracle:
    """The model `m`, what it is about, and the money spent so far."""

    def __init__(self, fleet: Fleet, contracts: list[Terms], price: Array, firm: dict[str, float]) -> None:
        self.fleet, self.contracts, self.firm = fleet, contracts, firm
        self.n, self.who, self.money = fleet.grid.n, range(len(fleet.assets)), 0.0
        self.h = [minutes / 60 for minutes in fleet.grid.minutes]
        self.begin = [sum(self.h[:t]) for t in range(self.n)]
        self.end = [self.begin[t] + self.h[t] for t in range(self.n)]
        self.offers = [(k, c, side) for k, c in enumerate(contracts) for side in c.sides]
        self.of_step = {k: [int(b * 60 + 1e-6) // c.interval_min for b in self.begin] for k, c in enumerate(contracts)}
        self.m = m = pyo.ConcreteModel()
        m.rules, many = pyo.ConstraintList(), range(len(self.offers))
        m.r, m.spare = (pyo.Var(many, self.who, range(self.n), domain=pyo.NonNegativeReals) for _ in range(2))
        m.called = pyo.Var(many, self.who, range(self.n), domain=pyo.Binary)
        m.sold = pyo.Var(range(len(contracts)), range(self.n), domain=pyo.NonNegativeReals)
        m.short = pyo.Var(many, range(self.n), domain=pyo.NonNegativeReals)
        self.sellers: list[Seller] = []
        context = fleet.context(end_value={a.id: END for a in fleet.assets if a.kind not in NO_STORE})
        for kind in dict.fromkeys(a.kind for a in fleet.assets):
            m.add_component(kind, pyo.Block())
            mine = [a for a in fleet.assets if a.kind == kind]
            spent, sellers = SELLERS[kind](m.component(kind), mine, context, price)
            self.money, self.sellers = self.money + spent, [*self.sellers, *sellers]

    def mine(self, side: str) -> list[int]:
        return [o for o, (_, _, s) in enumerate(self.offers) if s == side]

    def way(self, i: int, side: str) -> Way | Mill | None:
        return self.sellers[i].up if side == "up" else self.sellers[i].down

    def first_steps(self, k: int) -> list[int]:
        """The steps with which the intervals of contract k begin."""
        return [t for t in range(self.n) if t == 0 or self.of_step[k][t] != self.of_step[k][t - 1]]

    def until(self, k: int, t: int) -> float:
        """When the interval of contract k that step t lies in ends."""
        return max(self.end[s] for s in range(self.n) if self.of_step[k][s] == self.of_step[k][t])


def oracle(fleet: Fleet, contracts: list[Terms], price: Array, firm: dict[str, float]) -> float:
    """The least money spent."""
    o = Oracle(fleet, contracts, price, firm)
    _contracts(o)
    for i in o.who:
        for side in ("up", "down"):
            way = o.way(i, side)
            if way is None:
                for x in o.mine(side):
                    for t in range(o.n):
                        o.m.rules.add(o.m.r[x, i, t] == 0)
            elif isinstance(way, Mill):
                _mill(o, i, way)
            else:
                for t in range(o.n):
                    _room(o, i, t, side, way)
                    if way.left_mwh is not None:
                        _calls(o, i, t, side, way)
                if way.left_mwh is not None:
                    _recovery(o, i, side, way)
    o.m.objective = pyo.Objective(expr=o.money)
    return solve(o.m)


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


def _room(o: Oracle, i: int, t: int, side: str, way: Way) -> None:
    """Power and ramp beside the plan, and the energy of the longest call at both ends of a step."""
    m, mine = o.m, o.mine(side)
    other = o.way(i, "down" if side == "up" else "up")
    recovers = isinstance(other, Way) and other.left_mwh is not None
    spare = sum(m.spare[x, i, t] for x in o.mine("down" if side == "up" else "up")) if recovers else 0.0
    total = sum(m.r[x, i, t] for x in mine) + spare
    for limit in way.limits_mw(t) if o.offers else ():
        m.rules.add(total <= limit)
    if way.ramp is not None and mine:
        m.rules.add(sum(m.r[x, i, t] / o.offers[x][1].activation_min for x in mine) <= way.ramp(t))
    for x in mine:
        m.rules.add(m.r[x, i, t] <= way.most_mw * m.called[x, i, t])
    if way.left_mwh is not None and mine:
        energy = sum(o.offers[x][1].sustain_h * m.r[x, i, t] for x in mine)
        inside = way.relief_mwh * sum(m.called[x, i, t] for x in mine)
        for edge in (t, t + 1):
            m.rules.add(energy + inside <= way.left_mwh(edge))


def _calls(o: Oracle, i: int, t: int, side: str, way: Way) -> None:
    """A call of the longest duration that ends in step t: at its end, and where it may have begun with an interval."""
    m, mine = o.m, o.mine(side)
    turns = {o.end[t]} if mine else set()
    for x in mine:
        k, c, _ = o.offers[x]
        turns |= {y for s in o.first_steps(k) if o.begin[t] + EPS < (y := o.begin[s] + c.sustain_h) < o.end[t] - EPS}
    for until in turns:
        taken = 0.0
        for x in mine:
            lasts = o.offers[x][1].sustain_h
            for s in range(o.n):
                ran = min(o.end[s], until) - max(o.begin[s], until - lasts)
                if ran > EPS:
                    taken += ran * m.r[x, i, s] + way.relief_mwh * ran / lasts * m.called[x, i, s]
        for edge in (t, t + 1) if until < o.end[t] - EPS else (t + 1,):
            m.rules.add(taken <= way.left_mwh(edge))


def _recovery(o: Oracle, i: int, side: str, way: Way) -> None:
    """Power kept free until a call of any step has been made good."""
    m = o.m
    for x in o.mine(side):
        k, c, _ = o.offers[x]
        back = way.back * c.sustain_h / c.recovery_h
        for t in range(o.n):
            begins = min(o.begin[s] for s in range(o.n) if o.of_step[k][s] == o.of_step[k][t])
            until = o.until(k, t) + c.sustain_h + c.recovery_h
            for u in range(o.n):
                if o.end[u] > begins + EPS and o.begin[u] < until - EPS:
                    m.rules.add(m.spare[x, i, u] >= back * m.r[x, i, t])


def _mill(o: Oracle, i: int, mill: Mill) -> None:
    """Whole while it runs and may stop, once per rest; its silo carries a call until the recovery is over."""
    m, mine = o.m, o.mine("up")
    for t in range(o.n):
        if mine:
            m.rules.add(sum(m.r[x, i, t] for x in mine) <= mill.power_mw * mill.may_stop(t))
        for x in mine:
            m.rules.add(m.r[x, i, t] == mill.power_mw * m.called[x, i, t])
    for x in mine:
        k, c, _ = o.offers[x]
        pause = max(c.sustain_h, mill.rest_h)
        for t in o.first_steps(k):
            over = o.until(k, t) + pause
            for edge in range(1, o.n + 1):
                if o.begin[t] + EPS < o.end[edge - 1] < over + c.recovery_h + EPS:
                    missing = (pause * mill.tonnes_per_h + mill.relief_t) * m.called[x, i, t]
                    m.rules.add(missing <= mill.left_t(edge))
            for y in mine:
                for u in o.first_steps(o.offers[y][0]):
                    if (y, u) != (x, t) and o.begin[t] - EPS <= o.begin[u] < over - EPS:
                        m.rules.add(m.called[x, i, t] + m.called[y, i, u] <= 1)
