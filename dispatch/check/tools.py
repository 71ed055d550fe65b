"""What the checks of the kinds share: bounds, the balance of a store and its window, minimum times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array, TimeGrid

TOLERANCE_MW = 1e-4
TOLERANCE_MWH = 1e-3
REPORTED_MWH = 1e-4
ROUNDING_MWH = 1e-6
SLACK_MWH = 5e-3


@dataclass(frozen=True)
class Recomputed:
    """Content at each interval's end (MWh) where the asset stores, every fault found, and decisions that
    follow from the others: name -> (recomputed (T,), tolerance)."""

    stored_mwh: Array | None
    faults: tuple[Fault, ...] = ()
    derived: Mapping[str, tuple[Array, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One asset's part of a schedule with what it starts from."""

    asset: Asset
    state: AssetState
    grid: TimeGrid
    power_mw: Array
    on: Array | None
    decisions: Mapping[str, Array]
    inputs: Mapping[str, Array]

    def decision(self, name: str) -> Array:
        """A decision trajectory, zero where the plan has none."""
        return np.asarray(self.decisions.get(name, np.zeros(self.grid.n)), dtype=float)


def beyond(where: str, name: str, value: Array, low: Array | float, high: Array | float, tol: float) -> list[Fault]:
    """The worst step at which `value` leaves [low, high], how many do and the first of them; a value or limit that is
    no number is outside."""
    excess = np.maximum(np.asarray(low) - value, value - np.asarray(high))
    t, outside = int(np.argmax(excess)), np.flatnonzero(~(excess <= tol))
    if not outside.size:
        return []
    bounds = np.broadcast_to(low, value.shape)[t], np.broadcast_to(high, value.shape)[t]
    more = f" (the worst of {outside.size} steps, the first is {outside[0]})" if outside.size > 1 else ""
    return [Fault(where, name, f"step {t}: {value[t]:.5f} outside [{bounds[0]:.5f}, {bounds[1]:.5f}]{more}")]


def needless(where: str, name: str, missed: Array, spare: Array, what: str, tol: float) -> list[Fault]:
    """The first step at which something is missed although as much of it is to be had, and how many there are; both
    (T,) in one unit."""
    both = np.flatnonzero(np.minimum(missed, spare) > tol)
    if not both.size:
        return []
    t = int(both[0])
    more = f" (the first of {both.size} steps)" if both.size > 1 else ""
    return [Fault(where, name, f"step {t}: {missed[t]:.5f} although {what} has {spare[t]:.5f}{more}")]


def idle(
    plan: Plan, lack: tuple[str, Array], waste: tuple[str, Array], stored: Array, least: Array, most: float
) -> list[Fault]:
    """What is lacking or wasted, MWh (T,) by name, although the store at that step and ever after held enough, or had
    room, to do without: less of both keeps every later content inside [`least` (T,), `most`] and costs less.

    At the end the store need not hold more than it began with.
    """
    kept = np.append(least[:-1], max(least[-1], min(plan.state.stored_mwh, most)))
    spare, room = (np.minimum.accumulate(side[::-1])[::-1] for side in (stored - kept, most - stored))
    return [
        *needless(plan.asset.id, lack[0], lack[1], spare, "its store", SLACK_MWH),
        *needless(plan.asset.id, waste[0], waste[1], room, "the room in its store", SLACK_MWH),
    ]


def slacks(plan: Plan, limits: Mapping[str, Array | float]) -> list[Fault]:
    """Decisions that must lie in [0, limit]."""
    name = plan.asset.id
    return [f for k, most in limits.items() for f in beyond(name, k, plan.decision(k), 0.0, most, TOLERANCE_MW)]


def keep(loss_per_h: float, hours: Array) -> Array:
    """(T,) share of a content that is left after each step."""
    return np.maximum(0.0, 1.0 - loss_per_h * hours)


def integrate(start_mwh: float, flow_mw: Array, loss_per_h: float, hours: Array) -> Array:
    """Content at each interval's end from the net inflow and a proportional standing loss."""
    content, stored = start_mwh, np.empty(len(flow_mw))
    for t, (flow, kept, h) in enumerate(zip(flow_mw, keep(loss_per_h, hours), hours, strict=True)):
        content = content * kept + h * flow
        stored[t] = content
    return stored


def inside(plan: Plan, stored: Array, start: float, loss_per_h: float, low: float, high: float) -> list[Fault]:
    """The content inside its window, on the curve of a store untouched since the start, or falling by loss alone."""
    left = keep(loss_per_h, plan.grid.hours)
    untouched = start * np.cumprod(left)
    decayed = left * np.concatenate([[start], stored[:-1]])
    lost_only = stored >= decayed - ROUNDING_MWH
    low_at = np.where(lost_only, np.minimum(low, stored), np.minimum(low, untouched))
    return beyond(plan.asset.id, "stored_mwh", stored, low_at, np.maximum(high, untouched), TOLERANCE_MWH)


def switching(plan: Plan, on: Array, up_h: float, down_h: float) -> list[Fault]:
    """Minimum run and stop times, the time before the plan included; the end of the plan cuts the last run."""
    name = plan.asset.id
    faults = beyond(name, "commitment", np.minimum(np.abs(on), np.abs(on - 1.0)), 0.0, 0.0, 1e-6)
    if not plan.state.available:
        return faults + beyond(name, "commitment", on, 0.0, 0.0, 0.5)
    state, minutes = plan.state.on, float(plan.state.minutes_in_state)
    for t, value in enumerate(on > 0.5):
        if value != state:
            needed = 60.0 * (up_h if state else down_h)
            if minutes < needed - 1e-6:
                verb = "stops" if state else "starts"
                faults.append(Fault(name, "commitment", f"step {t}: {verb} after {minutes:.0f} of {needed:.0f} min"))
            state, minutes = bool(value), 0.0
        minutes += plan.grid.minutes[t]
    return faults


def minutes_before(grid: TimeGrid) -> Array:
    """(T,) minutes from the start of the grid to the start of each step."""
    return np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)])


def alone(rule: Callable[[Plan], Recomputed]) -> Callable[[Sequence[Plan]], list[Recomputed]]:
    """The rule of a kind whose assets do not depend on each other."""
    return lambda plans: [rule(plan) for plan in plans]
