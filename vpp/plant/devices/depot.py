"""EV depot: cars of each session charge or, all together, feed back; x[t] = x[t-1] + h*(eta_c*c - d/eta_d).

Cars come and go at the local times of their sessions, counted above the level they may be drawn down to: they
arrive with `lend` and should leave with `lend` + `energy`. A set-point is the net power of the depot. Whatever it
says, the depot charges what a class needs so as still to be full in time, and feeds back no more than leaves
that: the level of a class that is charged as late as chargers and feeder allow, the least time left per energy
owed first (least laxity; e.g. Nakahira et al., ACM e-Energy 2017). What remains of a set-point goes to the first to
leave. Without an order every car charges at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pydantic import Field

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, clip
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ()
STORES = True
TINY = 1e-12


class SessionParams(PhysicalParams):
    """`count` cars; numbers are those of one car."""

    id: str
    arrival: time
    departure: time
    count: int = Field(ge=1)
    power_mw: float = Field(gt=0)
    energy_mwh: float = Field(ge=0)
    v2g_mw: float = Field(0.0, ge=0)
    lend_mwh: float = Field(0.0, ge=0)
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)


class Params(PhysicalParams):
    """Sessions behind one feeder."""

    feeder_mw: float = Field(gt=0)
    sessions: tuple[SessionParams, ...] = Field(min_length=1)
    charge_efficiency: float = Field(0.93, gt=0, le=1)
    discharge_efficiency: float = Field(0.93, gt=0, le=1)
    zone: str = "Europe/Berlin"


@dataclass
class Stay:
    """The cars of a session from minute `come` to minute `go` (since the Unix epoch) with their content, MWh."""

    session: SessionParams
    come: int
    go: int
    content: float

    @property
    def key(self) -> tuple[str, int]:
        return self.session.id, self.come

    @property
    def full(self) -> float:
        return self.session.count * (self.session.lend_mwh + self.session.energy_mwh)

    @property
    def charger_mw(self) -> float:
        return self.session.count * self.session.power_mw


class Depot:
    """One depot."""

    accepts: frozenset[Quantity] = frozenset({"power_mw"})
    details: tuple[str, ...] = ("plugged", "unmet_mwh")

    def __init__(self, params: Params, state: State) -> None:
        self.params = params
        self.state = state
        self._present: list[Stay] | None = None
        self._needed: dict[tuple[str, int], dict[int, float]] = {}
        self._unmet = 0.0
        self._on_day = lru_cache(maxsize=8)(self._arriving)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Let cars go and come, then charge or feed back for the minute."""
        present = self._turnover(minute)
        p, state = self.params, self.state
        gain = p.charge_efficiency * HOURS
        room = [min(s.charger_mw, (s.full - s.content) / gain) for s in present]
        due = [
            clip((self._needed[s.key][minute] - s.content) / gain, 0.0, r) for s, r in zip(present, room, strict=True)
        ]
        wanted = order.value if order else -sum(room)
        drawn, fed = [0.0] * len(present), [0.0] * len(present)
        if wanted <= 0.0 or sum(due) > TINY:
            drawn = _share(due, p.feeder_mw)
            rest = clip(-wanted, 0.0, p.feeder_mw) - sum(drawn)
            drawn = [a + b for a, b in zip(drawn, _share([r - d for r, d in zip(room, drawn, strict=True)], rest),
                                           strict=True)]  # fmt: skip
        else:
            fed = _share([self._spare(s, minute) for s in present], min(wanted, p.feeder_mw))
        for stay, c, d in zip(present, drawn, fed, strict=True):
            stay.content += gain * c - HOURS * d / p.discharge_efficiency
        state.power_mw = sum(fed) - sum(drawn)
        state.stored_mwh = sum(s.content for s in present if s.go > minute + 1)
        state.count(state.power_mw != 0.0)

    def _turnover(self, minute: int) -> list[Stay]:
        """Those plugged in over the minute, the first to leave first; `_unmet` is what the leavers of it lack."""
        if self._present is None:
            self._present = _shared_out(self._begun(minute), minute, self.state.stored_mwh, self.params)
        self._unmet = sum(max(0.0, s.full - s.content) for s in self._present if s.go <= minute)
        staying = [s for s in self._present if s.go > minute]
        come = [replace(s) for s in self._begin_at(minute)]
        if come or len(staying) < len(self._present) or not self._needed:
            self._present = sorted([*staying, *come], key=lambda s: s.go)
            self._needed = self._latest(minute)
        return self._present

    def _begin_at(self, minute: int) -> list[Stay]:
        """The stays that begin with the minute."""
        day = datetime.fromtimestamp(60 * minute, UTC).astimezone(ZoneInfo(self.params.zone)).date()
        return [s for s in self._on_day(day) if s.come == minute]

    def _begun(self, minute: int) -> list[Stay]:
        """The stays that have begun before the minute and last."""
        day = datetime.fromtimestamp(60 * minute, UTC).astimezone(ZoneInfo(self.params.zone)).date()
        near = [s for back in (1, 0) for s in self._on_day(day - timedelta(days=back))]
        return [replace(s) for s in near if s.come < minute < s.go]

    def _arriving(self, day: date) -> tuple[Stay, ...]:
        """The stays of sessions that arrive on a local day."""
        zone, found = ZoneInfo(self.params.zone), []
        for s in self.params.sessions:
            leaves = day + timedelta(days=int(s.departure <= s.arrival))
            ends = (datetime.combine(day, s.arrival, zone), datetime.combine(leaves, s.departure, zone))
            come, go = (int(moment.timestamp()) // 60 for moment in ends)
            if day.weekday() in s.weekdays:
                found.append(Stay(s, come, go, s.count * s.lend_mwh))
        return tuple(found)

    def _spare(self, stay: Stay, minute: int) -> float:
        """MW a class can feed back and still be full in time."""
        p, s = self.params, stay.session
        above = stay.content - self._needed[stay.key][minute]
        return clip(above * p.discharge_efficiency / HOURS, 0.0, s.count * s.v2g_mw)

    def _latest(self, minute: int) -> dict[tuple[str, int], dict[int, float]]:
        """Content at the end of each minute of each class, now or later there, if it is charged as late as possible."""
        p, present = self.params, self._present or []
        until = max((s.go for s in present), default=minute)
        coming = {s.key: s for m in range(minute + 1, until) for s in self._begin_at(m)}
        stays = [*present, *coming.values()]
        level, needed = {s.key: s.full for s in stays}, {s.key: dict[int, float]() for s in stays}
        for m in range(max((s.go for s in stays), default=minute) - 1, minute - 1, -1):
            active = [s for s in stays if s.come <= m < s.go]
            for s in active:
                needed[s.key][m] = level[s.key]
            active.sort(key=lambda s: _time_left(s, level[s.key], m, minute))
            left = p.feeder_mw * p.charge_efficiency * HOURS
            for lent in (False, True):
                for s in active:
                    most = needed[s.key][m] - level[s.key]
                    most = min(s.charger_mw * p.charge_efficiency * HOURS - most, left)
                    given = clip(level[s.key] - (0.0 if lent else s.content), 0.0, most)
                    level[s.key] -= given
                    left -= given
        return needed

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """Charging at once: each car for as long as its need takes, cut at the feeder."""
        p = self.params
        day = datetime.fromtimestamp(60 * minute, UTC).astimezone(ZoneInfo(p.zone)).date()
        drawn = 0.0
        for stay in (s for back in (1, 0) for s in self._on_day(day - timedelta(days=back))):
            needed = 60.0 * stay.session.energy_mwh / (p.charge_efficiency * stay.session.power_mw)
            if stay.come <= minute < min(stay.go, stay.come + needed):
                drawn += stay.charger_mw
        return -min(drawn, p.feeder_mw)

    def detail(self) -> tuple[float, ...]:
        present = self._present or []
        return (float(sum(s.session.count for s in present)), self._unmet)


def _share(most: Sequence[float], total: float) -> list[float]:
    """`total` given in order, to each up to its `most`."""
    given = []
    for m in most:
        given.append(min(max(m, 0.0), max(total, 0.0)))
        total -= given[-1]
    return given


def _time_left(stay: Stay, level: float, minute: int, now: int) -> float:
    """Minutes until the end of `minute` per MWh a class must still get by then."""
    owed = level - stay.content
    return (minute + 1 - max(stay.come, now)) * stay.charger_mw / owed if owed > TINY else float("inf")


def _shared_out(present: list[Stay], minute: int, stored_mwh: float, p: Params) -> list[Stay]:
    """What all hold together: first what each needs to be full in time, then the first to leave, as chargers allow."""
    left = max(stored_mwh, 0.0)
    present.sort(key=lambda s: s.go)
    for stay in present:
        stay.content = 0.0
    for last in (False, True):
        for stay in present:
            rate = p.charge_efficiency * stay.charger_mw * HOURS
            most = min(stay.full, stay.session.count * stay.session.lend_mwh + rate * (minute - stay.come))
            level = most if last else min(most, max(0.0, stay.full - rate * (stay.go - minute)))
            given = min(left, max(0.0, level - stay.content))
            stay.content, left = stay.content + given, left - given
    return present


def build(making: Making) -> Depot:
    """From its parameters, in its initial state."""
    return Depot(Params.model_validate(making.params), making.state)
