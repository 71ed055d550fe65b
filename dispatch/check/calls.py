"""Reserve, re-checked by playing every call: on top of the plan, for as long as it may last, then made good.

A call of a share begins at every edge of the plan, and so that it ends there; the asset gives the share on top of its
plan for `sustain_h` at most, no longer than something is sold, and takes it back at a constant power for `recovery_h`.
With D the deviation of the content from the plan, f the inflow of the store at an injection p,

    D' = f(p) - f(P),    battery f = eta_c p- - p+ / eta_d,    CHP f = a p,    cooling f = -COP p

the injection must stay inside its limits beside everything else that is held, the content inside its window while the
call lasts, and D must be zero again when the recovery ends; a content that meets its window in the recovery stays
there, as does a charging power that meets the taper. A CHP and a thermal unit, which stores nothing, move within their
ramps (`spinning`). Curtailed generation gives what is available; a mill stops whole, if it runs, did not just start
and may stop, once per minimum stop, and its silo carries the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dispatch.check.spinning import spinning
from dispatch.check.tools import TOLERANCE_MW, TOLERANCE_MWH, Plan, beyond, keep, minutes_before
from vpp.domain.errors import Fault
from vpp.domain.time import Array

EPS_H = 1e-9
POWER_MW = 10 * TOLERANCE_MW
BACK_MWH = 3 * TOLERANCE_MWH


@dataclass(frozen=True)
class Share:
    """What one asset holds of one contract in one direction, (T,) MW, and the contract's delivery intervals (T,)."""

    terms: Any
    side: str
    held_mw: Array
    interval: Array

    @property
    def sign(self) -> float:
        return 1.0 if self.side == "up" else -1.0


@dataclass(frozen=True)
class Physics:
    """What playing needs of an asset: inflow at an injection in step t, limits (T,), window and content (T+1,)."""

    inflow: Callable[[int, float], float]
    least_mw: Array
    most_mw: Array
    low: Array
    high: Array
    content: Array
    takes_back: float = 1.0
    taper: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """(rating, capacity, state of charge at which the taper begins; 1 for none)"""

    def charge_limit(self, content: float) -> float:
        rated, capacity, begins = self.taper
        return np.inf if begins >= 1.0 else rated * max(1.0 - content / capacity, 0.0) / (1.0 - begins)


def _window(
    plan: Plan, start: float, stored: Array, loss: float, low: float, high: float
) -> tuple[Array, Array, Array]:
    """Low, high and content at the T + 1 edges; a store outside may stay on its untouched curve."""
    untouched = start * np.concatenate([[1.0], np.cumprod(keep(loss, plan.grid.hours))])
    return np.minimum(low, untouched), np.maximum(high, untouched), np.concatenate([[start], stored])


def _battery(plan: Plan, stored: Array) -> Physics:
    q = plan.asset.params
    start = min(max(plan.state.stored_mwh, 0.0), q.capacity_mwh)
    low, high, content = _window(
        plan, start, stored, q.standing_loss_per_h, q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
    )
    rated = np.full(plan.grid.n, q.power_mw * plan.state.available)
    return Physics(
        lambda t, p: -p / q.discharge_efficiency if p > 0.0 else -p * q.charge_efficiency, -rated, rated, low, high,
        content, 1.0 / (q.charge_efficiency * q.discharge_efficiency),
        taper=(q.power_mw, q.capacity_mwh, q.taper_from_soc),
    )  # fmt: skip


def _chp(plan: Plan, stored: Array) -> Physics:
    q, on = plan.asset.params, np.asarray(plan.on, dtype=float)
    low, high, content = _window(plan, max(plan.state.stored_mwh, 0.0), stored, q.store_loss_per_h, 0.0, q.store_mwh_th)
    return Physics(
        lambda t, p: q.heat_mw_per_mw * p, q.min_power_mw * on, q.power_mw * on, low, high, content,
        1.0 if q.heat_mw_per_mw > 0.0 else 0.0,
    )  # fmt: skip


def _thermal_unit(plan: Plan) -> Physics:
    q, on, nothing = plan.asset.params, np.asarray(plan.on, dtype=float), np.zeros(plan.grid.n + 1)
    return Physics(lambda t, p: 0.0, q.min_power_mw * on, q.power_mw * on, nothing, nothing, nothing, 0.0)


def _cooling(plan: Plan, stored: Array) -> Physics:
    q = plan.asset.params
    cop = np.maximum(1.0, q.cop_at_20c + q.cop_slope_per_c * (plan.inputs["ambient_c"] - 20.0))
    low, high, content = _window(plan, max(plan.state.stored_mwh, 0.0), stored, q.loss_per_h, 0.0, q.store_mwh_th)
    most = np.full(plan.grid.n, -q.min_power_mw * plan.state.available)
    least = np.full(plan.grid.n, -q.max_power_mw * plan.state.available)
    return Physics(
        lambda t, p: -cop[t] * p, least, most, low, high, content, float(cop.max() / cop.min()),
    )  # fmt: skip


STORES: dict[str, Callable[[Plan, Array], Physics]] = {
    "battery": _battery, "chp": _chp, "thermal_store": _cooling,
}  # fmt: skip
SELLS = (*STORES, "thermal_unit", "curtailable", "process")
SPINS = ("chp", "thermal_unit")
"""Kinds whose reserve can be verified, and therefore sold."""


def undeliverable(plan: Plan, stored: Array | None, shares: Sequence[Share], mates: int) -> list[Fault]:
    """Faults of what an asset sells; `mates` mills share the silo of a mill. A kind without a rule sells nothing."""
    if plan.asset.kind in STORES and stored is not None:
        return _spun(plan, shares) + _played(plan, STORES[plan.asset.kind](plan, stored), shares)
    if plan.asset.kind == "thermal_unit":
        return _spun(plan, shares) + _played(plan, _thermal_unit(plan), shares)
    if plan.asset.kind == "curtailable":
        return _generation(plan, shares)
    if plan.asset.kind == "process" and stored is not None:
        return [f for s in shares for f in _mill(plan, stored, s, mates)] + _rested(plan, shares)
    return [Fault(plan.asset.id, "reserve", f"a {plan.asset.kind} sells none")]


def _held(shares: Sequence[Share], side: str, n: int) -> Array:
    return sum((s.held_mw for s in shares if s.side == side), np.zeros(n))


def _spun(plan: Plan, shares: Sequence[Share]) -> list[Fault]:
    if plan.asset.kind not in SPINS:
        return []
    quick = [replace(s, held_mw=s.held_mw / s.terms.activation_min) for s in shares]
    up, down, up_per_min, down_per_min = (_held(x, d, plan.grid.n) for x in (shares, quick) for d in ("up", "down"))
    return spinning(plan, up, down, up_per_min, down_per_min)


def _generation(plan: Plan, shares: Sequence[Share]) -> list[Fault]:
    q = plan.asset.params
    most = min(q.capacity_mw, q.s_rating_mva / float(np.hypot(1.0, plan.asset.tan_phi))) * plan.state.available
    available = np.clip(plan.inputs["available_mw"], 0.0, most)
    up, down = (_held(shares, side, plan.grid.n) for side in ("up", "down"))
    faults = beyond(plan.asset.id, "reserve up_mw", up, 0.0, np.maximum(available - plan.power_mw, 0.0), POWER_MW)
    return faults + beyond(plan.asset.id, "reserve down_mw", down, 0.0, np.maximum(plan.power_mw, 0.0), POWER_MW)


def _played(plan: Plan, physics: Physics, shares: Sequence[Share]) -> list[Fault]:
    """All contracts of a direction are called together; the first broken step of each direction is named."""
    faults = []
    edges = np.concatenate([[0.0], np.cumsum(plan.grid.hours)])
    for side in ("up", "down"):
        mine = [s for s in shares if s.side == side]
        if not mine:
            continue
        calls = {float(x) for e in edges[:-1] for x in (e, *(e - s.terms.sustain_h for s in mine)) if x >= 0.0}
        broken = (found for begin in sorted(calls) if (found := _call(plan, physics, shares, side, begin, edges)))
        if (first := next(broken, None)) is not None:
            faults.append(Fault(plan.asset.id, f"reserve {side}_mw", first))
    return faults


def _call(plan: Plan, physics: Physics, shares: Sequence[Share], side: str, begin: float, edges: Array) -> str | None:
    """What breaks first in a call that begins at hour `begin`, or None."""
    mine, sign = [s for s in shares if s.side == side], 1.0 if side == "up" else -1.0
    other = _held(shares, "down" if side == "up" else "up", plan.grid.n)
    stops = {id(s): _stop(s, begin, edges) for s in mine}
    back = {
        id(s): physics.takes_back * s.terms.sustain_h / s.terms.recovery_h * _most(s, begin, stops[id(s)], edges)
        for s in mine
    }
    last = max(stops.values())
    over = last + max(s.terms.recovery_h for s in mine)
    marks = sorted({begin, *stops.values(), over, *(float(e) for e in edges)})
    deviation = 0.0
    for a, b in pairwise(marks):
        if a < begin - EPS_H or b <= a + EPS_H:
            continue
        t = int(np.clip(np.searchsorted(edges, a + EPS_H) - 1, 0, plan.grid.n - 1))
        planned, calling = float(plan.power_mw[t]), a < last - EPS_H
        given = sum(float(s.held_mw[t]) for s in mine if a < stops[id(s)] - EPS_H)
        taken = sum(back[id(s)] for s in mine if a >= stops[id(s)] - EPS_H)
        p = planned + sign * (given - taken)
        beside = p if calling else p - sign * float(other[t])
        if not physics.least_mw[t] - POWER_MW <= beside <= physics.most_mw[t] + POWER_MW:
            return f"step {t}: a call at hour {begin:g} needs {beside:.4f} MW"
        before = _at(physics.content, edges, a) + deviation
        if calling and -p > physics.charge_limit(before) + POWER_MW:
            return f"step {t}: a call at hour {begin:g} charges {-p:.4f} MW into the taper"
        deviation += (b - a) * (physics.inflow(t, p) - physics.inflow(t, planned))
        content = _at(physics.content, edges, b) + deviation
        low, high = _at(physics.low, edges, b), _at(physics.high, edges, b)
        if calling and not low - BACK_MWH <= content <= high + BACK_MWH:
            return f"step {t}: a call at hour {begin:g} leaves {content:.4f} MWh outside [{low:.4f}, {high:.4f}]"
        if not calling:
            direction = physics.inflow(t, planned + sign) - physics.inflow(t, planned)
            deviation = _made_good(deviation, direction, content, low, high)
            if abs(deviation) <= BACK_MWH:
                return None
            if b >= over - EPS_H:
                return f"step {t}: a call at hour {begin:g} is {deviation:.4f} MWh from the plan after its recovery"
    return None


def _made_good(deviation: float, direction: float, content: float, low: float, high: float) -> float:
    """What is left of a deviation in `direction`; past the plan it is none, at the window it stays inside."""
    if deviation * direction <= 0.0:
        return 0.0
    return deviation + float(np.clip(content, low, high)) - content


def _at(values: Array, edges: Array, hour: float) -> float:
    return float(np.interp(hour, edges, values))


def _stop(share: Share, begin: float, edges: Array) -> float:
    """When a call that begins at `begin` ends: after the longest duration, or where nothing is sold any more."""
    until = min(begin + share.terms.sustain_h, float(edges[-1]))
    for t in range(len(share.held_mw)):
        if edges[t + 1] > begin + EPS_H and edges[t] < until - EPS_H and share.held_mw[t] <= TOLERANCE_MW:
            return max(begin, float(edges[t]))
    return float(until)


def _most(share: Share, begin: float, stop: float, edges: Array) -> float:
    ran = (edges[1:] > begin + EPS_H) & (edges[:-1] < stop - EPS_H)
    return float(share.held_mw[ran].max(initial=0.0))


def _mill(plan: Plan, stored: Array, share: Share, mates: int) -> list[Fault]:
    q, name, field = plan.asset.params, plan.asset.id, f"reserve {share.side}_mw"
    if share.side == "down":
        return [Fault(name, field, "nothing starts on call")]
    sold, on = share.held_mw > TOLERANCE_MW, np.asarray(plan.on) > 0.5
    whole = np.where(sold, q.power_mw, 0.0)
    faults = beyond(name, field, share.held_mw, whole, whole, POWER_MW)
    was_on = np.concatenate([[plan.state.on], on[:-1]])
    may_stop = on & was_on & (_run_minutes(plan, on) >= 60.0 * q.min_run_h - 1e-6)
    faults += beyond(name, f"{field}: runs and may stop", sold.astype(float), 0.0, may_stop.astype(float), 0.5)
    edges = np.concatenate([[0.0], np.cumsum(plan.grid.hours)])
    missing_h = max(share.terms.sustain_h, q.min_stop_h)
    per_mwh = q.silo.kwh_per_t / q.kwh_per_t
    floor = min(q.silo.min_t * q.silo.kwh_per_t / 1000.0, mates * plan.state.stored_mwh) / mates
    for number in np.unique(share.interval[sold & (share.interval >= 0)]):
        steps = np.flatnonzero(share.interval == number)
        until = edges[steps[-1] + 1] + missing_h + share.terms.recovery_h
        ends = np.flatnonzero((edges[1:] > edges[steps[0]] + EPS_H) & (edges[1:] < until + EPS_H))
        left = stored[ends] - missing_h * q.power_mw * per_mwh
        faults += beyond(name, f"{field}: silo in MWh", left, floor, np.inf, BACK_MWH)
    return faults


def _run_minutes(plan: Plan, on: NDArray[np.bool_]) -> Array:
    """(T,) minutes a mill has run at the start of each step."""
    begins, found = minutes_before(plan.grid), np.zeros(plan.grid.n)
    since = -float(plan.state.minutes_in_state) if plan.state.on else np.inf
    for t, running in enumerate(on):
        since = np.inf if not running else min(since, float(begins[t]))
        found[t] = begins[t] - since if running else 0.0
    return found


def _rested(plan: Plan, shares: Sequence[Share]) -> list[Fault]:
    """A call stops the mill for its rest, so no second interval may begin before that is over."""
    edges, faults = np.concatenate([[0.0], np.cumsum(plan.grid.hours)]), []
    spans = []
    for s in shares:
        pause = max(s.terms.sustain_h, plan.asset.params.min_stop_h)
        for number in np.unique(s.interval[(s.held_mw > TOLERANCE_MW) & (s.interval >= 0)]):
            steps = np.flatnonzero(s.interval == number)
            spans.append((float(edges[steps[0]]), float(edges[steps[-1] + 1]) + pause))
    spans.sort()
    for (_, free), (begin, _) in pairwise(spans):
        if begin < free - EPS_H:
            faults.append(Fault(plan.asset.id, "reserve up_mw", f"sold again at hour {begin:g}, rests until {free:g}"))
    return faults
