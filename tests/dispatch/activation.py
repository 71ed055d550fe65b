"""A reserve call played minute by minute on a battery's plan, from the equations: what breaks, and whether it is back.

The battery gives what is held on top of its plan while it is called, then takes it back at a constant power; one that
meets its floor or ceiling stands still there, and one above its plan charges what its taper lets in. Nothing comes
from the blocks or from `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dispatch.products.reserve import Side, Terms, decision
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

TOLERANCE = 1e-4
BACK_MWH = 2e-4
H = 1.0 / 60.0


@dataclass(frozen=True)
class Battery:
    """The equations of one battery by the minute: content after a minute at an injection, and what it may do."""

    asset: Asset
    state: AssetState

    @property
    def start_mwh(self) -> float:
        return min(max(self.state.stored_mwh, 0.0), self.asset.params.capacity_mwh)

    def after(self, content: float, p: float) -> float:
        q = self.asset.params
        flow = -p / q.discharge_efficiency if p > 0 else -p * q.charge_efficiency
        return content * (1.0 - q.standing_loss_per_h * H) + H * flow

    def limits(self, content: float) -> tuple[float, float]:
        q, rated = self.asset.params, self.asset.params.power_mw * self.state.available
        room = q.power_mw * max(1.0 - content / q.capacity_mwh, 0.0) / max(1.0 - q.taper_from_soc, 1e-12)
        return -(min(rated, room) if q.taper_from_soc < 1.0 else rated), rated

    def window(self, minutes: int) -> tuple[Array, Array]:
        q = self.asset.params
        untouched = self.start_mwh * np.cumprod(np.full(minutes, 1.0 - q.standing_loss_per_h * H))
        # a step's loss is taken at once in the plan, and by the minute here
        slack = self.start_mwh * q.standing_loss_per_h * 0.05
        low, high = q.soc_min * q.capacity_mwh, q.soc_max * q.capacity_mwh
        return np.minimum(low, untouched) - slack, np.maximum(high, untouched) + slack


def minutes_of(schedule: Schedule, row: Array) -> Array:
    """A trajectory over steps, repeated over their minutes."""
    return np.repeat(np.asarray(row, dtype=float), schedule.grid.minutes)


def held_by_minute(schedule: Schedule, asset: str, side: Side, contract: Terms) -> Array:
    none = np.zeros(schedule.grid.n)
    return minutes_of(schedule, schedule.decisions.get(asset, {}).get(decision(contract.id, side), none))


def play(battery: Battery, schedule: Schedule, side: Side, begin: int, contract: Terms) -> list[str]:
    """What breaks when `contract` calls the battery from minute `begin` on, for as long as it may."""
    sign = 1.0 if side == "up" else -1.0
    power = minutes_of(schedule, schedule.power_of(battery.asset.id))
    opposite: Side = "down" if side == "up" else "up"
    held, other = (held_by_minute(schedule, battery.asset.id, s, contract) for s in (side, opposite))
    until = min(begin + round(60 * contract.sustain_h), len(power))
    stop = next((t for t in range(begin, until) if held[t] <= 1e-9), until)
    planned = np.empty(len(power) + 1)
    planned[0] = content = battery.start_mwh
    for t, p in enumerate(power):
        planned[t + 1] = battery.after(planned[t], p)
    content = planned[begin]
    q = battery.asset.params
    both_ways = q.charge_efficiency * q.discharge_efficiency
    back = held[begin:stop].max(initial=0.0) * contract.sustain_h / contract.recovery_h / both_ways
    low, high = battery.window(len(power))
    broken = []
    for t in range(begin, len(power)):
        calling = t < stop
        p = power[t] + (sign * held[t] if calling else -sign * back)
        least, most = battery.limits(content)
        if not calling and sign < 0:
            p = max(p, least)
        beside = p if calling else p - sign * other[t]
        if not least - TOLERANCE <= beside <= most + TOLERANCE:
            broken.append(f"minute {t}: {beside:.5f} MW outside [{least:.5f}, {most:.5f}]")
        content = battery.after(content, p)
        if not calling and sign * (content - planned[t + 1]) >= -BACK_MWH:
            return broken
        if not low[t] - TOLERANCE <= content <= high[t] + TOLERANCE:
            if calling:
                broken.append(f"minute {t}: {content:.5f} MWh outside [{low[t]:.5f}, {high[t]:.5f}]")
            else:
                content = float(np.clip(content, low[t], high[t]))
        if t >= stop + 60 * contract.recovery_h:
            return [*broken, f"minute {t}: {content - planned[t + 1]:.5f} MWh from the plan after the recovery"]
    return broken


def begins(schedule: Schedule) -> list[int]:
    """The first, the middle and the last minute of every step."""
    edge = np.concatenate([[0], np.cumsum(schedule.grid.minutes)])
    return sorted({m for a, b in pairwise(edge) for m in (int(a), int(a + b) // 2, int(b) - 1)})
