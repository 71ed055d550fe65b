"""From a schedule to set-points: what is sent, for how long it holds, and how early.

    continuous   power for the minute, re-sent every minute, expires after three
    request      on/off for the quarter that starts after the asset's notice, expires a quarter after its end
    price        the published price for the quarter that starts after the notice, expires likewise

A generator that the plan does not curtail is sent its capacity, so that it gives all it has.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from vpp.domain.command import Quantity, Setpoint
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.time import MINUTE, QUARTER, Array
from vpp.service.arbitrate import Window

HOLD_CONTINUOUS = 3 * MINUTE
NAMESPACE = uuid.UUID("6f0c8a52-6f6e-4d0e-9b7c-5d6d1b7f0a11")
UNCURTAILED_MW = 1e-3


def _setpoint(
    asset: Asset,
    quantity: Quantity,
    value: float,
    now: datetime,
    start: datetime,
    until: datetime,
    run_id: str,
    epoch: int,
) -> Setpoint:
    name = f"{run_id}/{asset.id}/{quantity}/{start.isoformat()}/{epoch}"
    return Setpoint(
        str(uuid.uuid5(NAMESPACE, name)), asset.id, quantity, value, now, start, until, run_id, epoch
    )  # fmt: skip


def continuous(
    schedule: Schedule,
    assets: Sequence[Asset],
    available_mw: Mapping[str, Array],
    windows: Mapping[str, Window],
    now: datetime,
    run_id: str,
    epoch: int,
) -> list[Setpoint]:
    """Absolute power for every asset that tracks, at the schedule's interval that holds `now`."""
    t = schedule.grid.index_of(now)
    found = []
    for asset in assets:
        if asset.control != "continuous":
            continue
        power = float(schedule.power_of(asset.id)[t])
        if asset.kind == "curtailable" and power >= available_mw[asset.id][t] - UNCURTAILED_MW:
            power = float(asset.params.capacity_mw)
        if asset.id in windows:
            power = windows[asset.id].clip(power)
        found.append(_setpoint(asset, "power_mw", power, now, now, now + HOLD_CONTINUOUS, run_id, epoch))
    return found


def announced(
    schedule: Schedule,
    assets: Sequence[Asset],
    windows: Mapping[datetime, Mapping[str, Window]],
    now: datetime,
    run_id: str,
    epoch: int,
    first: bool,
) -> list[Setpoint]:
    """On/off requests and published prices for the quarter after each asset's notice.

    `first`: the loop has just started, so the quarters inside the notice are sent too, as they were
    planned the day before. `windows` are the arbitrated bounds by quarter start.
    """
    found = []
    for asset in assets:
        if asset.control not in ("request", "price", "step"):
            continue
        at = now + asset.notice
        quarters = [now + k * QUARTER for k in range(asset.notice // QUARTER + 1)] if first else [at]
        for start in quarters:
            if start < schedule.grid.end:
                found.append(_announce(schedule, asset, start, windows.get(start, {}), now, run_id, epoch))
    return found


def _announce(
    schedule: Schedule,
    asset: Asset,
    start: datetime,
    windows: Mapping[str, Window],
    now: datetime,
    run_id: str,
    epoch: int,
) -> Setpoint:
    t = schedule.grid.index_of(start)
    until = start + 2 * QUARTER
    if asset.control == "price":
        price = float(schedule.decisions[asset.id]["price_eur_per_mwh"][t])
        return _setpoint(asset, "price_eur_per_mwh", price, now, start, until, run_id, epoch)
    on = float(schedule.commitment[asset.id][t] > 0.5)
    if (window := windows.get(asset.id)) is not None and window.lower_mw > -asset.params.power_mw / 2:
        on = 0.0
    return _setpoint(asset, "on", on, now, start, until, run_id, epoch)
