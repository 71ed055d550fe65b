"""What each kind can give beside its plan, stated literally for the oracle of reserve: one function a kind.

Each adds the kind's own literal model and says, step by step and in plain loops, what limits a call of one of its
assets. Written from the equations; nothing comes from the blocks, from `headroom` or from `check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyomo.environ as pyo

from dispatch.block import Context
from tests.dispatch import test_chp, test_process, test_thermal_store, test_thermal_unit
from tests.dispatch.commitment_oracle import times
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array


@dataclass(frozen=True)
class Way:
    """One direction of one asset: what it may hold of all contracts together.

    `limits_mw` of a step bound what is held and kept to recover; `left_mwh` of an edge is the energy at the
    terminals, None without a store; `relief_mwh` of it is lost once anything is sold; `back` MWh undo one MWh given;
    `ramp` MW per minute are left beside the plan in a step, None where it moves at once; `most_mw` bounds a share.
    """

    limits_mw: Callable[[int], Sequence[Any]]
    most_mw: float
    left_mwh: Callable[[int], Any] | None = None
    relief_mwh: float = 0.0
    back: float = 1.0
    ramp: Callable[[int], Any] | None = None


@dataclass(frozen=True)
class Mill:
    """A machine that stops whole and rests: `may_stop` of a step is 1 while it runs and may; `left_t` of an edge is
    its share of the silo above the floor a plan may use, of which `relief_t` is lost once it is sold."""

    power_mw: float
    tonnes_per_h: float
    rest_h: float
    may_stop: Callable[[int], Any]
    left_t: Callable[[int], Any]
    relief_t: float


@dataclass(frozen=True)
class Seller:
    """What an asset offers in each direction; None sells nothing."""

    up: Way | Mill | None
    down: Way | None


Added = tuple[Any, list[Seller]]
"""Money spent, and the sellers in the order of the assets."""


def battery(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """Runs one way at a time; content in its window, which follows the untouched store where that is outside."""
    steps, who = range(context.grid.n), range(len(fleet))
    m.rules = pyo.ConstraintList()
    m.c, m.d, m.e = (pyo.Var(who, steps, domain=pyo.NonNegativeReals) for _ in range(3))
    m.z = pyo.Var(who, steps, domain=pyo.Binary)
    money, sellers = 0.0, []
    for i, a in enumerate(fleet):
        spent, seller = _one_battery(m, i, a, context, price)
        money, sellers = money + spent, [*sellers, seller]
    return money, sellers


def _one_battery(m: Any, i: int, a: Asset, context: Context, price: Array) -> tuple[Any, Seller]:
    q, state, n, money = a.params, context.states[a.id], context.grid.n, 0.0
    start = untouched = min(max(state.stored_mwh, 0.0), q.capacity_mwh)
    rated, window = q.power_mw * state.available, []
    for t in range(n):
        h = context.grid.minutes[t] / 60
        keep = 1 - q.standing_loss_per_h * h
        untouched *= keep
        window.append((min(q.soc_min * q.capacity_mwh, untouched), max(q.soc_max * q.capacity_mwh, untouched)))
        gained = q.charge_efficiency * m.c[i, t] - m.d[i, t] / q.discharge_efficiency
        m.rules.add(m.e[i, t] == keep * (m.e[i, t - 1] if t else start) + h * gained)
        m.rules.add(pyo.inequality(window[t][0], m.e[i, t], window[t][1]))
        m.rules.add(m.c[i, t] <= rated * m.z[i, t])
        m.rules.add(m.d[i, t] <= rated * (1 - m.z[i, t]))
        if q.taper_from_soc < 1:
            m.rules.add(m.c[i, t] * (1 - q.taper_from_soc) <= q.power_mw * (1 - m.e[i, t] / q.capacity_mwh))
        money += h * q.wear_eur_per_mwh * (m.c[i, t] + m.d[i, t]) - h * price[t] * (m.d[i, t] - m.c[i, t])
    s, origin = pyo.Var(range(3), domain=pyo.Reals), q.soc_min * q.capacity_mwh
    m.add_component(f"end{i}", s)
    end = context.end_value[a.id]
    for k, (low, high) in enumerate(
        [(min(0.0, window[-1][0] - origin), end.width_mwh[0]), (0.0, end.width_mwh[1]), (0.0, None)]
    ):
        s[k].setlb(low)
        s[k].setub(high)
    m.rules.add(sum(s[k] for k in range(3)) == m.e[i, n - 1] - origin)
    money -= end.value[0] * s[0] + end.value[1] * s[1]

    def content(edge: int) -> Any:
        return m.e[i, edge - 1] if edge else start

    def left(edge: int, up: bool) -> Any:
        low, high = window[max(edge - 1, 0)]
        room = content(edge) - low if up else high - content(edge)
        return q.discharge_efficiency * (room if edge else max(room, 0.0))

    def tapered(t: int) -> list[Any]:
        net = m.d[i, t] - m.c[i, t]
        full = (q.power_mw / (1 - q.taper_from_soc) * (1 - content(edge) / q.capacity_mwh) for edge in (t, t + 1))
        return [rated + net, *(x + net for x in full)]

    knee = min(q.taper_from_soc, q.soc_max) * q.capacity_mwh
    back = 1.0 / (q.charge_efficiency * q.discharge_efficiency)
    up = Way(
        lambda t: [rated - m.d[i, t] + m.c[i, t]], 2 * rated, lambda edge: left(edge, True),
        q.discharge_efficiency * (origin - min(low for low, _ in window)), back,
    )  # fmt: skip
    down = Way(
        tapered if q.taper_from_soc < 1 else lambda t: [rated + m.d[i, t] - m.c[i, t]], 2 * rated,
        lambda edge: left(edge, False), q.discharge_efficiency * (max(high for _, high in window) - knee), back,
    )  # fmt: skip
    return money, Seller(up, down)


def curtailable(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """Up: what is curtailed; down: what is fed in."""
    m.rules, money, sellers = pyo.ConstraintList(), 0.0, []
    m.p = pyo.Var(range(len(fleet)), range(context.grid.n), domain=pyo.NonNegativeReals)
    for i, a in enumerate(fleet):
        q, offered = a.params, context.inputs[a.id]["available_mw"]
        most = min(q.capacity_mw, q.s_rating_mva * math.cos(math.atan(a.tan_phi))) * context.states[a.id].available
        limit = [min(max(float(x), 0.0), most) for x in offered]
        for t in range(context.grid.n):
            h = context.grid.minutes[t] / 60
            m.rules.add(m.p[i, t] <= limit[t])
            money += h * (q.curtailment_cost_eur_per_mwh * (limit[t] - m.p[i, t]) - price[t] * m.p[i, t])
        up = Way(lambda t, i=i, limit=limit: [limit[t] - m.p[i, t]], q.capacity_mw)
        sellers.append(Seller(up, Way(lambda t, i=i: [m.p[i, t]], q.capacity_mw)))
    return money, sellers


def thermal_store(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """Up: less cooling while there is cold, counted at the best COP of the plan; won back at the worst."""
    money, sellers = test_thermal_store.literal(m, fleet, context, price), []
    for i, a in enumerate(fleet):
        q, start = a.params, max(context.states[a.id].stored_mwh, 0.0)
        cops = [max(1.0, q.cop_at_20c + q.cop_slope_per_c * (x - 20.0)) for x in context.inputs[a.id]["ambient_c"]]
        highs = _highest(start, q.loss_per_h, q.store_mwh_th, context)
        best, back = max(cops), max(cops) / min(cops)

        def cold(edge: int, i: int = i, start: float = start) -> Any:
            return m.cold[i, edge - 1] if edge else start

        def room(edge: int, cold: Any = cold, highs: Any = highs, best: float = best) -> Any:
            return (highs[edge - 1] - cold(edge) if edge else max(highs[0] - cold(0), 0.0)) / best

        up = Way(
            lambda t, i=i, q=q: [m.p[i, t] - q.min_power_mw], q.max_power_mw,
            lambda edge, cold=cold, best=best: cold(edge) / best, 0.0, back,
        )  # fmt: skip
        down = Way(
            lambda t, i=i, q=q: [q.max_power_mw - m.p[i, t]], q.max_power_mw, room,
            (max(highs) - q.store_mwh_th) / best, back,
        )  # fmt: skip
        sellers.append(Seller(up, down))
    return money, sellers


def _highest(start: float, loss_per_h: float, capacity: float, context: Context) -> list[float]:
    """Ceiling of a store at the end of every step; one that begins above it drains by its loss alone."""
    found = []
    for minutes in context.grid.minutes:
        start *= 1 - loss_per_h * minutes / 60
        found.append(max(capacity, start))
    return found


def chp(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """Spinning between minimum load and rating, as long as the heat store takes or has the heat that changes."""
    money, sellers = test_chp.literal(m, fleet, context, price), []
    for i, a in enumerate(fleet):
        q, start = a.params, max(context.states[a.id].stored_mwh, 0.0)
        gain, highs = q.heat_mw_per_mw, _highest(start, q.store_loss_per_h, q.store_mwh_th, context)

        def heat(edge: int, i: int = i, start: float = start, gain: float = gain) -> Any:
            return (m.store[i, edge - 1] if edge else start) / gain

        def room(edge: int, heat: Any = heat, highs: Any = highs, gain: float = gain) -> Any:
            return highs[edge - 1] / gain - heat(edge) if edge else max(highs[0] / gain - heat(0), 0.0)

        up, down = _spinning(m, i, a, context, (q.ramp_mw_per_min, q.ramp_mw_per_min), (None, None))
        above = (max(highs) - q.store_mwh_th) / gain if gain else 0.0
        up = replace(up, left_mwh=room if gain else None, relief_mwh=above)
        sellers.append(Seller(up, replace(down, left_mwh=heat if gain else None)))
    return money, sellers


def thermal_unit(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """Spinning between minimum and maximum output."""
    money, sellers = test_thermal_unit.literal(m, fleet, context, price), []
    for i, a in enumerate(fleet):
        q = a.params
        ramps, edges = (q.ramp_up_mw_per_min, q.ramp_down_mw_per_min), (q.start_power_mw, q.stop_power_mw)
        sellers.append(Seller(*_spinning(m, i, a, context, ramps, edges)))
    return money, sellers


def _spinning(
    m: Any, i: int, a: Asset, context: Context, ramps: tuple[float, float], edges: tuple[float | None, float | None]
) -> tuple[Way, Way]:
    """Up and down of a machine that runs; the ramps are MW per minute, the edges the limits at a start and a stop."""
    q, state, minutes = a.params, context.states[a.id], context.grid.minutes
    low, high, last = q.min_power_mw, q.power_mw, context.grid.n - 1
    first = min(max(state.power_mw, low), high) if state.on else 0.0

    def at_edge(t: int, way: int) -> float:
        reached = ramps[way] * minutes[t] if edges[way] is None else edges[way]
        return min(max(low, reached), high)

    def rise_left(t: int) -> Any:
        on, p = (m.on[i, t - 1], m.p[i, t - 1]) if t else (int(state.on), first)
        return ramps[0] * minutes[t] * on + at_edge(t, 0) * m.start[i, t] - (m.p[i, t] - p)

    def fall_left(t: int) -> Any:
        p = m.p[i, t - 1] if t else first
        return ramps[1] * minutes[t] * m.on[i, t] + at_edge(t, 1) * m.stop[i, t] - (p - m.p[i, t])

    def up(t: int) -> list[Any]:
        found = [high * m.on[i, t] - (high - at_edge(t, 0)) * m.start[i, t] - m.p[i, t]]
        if t < last:
            found.append(high * m.on[i, t] - (high - at_edge(t + 1, 1)) * m.stop[i, t + 1] - m.p[i, t])
            found.append(fall_left(t + 1))
        return found

    def down(t: int) -> list[Any]:
        return [m.p[i, t] - low * m.on[i, t], *([rise_left(t + 1)] if t < last else [])]

    return (
        Way(up, high, ramp=lambda t: rise_left(t) / minutes[t]),
        Way(down, high, ramp=lambda t: fall_left(t) / minutes[t]),
    )


def process(m: Any, fleet: Sequence[Asset], context: Context, price: Array) -> Added:
    """A mill past its minimum run, and not in the step it starts in, stops whole; its share of the silo carries what
    it does not make."""
    money, sellers, at = test_process.literal(m, fleet, context, price), [], times(context.grid)
    for i, a in enumerate(fleet):
        q, state, silo = a.params, context.states[a.id], a.params.silo
        share = sum(b.params.silo.id == silo.id for b in fleet)
        start_t = share * state.stored_mwh * 1000 / silo.kwh_per_t
        floor_t, up_min = min(start_t, silo.min_t), 60 * q.min_run_h

        def may_stop(t: int, i: int = i, up_min: float = up_min, state: Any = state) -> Any:
            young = sum(m.start[i, s] for s in range(t + 1) if s == t or at[t] - at[s] < up_min)
            return m.on[i, t] - young - (state.on and at[t] < up_min - state.minutes_in_state)

        def left(edge: int, name: str = silo.id, floor: float = floor_t, share: int = share) -> Any:
            return (m.silo[name, edge - 1] - floor) / share

        relief = (silo.min_t - floor_t) / share
        mill = Mill(q.power_mw, q.power_mw * 1000 / q.kwh_per_t, q.min_stop_h, may_stop, left, relief)
        sellers.append(Seller(mill, None))
    return money, sellers


SELLERS: dict[str, Callable[[Any, Sequence[Asset], Context, Array], Added]] = {
    "battery": battery, "curtailable": curtailable, "thermal_store": thermal_store, "chp": chp,
    "thermal_unit": thermal_unit, "process": process,
}  # fmt: skip
