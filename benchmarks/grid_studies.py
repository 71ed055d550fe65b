"""The three studies of a day: its flows, all single outages, all outages with each reclosing that helps.

A study answers for R alterations of the net at T steps: which element is out (-1 for none), which
switches are closed, whether a limit is broken, and how close the nearest limit is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.grid_cases import STEPS, GridCase
from grid_models.batch import Engine, node_injection
from grid_models.compile import switching_of
from grid_models.contingencies import outcomes
from grid_models.limits import max_loading
from grid_models.reswitching import Restored, Reswitching
from grid_models.screening import PostFaultLimits, Screened, emergency_loading, judge, screen
from grid_models.tables import Bools, Ints
from vpp.domain.time import Array

NEAR = 0.02
BISECTIONS = 15
SCALES = 2.0**-4, 2.0**6
FEW = 48


@dataclass(frozen=True)
class Alteration:
    """One element (position) out of service, -1 for none, and switches (numbers) closed."""

    element: int = -1
    closed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answers:
    """(R,T) verdicts and `used`, the use of the limit that decides, and bus results of one case.

    `limit_pct` (E,) are the limits of loading: normal ones for the day itself, emergency ratings after outages.
    `detail` of (row, step) is bus voltages (B,) and loadings (E,), NaN where dark, or None without solution.
    """

    alterations: list[Alteration]
    violated: Bools
    used: Array
    limit_pct: Array
    detail: Callable[[int, int], tuple[Array, Array] | None]


class Study(Protocol):
    """Answers for a case; with `few` for about that many outages, spread evenly."""

    def __call__(self, case: GridCase, few: int | None = None) -> Answers: ...


def powerflow(case: GridCase, few: int | None = None) -> Answers:
    """The day itself."""
    engine = Engine.of(case.state(), case.taps)
    s = node_injection(engine.state, case.p_mw, case.q_mvar)
    v, _ = engine.solve(s)
    limit = max_loading(engine.state)
    found = judge(engine, v, s, PostFaultLimits.of(engine.state, limit))

    def detail(_: int, t: int) -> tuple[Array, Array] | None:
        return _at_buses(engine, v[t : t + 1], -1)

    return Answers([Alteration()], found.violated, closeness(found, case), limit, detail)


def n_minus_one(case: GridCase, few: int | None = None) -> Answers:
    """Every line and transformer that carries current, out alone."""
    engine = Engine.of(case.state(), case.taps)
    s = node_injection(engine.state, case.p_mw, case.q_mvar)
    v, _ = engine.solve(s)
    branches = _spaced(np.flatnonzero((engine.branches.ff != 0.0) | (engine.branches.tt != 0.0)), few)
    found = screen(engine, branches, v, s, PostFaultLimits.of(engine.state))

    def detail(row: int, t: int) -> tuple[Array, Array] | None:
        at = slice(t, t + 1)
        (part,) = outcomes(engine, branches[row : row + 1], v[at], s[at])
        return _at_buses(engine, part.voltages(0, engine.state.n), int(branches[row])) if part.converged.all() else None

    changes = [Alteration(int(e)) for e in branches]
    return Answers(changes, found.violated, closeness(found, case), found.limit_pct, detail)


def reswitching(case: GridCase, few: int | None = None) -> Answers:
    """Every outage that cuts nodes off, with each open point closed that supplies them again."""
    taps = np.tile(np.array(case.taps, dtype=np.int64), (STEPS, 1))
    study = Reswitching(case.tables, switching_of((), {}), case.p_mw, case.q_mvar, taps, controlled=False)
    pairs: list[tuple[int, Restored]] = []
    for branch, tried in study.tried(_spaced(np.arange(len(case.tables.elements)), few).tolist()):
        pairs += [(branch, r) for r in tried]

    def detail(row: int, t: int) -> tuple[Array, Array] | None:
        restored = pairs[row][1]
        v = restored.solved.v[t : t + 1]
        return _at_buses(Engine.of(restored.state, case.taps), v, -1) if np.isfinite(v).all() else None

    none = np.zeros((0, STEPS))
    return Answers(
        [Alteration(branch, r.point.switches) for branch, r in pairs],
        np.concatenate([none.astype(bool), *(r.screened.violated for _, r in pairs)]),
        np.concatenate([none, *(closeness(r.screened, case) for _, r in pairs)]),
        emergency_loading(case.tables), detail,
    )  # fmt: skip


STUDIES: dict[str, Study] = {"powerflow": powerflow, "n-1": n_minus_one, "reswitching": reswitching}


def closeness(found: Screened, case: GridCase) -> Array:
    """(R,T) use of the limit that decides: of a rating, or of half the voltage band; infinite without solution."""
    width = case.tables.buses.max_vm_pu - case.tables.buses.min_vm_pu
    known = width[np.isfinite(width)]
    used = found.usage if not len(known) else np.fmax(found.usage, 1.0 + found.excess_pu / (known.min() / 2.0))
    return np.asarray(np.where(found.converged, used, np.inf))


def near_limit(case: GridCase, study: Study, seed: int) -> GridCase:
    """The day with each step scaled, by bisection in the logarithm, so that its median alteration meets a limit.

    Each step's aim is drawn within 1.5 % of the limit.
    """
    aim = 1.0 + np.random.default_rng(seed).uniform(-0.015, 0.015, STEPS)
    low, high = (np.full(STEPS, scale) for scale in SCALES)
    for _ in range(BISECTIONS):
        middle = np.sqrt(low * high)
        below = np.median(study(case.scaled(middle), FEW).used, axis=0) < aim
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return case.scaled(low)


def _spaced(branches: Ints, few: int | None) -> Ints:
    return branches[:: max(1, len(branches) // few)] if few else branches


def _at_buses(engine: Engine, v: Array, out: int) -> tuple[Array, Array]:
    loading = np.nan_to_num(engine.loading(v)[0])
    if out >= 0:
        loading[out] = 0.0
    return engine.bus_voltage(v)[0], loading
