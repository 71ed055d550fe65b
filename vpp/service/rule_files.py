"""The operator's rule file of a portfolio: `rules.py`, trusted code that runs with the rights of the service.

At most one per portfolio, read from its folder on local disk and from nowhere else. It is tried once when
the portfolio is read, over a day of quarters with the stated initial states, so that a faulty file is a
fault of the portfolio, with file, line and reason, and not of a plan at night.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vpp.domain.errors import Fault
from vpp.domain.portfolio import AssetState, Portfolio
from vpp.domain.time import TimeGrid
from vpp.service.inputs import series_used, trajectories
from vpp.service.portfolio_files import InitialFile

if TYPE_CHECKING:
    from dispatch.rule_places import Places
    from dispatch.rules import RuleFile

NAME, FUNCTION = "rules.py", "rules"
TRIAL_DAY = date(2024, 1, 9)


def load_rules(
    directory: Path, portfolio: Portfolio | None, initial: Mapping[str, InitialFile], faults: list[Fault]
) -> RuleFile | None:
    """The rules of the folder, None where it has none or they are faulty; its faults join `faults`.

    Without a `portfolio`, because that is faulty, only what the file is by itself is looked at.
    """
    path = directory / NAME
    if not path.exists():
        return None
    file = _read(path, directory, faults)
    if file is None or portfolio is None:
        return None
    found = _tried(file, portfolio, initial)
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
        exec(compile(source, NAME, "exec", dont_inherit=True), space)
    except SyntaxError as why:
        faults.append(Fault(NAME, f"line {why.lineno}", f"is no Python: {why.msg}"))
        return None
    except Exception as why:
        lines = [f.lineno for f in traceback.extract_tb(why.__traceback__) if f.filename == NAME]
        faults.append(Fault(NAME, f"line {lines[-1]}" if lines else "", f"{type(why).__name__}: {why}"))
        return None
    function = space.get(FUNCTION)
    if not callable(function):
        faults.append(Fault(NAME, "", "has no function rules(b, plan)"))
        return None
    return RuleFile(NAME, source, function)


def _tried(file: RuleFile, portfolio: Portfolio, initial: Mapping[str, InitialFile]) -> list[Fault]:
    """Every fault of the file over a day of quarters of this portfolio."""
    from dispatch.solvers.pyomo_door import faults_of

    grid = TimeGrid.local_day(TRIAL_DAY, portfolio.zone)
    states = {
        a.id: AssetState(
            a.id, grid.start, grid.start, s.power_mw, s.stored_mwh, s.on, s.minutes_in_state
        )
        for a in portfolio.assets
        if (s := initial.get(a.id, InitialFile()))
    }  # fmt: skip
    return faults_of(file, grid, portfolio.zone, portfolio.assets, states, _Trial(portfolio, grid, states))


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
