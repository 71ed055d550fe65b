"""The limits of a plan that bind several assets: network cuts, orders, ordered limits, rules, products.

Each becomes one `Coupling` per step, with the distance left and its dual. Of the cuts of one element in one
case and step the one that binds, or else the tightest, stands for all. Left out are limits that no single
asset could reach from the plan, and the asset by asset list of a limit over more than 500 assets; both
are in the prices all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from dispatch.block import Rows
from dispatch.exposure import Exposure
from dispatch.problem import Problem, groups
from vpp.domain.network import Cut
from vpp.domain.prices import ENERGY, Coupling
from vpp.domain.time import Array

FEE, NETWORK = "fee", "network"
PARTS = {
    "energy": ENERGY, "grid_fee": FEE, "cuts": NETWORK, "call": "order", "limits": "limit", "rules": "rule",
    "operating_envelope": "received limit",
}  # fmt: skip
SMALL_EFFECT, NOTHING_EUR, UNBOUNDED_MW = 1e-2, 1e-7, 1e3
MANY_ASSETS = 500
Effects = dict[int, dict[str, float]]


@dataclass(frozen=True)
class Placed:
    """Rows over injections, with the number of their first row; `whole` where `own` spans all columns."""

    part: str
    block: str
    rows: Rows
    injection: sp.csr_array
    first: int
    whole: bool


def placed(problem: Problem) -> Iterator[Placed]:
    """Everything that binds several assets, in the order of its rows."""
    for block, first in zip(problem.blocks, problem.row_start, strict=True):
        for rows in block.rows:
            if rows.injection is not None:
                yield Placed(_part(block.name), block.name, rows, rows.injection, first, whole=False)
            first += rows.size
    for first, rows in problem.extra:
        if rows.injection is not None:
            yield Placed(_part(rows.label), rows.label, rows, rows.injection, first, whole=True)


def _part(name: str) -> str:
    """The block "energy demo-unit" is a part of energy; a product without a short name is its own part."""
    return PARTS.get(name.partition(" ")[0], name)


def couplings(
    problem: Problem, x: Array, row_duals: Array, cuts: Sequence[Cut] = (), exposure: Exposure | None = None
) -> Iterator[Coupling]:
    """Every limit over several assets at `x` (columns,) with its duals (rows,), one per step; energy and fee are
    prices, not limits. `cuts` belong to the rows of the blocks named "cuts ...", in order.
    """
    activity, number = problem.matrix @ x, 0
    tightest: dict[tuple[str, str, int], Coupling] = {}
    running, span = _running(problem), _span_mw(problem)
    for p in placed(problem):
        for r in range(p.rows.size):
            cut = cuts[number] if p.part == NETWORK and number < len(cuts) else None
            number += p.part == NETWORK
            if p.part in (ENERGY, FEE):
                continue
            row = p.first + r
            sense, slack = _slack(float(activity[row]), float(problem.row_lower[row]), float(problem.row_upper[row]))
            name, case = _named(p, r, cut, exposure)
            mw, on = _over_injections(problem, p.injection, r), _over_running(p, r, running)
            for step in sorted(mw.keys() | on.keys()):
                found = Coupling(
                    p.part, name, step, case, sense, float(f"{slack:.6g}"), float(f"{row_duals[row]:.6g}"),
                    mw.get(step, {}), on.get(step, {}),
                )  # fmt: skip
                key = name, case, step
                if not _matters(found, span):
                    continue
                if p.part != NETWORK:
                    yield found
                elif key not in tightest or _rank(found) < _rank(tightest[key]):
                    tightest[key] = found
    yield from tightest.values()


def _span_mw(problem: Problem) -> dict[str, float]:
    """The widest range of each asset's injection that the bounds of its columns allow, MW."""
    width = np.minimum(problem.upper - problem.lower, UNBOUNDED_MW)
    most = (abs(problem.power) @ width[: problem.power.shape[1]]).reshape(len(problem.asset_ids), -1).max(axis=1)
    return dict(zip(problem.asset_ids, most.tolist(), strict=True))


def _matters(c: Coupling, span_mw: Mapping[str, float]) -> bool:
    """Whether it binds, or one asset alone could use up what is left."""
    if abs(c.dual_eur) > NOTHING_EUR or c.effect_on:
        return True
    return c.slack <= max((abs(e) * span_mw[a] for a, e in c.effect.items()), default=0.0)


def _rank(c: Coupling) -> tuple[float, float]:
    return -abs(c.dual_eur), c.slack


def _slack(activity: float, lower: float, upper: float) -> tuple[int, float]:
    if lower == upper:
        return 0, 0.0
    above, below = upper - activity, activity - lower
    return (1, above) if above <= below else (-1, below)


def _named(p: Placed, row: int, cut: Cut | None, exposure: Exposure | None) -> tuple[str, str]:
    if cut is not None and exposure is not None:
        return cut.element, exposure.names[cut.case]
    if p.rows.names:
        return p.rows.names[row].partition("[")[0], "expected"
    return ("ordered limit" if p.part == "limit" else p.block.removeprefix("operating_envelope ")), "expected"


def _of_row(matrix: sp.csr_array, r: int) -> tuple[list[int], list[float]]:
    part = slice(matrix.indptr[r], matrix.indptr[r + 1])
    return matrix.indices[part].tolist(), matrix.data[part].tolist()


def _over_injections(problem: Problem, injection: sp.csr_array, r: int) -> Effects:
    """Effect per MW by step and asset."""
    found: Effects = {}
    steps = problem.grid.n
    if np.diff(injection.indptr[r : r + 2])[0] > MANY_ASSETS * steps:
        return found
    for at, value in zip(*_of_row(injection, r), strict=True):
        if abs(value) > SMALL_EFFECT:
            found.setdefault(at % steps, {})[problem.asset_ids[at // steps]] = float(f"{value:.3g}")
    return {step: effect for step, effect in found.items() if len(effect) <= MANY_ASSETS}


def _over_running(p: Placed, r: int, running: dict[int, tuple[str, int]]) -> Effects:
    """Effect per running asset by step."""
    found: Effects = {}
    if not p.whole or p.rows.own is None:
        return found
    for column, value in zip(*_of_row(p.rows.own, r), strict=True):
        if column in running:
            asset, step = running[column]
            found.setdefault(step, {})[asset] = float(value)
    return found


def _running(problem: Problem) -> dict[int, tuple[str, int]]:
    """Columns of on/off in rows that name columns, with their asset and step."""
    named: set[int] = set()
    for _, rows in problem.extra:
        if rows.own is not None:
            named.update(rows.own.indices.tolist())
    found, steps = {}, problem.grid.n
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, start in groups(block, first):
            if group.label == "on" and group.shape == (len(block.assets), steps):
                for column in named & set(range(start, start + group.size)):
                    found[column] = block.assets[(column - start) // steps], (column - start) % steps
    return found
