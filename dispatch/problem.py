"""Stack blocks, products and network cuts into one sparse problem that every door reads.

    min  cost @ x + offset
    s.t. row_lower <= matrix @ x <= row_upper,   lower <= x <= upper,   x[integer] integral
    p = power @ x + power_offset                 (N*T,), asset-major, MW of net injection

Rows over injections, `injection @ p`, are substituted by p's definition, so that the doors see columns
only. Every band of rows is copied once to its place in the stacked matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import AssetResult, Block, Columns, Rows, lean
from dispatch.sparse import at_each_step, beside, csr, pile
from vpp.domain.errors import DataGap, NotSolved
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

CROSSING = 1e-9
TOLERANCE = 1e-5
LIMIT_EUR_PER_MWH = 10_000.0
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Infeasible(NotSolved):
    """No point satisfies the constraints."""


@dataclass(frozen=True)
class Problem:
    """The stacked problem; block b's columns begin at column_start[b], its rows at row_start[b].

    The numbers of a block's columns and rows are views of the stacked ones (`lean`), so that a large problem is in
    memory once. `extra` are the rows of no block, each with the number of its first row.
    """

    grid: TimeGrid
    asset_ids: tuple[str, ...]
    blocks: tuple[Block, ...]
    cost: Array
    lower: Array
    upper: Array
    integer: Bools
    matrix: sp.csr_array
    row_lower: Array
    row_upper: Array
    power: sp.csr_array
    power_offset: Array
    offset: float
    column_start: tuple[int, ...] = ()
    row_start: tuple[int, ...] = ()
    extra: tuple[tuple[int, Rows], ...] = ()

    @property
    def columns(self) -> int:
        return len(self.cost)

    @property
    def rows(self) -> int:
        return len(self.row_lower)

    def objective(self, x: Array) -> float:
        """Money spent at `x` (columns,)."""
        return float(self.cost @ x) + self.offset


def assemble(grid: TimeGrid, asset_ids: Sequence[str], blocks: Sequence[Block], extra: Sequence[Rows] = ()) -> Problem:
    """Stack `blocks`, then `extra` rows (whose `own` spans all columns).

    Raises ValueError where an asset belongs to no block or to two, or shapes disagree; DataGap for
    NaN; Infeasible for a lower bound above its upper bound.
    """
    _check_ownership(asset_ids, blocks)
    none, size = np.empty(0), len(asset_ids) * grid.n
    empty = Problem(
        grid, tuple(asset_ids), (), none, none, none, np.empty(0, dtype=bool), sp.csr_array((0, 0)), none, none,
        sp.csr_array((size, 0)), np.zeros(size), 0.0,
    )  # fmt: skip
    return _grow(empty, blocks, extra)


def with_rows(problem: Problem, rows: Sequence[Rows] | Rows) -> Problem:
    """The problem with further rows at the end; their `own` spans all columns of `problem`."""
    return _grow(problem, (), (rows,) if isinstance(rows, Rows) else rows)


def with_block(problem: Problem, block: Block) -> Problem:
    """The problem with a further block at the end. Raises ValueError where it injects."""
    if block.assets or block.power is not None:
        raise ValueError(f"{block.name}: a block added later cannot inject, earlier rows would miss it")
    return _grow(problem, (block,), ())


def _check_ownership(asset_ids: Sequence[str], blocks: Sequence[Block]) -> None:
    owned = [a for b in blocks for a in b.assets]
    for what, wrong in (
        ("in no block", set(asset_ids) - set(owned)),
        ("in a block but not in the problem", set(owned) - set(asset_ids)),
        ("in two blocks", {a for a in owned if owned.count(a) > 1} if len(set(owned)) < len(owned) else set()),
    ):
        if wrong:
            raise ValueError(f"{what}: {', '.join(sorted(wrong))}")


def _grow(problem: Problem, blocks: Sequence[Block], extra: Sequence[Rows]) -> Problem:
    column_start = _starts(problem.columns, [sum(c.size for c in b.columns) for b in blocks])
    row_start = _starts(problem.rows, [sum(r.size for r in b.rows) for b in blocks])
    extra_start = _starts(row_start[-1], [r.size for r in extra])
    columns = column_start[-1]
    cost, lower, upper, integer = _columns(blocks, columns - problem.columns)
    power, power_offset = _power(problem, blocks, column_start)
    placed = [
        *((b, r, at) for b, at in zip(blocks, column_start, strict=False) for r in b.rows),
        *((None, r, 0) for r in extra),
    ]
    everyone, starts = (*problem.blocks, *blocks), (*problem.column_start, *column_start)
    named = {b.name: at for b, at in zip(everyone, starts, strict=False)}
    bands, row_lower, row_upper = _rows(placed, power, power_offset, columns, named)
    return replace(
        problem,
        blocks=(*problem.blocks, *lean(blocks, (cost, lower, upper), (row_lower, row_upper))),
        cost=_below(problem.cost, cost),
        lower=_below(problem.lower, lower),
        upper=_below(problem.upper, upper),
        integer=np.concatenate([problem.integer, integer]),
        matrix=pile([(problem.matrix, 0), *bands], columns),
        row_lower=_below(problem.row_lower, row_lower),
        row_upper=_below(problem.row_upper, row_upper),
        power=power,
        power_offset=power_offset,
        offset=problem.offset + sum(b.offset for b in blocks),
        column_start=(*problem.column_start, *column_start[:-1]),
        row_start=(*problem.row_start, *row_start[:-1]),
        extra=(*problem.extra, *zip(extra_start, extra, strict=False)),
    )


def _below(old: Array, new: Array) -> Array:
    return np.concatenate([old, new]) if len(old) else new


def _starts(first: int, sizes: Sequence[int]) -> list[int]:
    return [first, *(first + int(s) for s in np.cumsum(sizes))]


def _columns(blocks: Sequence[Block], count: int) -> tuple[Array, Array, Array, Bools]:
    """Cost, lower bound, upper bound and integrality of all columns of `blocks`, (count,) each."""
    cost, lower, upper, integer = (np.empty(count, dtype=d) for d in (float, float, float, bool))
    first = 0
    for block in blocks:
        for group, at in groups(block, first):
            name, here = f"{block.name}/{group.label}", slice(at, at + group.size)
            for values, into in ((group.cost, cost), (group.lower, lower), (group.upper, upper)):
                _fill(into[here], _known(name, np.asarray(values, dtype=float)), group.shape)
            _order(name, lower[here], upper[here])
            integer[here] = group.integer
        first += sum(c.size for c in block.columns)
    return cost, lower, upper, integer


def _fill(into: Array, values: Array, shape: tuple[int, int]) -> None:
    """`values`, flat or broadcast to `shape`, into the flat `into`."""
    if values.ndim == 1 and values.size == into.size:
        into[:] = values
    else:
        into.reshape(shape)[...] = values


def _known(name: str, values: Array) -> Array:
    if np.isnan(values).any():
        raise DataGap(f"{name}: {int(np.isnan(values).sum())} values are missing")
    return values


def _order(name: str, lower: Array, upper: Array) -> None:
    """Lifts `upper` in place where rounding put it below `lower`. Raises Infeasible where more than rounding did."""
    crossed = np.flatnonzero(lower > upper)
    if not crossed.size:
        return
    low, high = lower[crossed], upper[crossed]
    if (low - high > CROSSING * np.maximum(1.0, np.abs(low))).any():
        raise Infeasible(f"{name}: {crossed.size} lower bounds lie above their upper bounds")
    upper[crossed] = low


def _power(problem: Problem, blocks: Sequence[Block], column_start: Sequence[int]) -> tuple[sp.csr_array, Array]:
    """The map from columns to injections; blocks added to a problem inject nothing and only widen it."""
    if problem.blocks or not blocks:
        power = problem.power
        return csr(power.data, power.indices, power.indptr, column_start[-1]), problem.power_offset
    position = {a: i for i, a in enumerate(problem.asset_ids)}
    bands, order, offset = [], [np.empty(0, dtype=np.int64)], problem.power_offset.copy()
    for block, first in zip(blocks, column_start, strict=False):
        band, at = _power_band(block, problem.grid.n), np.array([position[a] for a in block.assets], dtype=np.int64)
        bands.append((band, first))
        order.append(at)
        if block.assets:
            given = _known(f"{block.name}/power_offset", np.asarray(block.power_offset, dtype=float))
            offset.reshape(-1, problem.grid.n)[at] = np.broadcast_to(given, band.shape[:1]).reshape(len(at), -1)
    power, owner = pile(bands, column_start[-1]), np.concatenate(order)
    if (np.diff(owner) == 1).all():
        return power, offset
    rows = np.argsort(owner)[:, None] * problem.grid.n + np.arange(problem.grid.n)
    return sp.csr_array(power[rows.ravel()]), offset


def _power_band(block: Block, steps: int) -> sp.csr_array:
    shape = (len(block.assets) * steps, sum(c.size for c in block.columns))
    if block.power is None:
        return csr(np.empty(0), np.empty(0, dtype=np.int32), np.zeros(shape[0] + 1, dtype=np.int32), shape[1])
    if block.power.shape != shape:
        raise ValueError(f"{block.name}: power map has shape {block.power.shape}")
    return block.power


def _rows(
    placed: Sequence[tuple[Block | None, Rows, int]],
    power: sp.csr_array,
    power_offset: Array,
    columns: int,
    named: Mapping[str, int],
) -> tuple[list[tuple[sp.csr_array, int]], Array, Array]:
    """Bands of rows with their first columns, and the bounds of all rows; `named` are the blocks' first columns."""
    bands: list[tuple[sp.csr_array, int]] = []
    count, first_row = sum(r.size for _, r, _ in placed), 0
    lower, upper = np.empty(count), np.empty(count)
    for block, rows, first in placed:
        name, here = f"{block.name if block else 'extra'}/{rows.label}", slice(first_row, first_row + rows.size)
        lower[here], upper[here] = (_known(name, np.asarray(b, dtype=float)) for b in (rows.lower, rows.upper))
        _order(name, lower[here], upper[here])
        if rows.stacked is not None:
            raise ValueError(f"{name}: belongs to a stacked problem, its matrices lie in the problem")
        band, apart = rows.own, block is not None and block.power is None
        for other, part in rows.across.items():
            if part.shape[0] != rows.size:
                raise ValueError(f"{name}: rows across {other} have shape {part.shape}")
            far = pile([(part, named[other])], columns)
            band, first, apart = far if band is None else _joined(band, first, far, False), 0, False
        if rows.injection is not None:
            if rows.injection.shape != (rows.size, len(power_offset)):
                raise ValueError(f"{name}: injection rows have shape {rows.injection.shape}")
            shift = rows.injection @ power_offset
            lower[here] -= shift
            upper[here] -= shift
            over = sp.csr_array(rows.injection @ power)
            band, first = over if band is None else _joined(band, first, over, apart), 0
        if band is None or not np.isfinite(band.data).all():
            raise DataGap(f"{name}: a coefficient is missing")
        bands.append((band, first))
        first_row += rows.size
    return bands, lower, upper


def _joined(own: sp.csr_array, first: int, over: sp.csr_array, apart: bool) -> sp.csr_array:
    """Own columns, from `first` on, and those behind the injections; `apart` where no own column injects."""
    if apart:
        return beside([(own, first), (over, 0)], over.shape[1])
    return sp.csr_array(pile([(own, first)], over.shape[1]) + over)


def injection(problem: Problem, x: Array) -> Array:
    """Net injection (N,T), MW."""
    p: Array = problem.power @ x[: problem.power.shape[1]] + problem.power_offset
    return p.reshape(len(problem.asset_ids), problem.grid.n)


def limit_block(asset_ids: Sequence[str], grid: TimeGrid, limits: Mapping[str, tuple[Array, Array]]) -> Block:
    """Bounds on injections: `limits[asset]` = (lower (T,), upper (T,)) MW; only rows with a finite side.

    What a machine cannot keep, because it must run on or has too little to give, is missed at a price above
    every economic value: that asset yields, and the rest of the plan stands.
    """
    at, lower, upper = [np.empty(0, dtype=np.int64)], [np.empty(0)], [np.empty(0)]
    position = {a: i for i, a in enumerate(asset_ids)}
    for asset, (low, high) in limits.items():
        finite = np.flatnonzero(np.isfinite(low) | np.isfinite(high))
        at.append(position[asset] * grid.n + finite)
        lower.append(np.asarray(low, dtype=float)[finite])
        upper.append(np.asarray(high, dtype=float)[finite])
    column = np.concatenate(at)
    size = (len(column), len(asset_ids) * grid.n)
    pick = sp.csr_array((np.ones(len(column)), (np.arange(len(column)), column)), shape=size)
    price = LIMIT_EUR_PER_MWH * grid.hours[column % grid.n]
    sides = tuple(Columns(label, (1, len(column)), cost=price, term="limits") for label in ("below_mw", "above_mw"))
    one = sp.eye_array(len(column))
    own = sp.csr_array(sp.hstack([one, -one], format="csr"))
    rows = Rows("limits", np.concatenate(lower), np.concatenate(upper), own, pick)
    return Block("limits", sides, (rows,))


def group_rows(asset_ids: Sequence[str], members: Sequence[str], steps: int) -> sp.csr_array:
    """(T, N*T) map from all injections to the sum over `members` per step."""
    chosen = set(members)
    at = np.array([i for i, a in enumerate(asset_ids) if a in chosen], dtype=np.int32)
    pick = csr(np.ones(at.size), at, np.array([0, at.size], dtype=np.int32), len(asset_ids))
    return at_each_step(pick, np.ones(steps))


def columns_of(problem: Problem, block: str, label: str) -> Ints:
    """Positions of one column group in the stacked problem. Raises KeyError."""
    for found, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, start in groups(found, first):
            if (found.name, group.label) == (block, label):
                return np.arange(start, start + group.size)
    raise KeyError(f"{block}/{label}")


def groups(block: Block, first: int) -> Iterator[tuple[Columns, int]]:
    """Column groups of a block whose columns begin at `first`, each with its own first column."""
    for group in block.columns:
        yield group, first
        first += group.size


def cost_terms(problem: Problem, x: Array) -> dict[str, float]:
    """Money spent by term; they add up to the objective. A block's offset counts to its first term."""
    terms: dict[str, float] = {}
    for block, first in zip(problem.blocks, problem.column_start, strict=True):
        for group, start in groups(block, first):
            spent = float(problem.cost[start : start + group.size] @ x[start : start + group.size])
            terms[group.term] = terms.get(group.term, 0.0) + spent
        if block.offset:
            term = block.columns[0].term if block.columns else "energy"
            terms[term] = terms.get(term, 0.0) + block.offset
    return terms


def _results(problem: Problem, x: Array, row_duals: Array | None) -> Iterator[tuple[str, AssetResult]]:
    for block, first, row in zip(problem.blocks, problem.column_start, problem.row_start, strict=True):
        duals: dict[str, Array] = {}
        for rows in block.rows:
            if row_duals is not None:
                duals[rows.label] = row_duals[row : row + rows.size]
            row += rows.size
        size = sum(c.size for c in block.columns)
        yield from block.read(x[first : first + size], duals).items()


def read_schedule(problem: Problem, x: Array, row_duals: Array | None, tan_phi: Array) -> Schedule:
    """The schedule at `x` (columns,); q = tan_phi (N,) * p.

    `row_duals` (rows,) are d objective / d row bound, or None where a solve gives none. Decisions that a
    product makes of an asset join those of its kind; what a product reads under its own id is its own.
    """
    results: dict[str, AssetResult] = {}
    for name, found in _results(problem, x, row_duals):
        first = results.get(name)
        results[name] = found if first is None else replace(first, decisions={**first.decisions, **found.decisions})
    products = {name: results.pop(name).decisions for name in set(results) - set(problem.asset_ids)}
    power_mw = injection(problem, x)
    for i, asset_id in enumerate(problem.asset_ids):
        if asset_id in results and (own := results[asset_id].power_mw) is not None:
            power_mw[i] = own
    return Schedule(
        problem.asset_ids,
        problem.grid,
        power_mw,
        np.asarray(tan_phi, dtype=float)[:, None] * power_mw,
        commitment={a: r.commitment for a, r in results.items() if r.commitment is not None},
        stored_mwh={a: r.stored_mwh for a, r in results.items() if r.stored_mwh is not None},
        decisions={a: r.decisions for a, r in results.items() if r.decisions},
        marginal_value={a: r.marginal_value for a, r in results.items() if r.marginal_value is not None},
        products=dict(sorted(products.items())),
    )


def check_solution(problem: Problem, x: Array, *, integral: bool) -> None:
    """Raises NotSolved unless `x` (columns,) is finite, within bounds and rows, and integral where asked."""
    if x.shape != (problem.columns,) or not np.isfinite(x).all():
        raise NotSolved("nonsense: the solution is not finite")
    if (worst := _outside(x, problem.lower, problem.upper)) > TOLERANCE:
        raise NotSolved(f"nonsense: a bound is missed by {worst:.2g}")
    if (worst := _outside(problem.matrix @ x, problem.row_lower, problem.row_upper)) > TOLERANCE:
        raise NotSolved(f"nonsense: a row is missed by {worst:.2g}")
    binary = x[problem.integer]
    if integral and len(binary) and (worst := float(np.abs(binary - np.round(binary)).max())) > TOLERANCE:
        raise NotSolved(f"nonsense: an integer is off by {worst:.2g}")


def _outside(value: Array, lower: Array, upper: Array) -> float:
    """Largest distance past a bound, relative to bounds above 1."""
    if not len(value):
        return 0.0
    below, above = lower - value, value - upper
    size = np.where(below > above, np.abs(lower), np.abs(upper))
    past = np.maximum(np.maximum(below, above), 0.0)
    return float(np.divide(past, np.where(past > 0, np.maximum(1.0, size), 1.0)).max())
