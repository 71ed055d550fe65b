"""The operator's rule file of a portfolio: `rules.py`, trusted code that runs with the rights of the service.

At most one per portfolio, read from its folder on local disk and from nowhere else. It is tried when the
portfolio is read, over the grids of all stages with the stated initial states and for a limited time, so that a
faulty file is a fault of the portfolio, with file, line and reason, and not of a plan at night.
"""

from __future__ import annotations

import inspect
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from vpp.domain.errors import Fault
from vpp.domain.portfolio import AssetState, Portfolio
from vpp.domain.stage import Stage
from vpp.domain.time import TimeGrid, local_midnight
from vpp.service.inputs import series_used, trajectories
from vpp.service.portfolio_files import InitialFile
from vpp.service.situation import grid_for

if TYPE_CHECKING:
    from dispatch.rule_places import Places
    from dispatch.rules import RuleFile

NAME, FUNCTION = "rules.py", "rules"
TRIAL_DAY, TRIAL_S = date(2024, 1, 9), 10.0
STATES_NOTHING = inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction


def load_rules(
    directory: Path, portfolio: Portfolio | None, stages: Sequence[Stage], initial: Mapping[str, InitialFile],
    faults: list[Fault],
) -> RuleFile | None:  # fmt: skip
    """The rules of the folder, None where it has none or they are faulty; its faults join `faults`.

    Without a `portfolio`, because that is faulty, only what the file is by itself is looked at.
    """
    path = directory / NAME
    if not path.exists():
        return None
    file = _read(path, directory, faults)
    if file is None or portfolio is None:
        return None
    found = _tried(file, portfolio, stages, initial)
    faults += found
    return None if found else file


def _read(path: Path, directory: Path, faults: list[Fault]) -> RuleFile | None:
    """The file's function `rules(b, plan)`; why there is none joins `faults`."""
    from dispatch.rules import RuleFile

    if not path.is_file() or not path.resolve().is_relative_to(directory.resolve()):
        faults.append(Fault(NAME, "", "must be a file in the portfolio's own folder"))
        return None
    space: dict[str, Any] = {"__name__": "rules", "__file__": str(path)}
    try:
        source = path.read_text(encoding="utf-8")
        with at_most(TRIAL_S, NAME):
            exec(compile(source, NAME, "exec", dont_inherit=True), space)
    except TooLong as why:
        faults.append(Fault(NAME, why.line, f"has not ended after {TRIAL_S:g} s"))
        return None
    except SyntaxError as why:
        faults.append(Fault(NAME, f"line {why.lineno}", f"is no Python: {why.msg}"))
        return None
    except (Exception, SystemExit) as why:
        lines = [f.lineno for f in traceback.extract_tb(why.__traceback__) if f.filename == NAME]
        faults.append(Fault(NAME, f"line {lines[-1]}" if lines else "", f"{type(why).__name__}: {why}"))
        return None
    function = space.get(FUNCTION)
    if not callable(function):
        faults.append(Fault(NAME, "", "has no function rules(b, plan)"))
        return None
    if any(kind(function) for kind in STATES_NOTHING):
        line = f"line {function.__code__.co_firstlineno}"
        faults.append(Fault(NAME, line, "rules(b, plan) is a generator or async: it states nothing"))
        return None
    return RuleFile(NAME, source, function)


def _tried(
    file: RuleFile, portfolio: Portfolio, stages: Sequence[Stage], initial: Mapping[str, InitialFile]
) -> list[Fault]:
    """Every fault of the file over the grids on which the stages of this portfolio will read it, a line's first."""
    from dispatch.solvers.pyomo_door import faults_of

    found: list[Fault] = []
    for grid in _grids(stages, portfolio.zone):
        states = {
            a.id: AssetState(
                a.id, grid.start, grid.start, s.power_mw, s.stored_mwh, s.on, s.minutes_in_state
            )
            for a in portfolio.assets
            if (s := initial.get(a.id, InitialFile()))
        }  # fmt: skip
        known = _Trial(portfolio, grid, states)
        told = {(f.where, f.field) for f in found}
        try:
            with at_most(TRIAL_S, NAME):
                fresh = faults_of(file, grid, portfolio.zone, portfolio.assets, states, known)
        except TooLong as why:
            return [*found, Fault(NAME, why.line, f"has not ended after {TRIAL_S:g} s")]
        found += [f for f in fresh if (f.where, f.field) not in told]
    return found


def _grids(stages: Sequence[Stage], zone: str) -> Iterator[TimeGrid]:
    """The grids of every stage: once with the next day firm and once with the shortest tail there is."""
    tomorrow = local_midnight(TRIAL_DAY + timedelta(days=1), zone)
    early, late = (tomorrow - timedelta(hours=h) for h in (14, 1))
    seen: set[tuple[int, ...]] = set()
    for stage in stages:
        for now, firm_until in ((early, tomorrow + timedelta(days=1)), (late, tomorrow)):
            grid = grid_for(stage, now, zone, firm_until)
            if grid.minutes not in seen:
                seen.add(grid.minutes)
                yield grid


class TooLong(BaseException):
    """Code of a file has run longer than it may; no `Exception`, so that the file cannot swallow it."""

    def __init__(self, line: str) -> None:
        self.line = line
        super().__init__(line)


@contextmanager
def at_most(seconds: float, name: str) -> Iterator[None]:
    """Raises TooLong from the first line of the file `name` that is begun after `seconds` of this thread's time."""
    end, before = time.thread_time() + seconds, sys.gettrace()

    def entered(frame: FrameType, event: str, value: Any) -> Any:
        return each_line if frame.f_code.co_filename == name else None

    def each_line(frame: FrameType, event: str, value: Any) -> Any:
        if time.thread_time() > end:
            raise TooLong(f"line {frame.f_lineno}")
        return each_line

    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(before)


@dataclass
class _Trial:
    """The names of a portfolio: each kind's block is built when a rule first asks for more than power."""

    portfolio: Portfolio
    grid: TimeGrid
    states: Mapping[str, AssetState]
    _places: dict[str, Places] = field(default_factory=dict)

    def __call__(self, asset: str, what: str, t: int) -> object:
        """Raises Faulty where the asset has no such quantity."""
        kind = self.portfolio.asset(asset).kind
        if what == "power_mw":
            return None
        if kind not in self._places:
            self._places[kind] = self._of(kind)
        return self._places[kind].of(asset, what, t)

    def _of(self, kind: str) -> Places:
        from dispatch.block import Context
        from dispatch.registry import KINDS
        from dispatch.rule_places import Places

        fleet = self.portfolio.of_kind(kind)
        values = {name: np.ones(self.grid.n) for name in series_used(self.portfolio)}
        inputs = trajectories(self.portfolio, self.grid, values)
        block = KINDS[kind].block(fleet, Context(self.grid, self.grid.start, self.states, inputs))
        return Places(self.grid, [a.id for a in fleet], [block])
