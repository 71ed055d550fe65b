"""What an operator's rule file sees: the plan by the names people use, and nothing of the solver's columns.

    def rules(b, plan):
        @b.Constraint(plan.between("17:00", "20:00"))
        def two_mills_at_most(b, t):
            return sum(plan.on[mill][t] for mill in ("mill-1", "mill-2", "mill-3")) <= 2

`plan.on`, `plan.start`, `plan.stop` are 0 or 1 per step, `plan.power_mw` is the net injection (consumption is
negative) and `plan.stored_mwh` the content at the end of the step, each by asset and step. Only what a
rule touches becomes a variable. Steps are those of the run that asks: quarters, minutes in real time,
hours in the tail of an intraday run; `plan.hours(t)` is a step's length.
"""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from operator import index
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

from vpp.domain.errors import Fault
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import TimeGrid

WHAT = ("on", "start", "stop", "power_mw", "stored_mwh")
Lookup = Callable[[str, str, int], Any]


@dataclass(frozen=True)
class RuleFile:
    """An operator's `rules(b, plan)`; `name` and `source` are for people, and equal sources are equal."""

    name: str
    source: str
    function: Callable[[Any, Any], object] = field(compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the source."""
        return hashlib.sha256(self.source.encode()).hexdigest()

    def line(self) -> str:
        """Where in the file the caller is right now, as "line 12"; empty outside of it."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code.co_filename != self.name:
            frame = frame.f_back
        return "" if frame is None else f"line {frame.f_lineno}"


class Faulty(LookupError):
    """A name that the plan does not have; `reason` says what was meant, perhaps."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass
class PlanView:
    """One run's plan under the names of `assets`; `lookup` gives the variable of (asset, what, step).

    A name the plan does not have becomes a fault of its line, and the rule goes on with a stand-in, so
    that one reading names every fault.
    """

    grid: TimeGrid
    zone: str
    assets: Mapping[str, Asset]
    initial: Mapping[str, AssetState]
    lookup: Lookup
    stand_in: Callable[[], Any]
    file: RuleFile
    told: Callable[[Fault], None]
    """Takes every fault."""

    def __post_init__(self) -> None:
        self.steps = range(self.grid.n)
        self.on, self.start, self.stop, self.power_mw, self.stored_mwh = (Quantity(self, what) for what in WHAT)
        self._local = tuple(s.astimezone(ZoneInfo(self.zone)) for s in self.grid.starts)

    def local_time(self, t: int) -> datetime:
        """Local time at which step `t` begins."""
        return self._local[t]

    def hours(self, t: int) -> float:
        """Length of step `t` in hours."""
        return float(self.grid.hours[t])

    def between(self, first: str, last: str) -> list[int]:
        """Steps of every day that begin at or after `first` and before `last`, local times such as "17:00"."""
        low, high = time.fromisoformat(first), time.fromisoformat(last)
        at = [moment.time() for moment in self._local]
        if low < high:
            return [t for t in self.steps if low <= at[t] < high]
        return [t for t in self.steps if at[t] >= low or at[t] < high]

    def named(self, *, kind: str | None = None, site: str | None = None) -> list[str]:
        """Ids of the assets of a kind, of a site, or of both."""
        return [
            a.id for a in self.assets.values() if (kind is None or a.kind == kind) and (site is None or a.site == site)
        ]

    def value(self, asset: str, what: str, t: int) -> Any:
        """The variable, or a stand-in where there is none and the reason as a fault."""
        try:
            return self.lookup(asset, what, self._step(t))
        except Faulty as why:
            self.note(why.reason)
            return self.stand_in()

    def known(self, asset: str) -> None:
        """Notes an asset that the portfolio does not have."""
        if asset not in self.assets:
            close = difflib.get_close_matches(str(asset), list(self.assets), n=1)
            self.note(f"no asset {asset}" + (f"; did you mean {close[0]}?" if close else ""))

    def note(self, reason: str) -> None:
        """A fault at the line of the file that is being run."""
        self.told(Fault(self.file.name, self.file.line(), reason))

    def _step(self, t: Any) -> int:
        if isinstance(t, slice):
            raise Faulty("several steps at once; ask for one at a time")
        if isinstance(t, bool) or not hasattr(t, "__index__"):
            raise Faulty(f"{t!r} is no step; steps are numbers from 0 to {self.grid.n - 1}")
        step = index(t)
        if not 0 <= step < self.grid.n:
            raise Faulty(f"step {t} is outside the plan, whose steps are 0 to {self.grid.n - 1}")
        return step


@dataclass(frozen=True)
class Quantity:
    """One quantity of the plan: `quantity[asset][t]`."""

    plan: PlanView
    what: str

    def __getitem__(self, asset: str) -> Row:
        self.plan.known(asset)
        return Row(self.plan, asset, self.what)


@dataclass(frozen=True)
class Row(Sequence[Any]):
    """One quantity of one asset by step."""

    plan: PlanView
    asset: str
    what: str

    def __len__(self) -> int:
        return self.plan.grid.n

    def __getitem__(self, t: Any) -> Any:
        if self.asset not in self.plan.assets:
            return self.plan.stand_in()
        return self.plan.value(self.asset, self.what, t)

    def __iter__(self) -> Iterator[Any]:
        return (self[t] for t in self.plan.steps)
