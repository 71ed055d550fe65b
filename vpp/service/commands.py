"""From a schedule to set-points: what is sent, for how long it holds, and how early.

    continuous   power for the minute, re-sent every minute, expires after three
    request      on/off for the first quarter that starts after the asset's notice, expires a quarter after its end
    price        the published price for that quarter, expires likewise

A generator that the plan does not curtail is sent its capacity, so that it gives all it has, or what limits received
from a grid operator leave it. A machine
runs only where the arbitrated range holds its power, and stands only where it holds 0. A set-point that
arbitration changed names who changed it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vpp.domain.command import Quantity, Setpoint
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.time import MINUTE, QUARTER, Array, floor_to
from vpp.service.arbitrate import INF, Window

HOLD_CONTINUOUS = 3 * MINUTE
NAMESPACE = uuid.UUID("6f0c8a52-6f6e-4d0e-9b7c-5d6d1b7f0a11")
UNCURTAILED_MW = 1e-3
ROUNDING_MW = 1e-6


@dataclass(frozen=True)
class Issue:
    """Who issues commands and when."""

    now: datetime
    run_id: str
    epoch: int

    def setpoint(
        self, asset: Asset, quantity: Quantity, value: float, start: datetime, until: datetime, source: str | None
    ) -> Setpoint:
        """A set-point whose id is the same whenever the same run issues it again; `source` None is the schedule."""
        name = f"{self.run_id}/{asset.id}/{quantity}/{start.isoformat()}/{self.epoch}"
        return Setpoint(
            str(uuid.uuid5(NAMESPACE, name)), asset.id, quantity, value, self.now, start, until, self.run_id,
            self.epoch, source=source or "schedule",
        )  # fmt: skip


def continuous(
    schedule: Schedule,
    assets: Sequence[Asset],
    available_mw: Mapping[str, Array],
    windows: Mapping[str, Window],
    now: datetime,
    run_id: str,
    epoch: int,
    roofs_mw: Mapping[str, float] | None = None,
) -> list[Setpoint]:
    """Absolute power for every asset that tracks, at the schedule's interval that holds `now`.

    `available_mw[asset]` (T,) is what each curtailable asset is expected to have over the schedule's grid,
    `roofs_mw[asset]` the most it may be commanded.
    Raises ValueError where the schedule does not cover `now`.
    """
    t, issue = schedule.grid.index_of(now), Issue(now, run_id, epoch)
    found = []
    for asset in assets:
        if asset.control != "continuous":
            continue
        power = float(schedule.power_of(asset.id)[t])
        if asset.kind == "curtailable" and power >= available_mw[asset.id][t] - UNCURTAILED_MW:
            power = min(float(asset.params.capacity_mw), (roofs_mw or {}).get(asset.id, INF))
        value, source = _arbitrated(power, windows.get(asset.id))
        found.append(issue.setpoint(asset, "power_mw", value, now, now + HOLD_CONTINUOUS, source))
    return found


def _arbitrated(power_mw: float, window: Window | None) -> tuple[float, str | None]:
    """The wish of a higher priority before the schedule's, inside the range; who changed it, None for nobody."""
    if window is None:
        return power_mw, None
    value = window.clip(power_mw if window.preferred_mw is None else window.preferred_mw)
    return value, None if value == power_mw else window.source


def first_quarter(now: datetime, notice: timedelta) -> datetime:
    """The start of the first quarter that begins no earlier than `notice` after `now`, UTC."""
    return floor_to(now + notice + QUARTER - timedelta(seconds=1), QUARTER)


def announced(
    schedule: Schedule,
    assets: Sequence[Asset],
    windows: Mapping[datetime, Mapping[str, Window]],
    now: datetime,
    run_id: str,
    epoch: int,
    first: bool,
) -> list[Setpoint]:
    """On/off requests and published prices for the first quarter after each asset's notice.

    `first`: the loop has just started, so the quarters inside the notice are sent too, as they were
    planned the day before, from the one that holds `now`. `windows` are the arbitrated bounds by quarter
    start. Quarters outside the schedule are left out.
    """
    issue, found = Issue(now, run_id, epoch), []
    for asset in assets:
        if asset.control not in ("request", "price", "step"):
            continue
        start = first_quarter(now, asset.notice)
        quarters = [start]
        if first:
            quarters = [q for k in range(int(asset.notice / QUARTER) + 2)
                        if (q := floor_to(now, QUARTER) + k * QUARTER) <= start]  # fmt: skip
        for quarter in quarters:
            if schedule.grid.start <= quarter < schedule.grid.end:
                found.append(_announce(schedule, asset, quarter, windows.get(quarter, {}).get(asset.id), issue))
    return found


def _announce(schedule: Schedule, asset: Asset, start: datetime, window: Window | None, issue: Issue) -> Setpoint:
    t, until = schedule.grid.index_of(start), start + 2 * QUARTER
    start = max(start, issue.now)
    if asset.control == "price":
        price = float(schedule.decisions[asset.id]["price_eur_per_mwh"][t])
        return issue.setpoint(asset, "price_eur_per_mwh", price, start, until, None)
    if asset.id not in schedule.commitment:
        value, source = _arbitrated(float(schedule.power_of(asset.id)[t]), window)
        return issue.setpoint(asset, "power_mw", value, start, until, source)
    planned = bool(schedule.commitment[asset.id][t] > 0.5)
    on = _allowed(planned, -float(asset.params.power_mw), window)
    source = window.source if window is not None and on != planned else None
    return issue.setpoint(asset, "on", float(on), start, until, source)


def _allowed(planned: bool, running_mw: float, window: Window | None) -> bool:
    """On or off inside the range; off where it holds neither the running power nor 0."""
    if window is None:
        return planned
    wished = planned if window.preferred_mw is None else window.preferred_mw <= running_mw / 2.0
    may_run = window.lower_mw - ROUNDING_MW <= running_mw <= window.upper_mw + ROUNDING_MW
    may_stand = window.lower_mw - ROUNDING_MW <= 0.0 <= window.upper_mw + ROUNDING_MW
    return may_run and (wished or not may_stand)
