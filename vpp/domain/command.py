"""From proposals to executed set-points.

Arbitration order, highest first: device protection > site stop > grid emergency order >
activated reserve > accepted DR or flexibility order > firm position > schedule.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Literal


class Priority(IntEnum):
    """Who wins; a higher value narrows the bounds of every lower one."""

    SCHEDULE = 10
    FIRM_POSITION = 20
    DR_ORDER = 30
    ACTIVATED_RESERVE = 40
    OPERATOR = 45
    GRID_EMERGENCY = 50
    SITE_STOP = 60
    DEVICE_PROTECTION = 70


@dataclass(frozen=True)
class Proposal:
    """Bounds on an asset's injection over [start, end), and the value preferred inside them."""

    id: str
    asset_id: str
    source: str
    priority: Priority
    start: datetime
    end: datetime
    lower_mw: float
    upper_mw: float
    preferred_mw: float | None = None
    reason: str = ""


Quantity = Literal["power_mw", "on", "price_eur_per_mwh"]


@dataclass(frozen=True)
class Setpoint:
    """One command. (asset_id, epoch, sequence) orders commands to a device; `valid_until` ends it.

    `sequence` 0 means not numbered yet: the store numbers it when it records the run.
    """

    id: str
    asset_id: str
    quantity: Quantity
    value: float
    issued_at: datetime
    valid_from: datetime
    valid_until: datetime
    run_id: str
    epoch: int
    sequence: int = 0
    source: str = "schedule"


class CommandStatus(StrEnum):
    """PENDING, SENT and WAITING (a later `valid_from`) are on the way; the others are final."""

    PENDING = "pending"
    ACKED = "acked"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    LOST = "lost"


@dataclass(frozen=True)
class Outcome:
    """What became of a set-point; `readback` is the device's own value after the write."""

    setpoint_id: str
    asset_id: str
    status: CommandStatus
    at: datetime
    readback: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Telemetry:
    """One reading of one device at `at`."""

    asset_id: str
    at: datetime
    power_mw: float
    q_mvar: float
    stored_mwh: float
    on: bool
    available: bool
    minutes_in_state: int
    in_default: bool
    setpoint_sequence: int


@dataclass(frozen=True)
class MeterRow:
    """Mean power of one metering point or grid series over [start, start + minutes)."""

    point: str
    start: datetime
    minutes: int
    mw: float
    known_at: datetime
