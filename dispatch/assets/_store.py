"""What every kind with a store shares: its energy balance, its window and the value of what is left.

Balance of store i at step t of length h[t] (hours), content e at the end of the step:

    e[i,t] = keep[i,t] * e[i,t-1] + sum over flows (gain * flow) + rhs[i,t],     keep = max(0, 1 - loss * h)

End value: the content above `origin` at the last step is the sum of segments s[i,k] of given width
and non-increasing value, cost -value * s, so a linear program fills the dearest first:

    e[i,T-1] - sum_k s[i,k] = origin[i]

A last, open segment of value min(0, last value) holds what exceeds the widths. A store without an
end value gets a hard lower bound on its last content instead.

Usage in a block whose column groups have `sizes`, the contents being group 2 and the segments group 3:

    end = end_value_columns("end", ends_of(fleet_ids, context), steps, origin, floor_end)
    rows = [balance_rows("balance", sizes, 2, {0: diagonal(eta * h), 1: diagonal(-h / eta)}, initial, keep)]
    rows += end_value_rows("end_value", sizes, 2, 3, end)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, Columns, Context, EndValue, Rows, stack
from dispatch.sparse import diagonal as diagonal
from dispatch.sparse import difference
from vpp.domain.time import Array, TimeGrid


@dataclass(frozen=True)
class End:
    """Segments (n, S) of the stored energy left at the end; `valued` (n,) marks stores that have an end value."""

    columns: Columns
    origin: Array
    valued: NDArray[np.bool_]
    steps: int


def keep_share(loss_per_h: Array, grid: TimeGrid) -> Array:
    """(n, T) share of a content that is left after each step; `loss_per_h` is (n, 1), 1/h."""
    return np.maximum(0.0, 1.0 - loss_per_h * grid.hours[None, :])


def balance_rows(
    label: str,
    sizes: Sequence[int],
    content_at: int,
    gains: Mapping[int, sp.csr_array],
    initial: Array,
    keep: Array,
    rhs: Array | float = 0.0,
) -> Rows:
    """Energy balance of n stores over T steps, n*T equality rows.

    `sizes` are the sizes of the block's column groups, `content_at` the group of the contents (n, T);
    `gains[g]` (n*T, sizes[g]) is the MWh gained per unit of group g's columns; `initial` (n, 1) or
    (n,), MWh; `keep` (n, T); `rhs` broadcasts to (n, T), MWh gained whatever is decided.
    """
    n, steps = keep.shape
    exogenous = np.array(np.broadcast_to(rhs, (n, steps)), dtype=float)
    exogenous[:, 0] += keep[:, 0] * np.ravel(initial)
    parts = {g: sp.csr_array(-gain) for g, gain in gains.items()}
    parts[content_at] = difference(keep)
    return Rows(label, exogenous.ravel(), exogenous.ravel(), own=stack(sizes, parts, n * steps))


def ends_of(asset_ids: Sequence[str], context: Context) -> list[EndValue | None]:
    """The end value of each asset, None where the context has none."""
    return [context.end_value.get(asset_id) for asset_id in asset_ids]


def end_value_columns(
    label: str, ends: Sequence[EndValue | None], steps: int, origin: Array, floor: Array | float = 0.0
) -> End:
    """Segments of the content left at the end of `steps`, one row of them per store.

    `ends` has n entries, None for stores without an end value (their segments are fixed at 0, and
    there are none where no store has one);
    `origin` (n,) or (n, 1), MWh, is the content at which the first segment begins; `floor` (same
    shape) is the lowest content the model allows at the end, which lies below `origin` only where a
    store starts outside its window: what is missing then costs the value of the first segment.
    Raises ValueError for widths that are negative or values that increase.
    """
    n = len(ends)
    width = max((1 + len(end.value) for end in ends if end is not None), default=0)
    start = np.broadcast_to(np.ravel(origin), (n,)).astype(float)
    missing = np.minimum(0.0, np.broadcast_to(np.ravel(floor), (n,)) - start)
    lower, upper, cost = np.zeros((n, width)), np.zeros((n, width)), np.zeros((n, width))
    for i, end in enumerate(ends):
        if end is None:
            continue
        k = len(end.value)
        value = np.append(end.value, min(0.0, float(end.value[-1])) if k else 0.0)
        if np.any(np.diff(value) > 1e-9) or np.any(np.asarray(end.width_mwh) < 0.0):
            raise ValueError(f"{label}: the end value of store {i} increases or has a negative width")
        upper[i, :k], upper[i, k], cost[i, : k + 1] = end.width_mwh, INF, -value
        lower[i, 0] = missing[i]
    valued = np.array([end is not None for end in ends], dtype=bool)
    columns = Columns(label, (n, width), lower.ravel(), upper.ravel(), cost.ravel(), term="stored_energy")
    return End(columns, start, valued, steps)


def end_value_rows(label: str, sizes: Sequence[int], content_at: int, segments_at: int, end: End) -> list[Rows]:
    """Ties the segments to the last content; no rows where no store has an end value."""
    stores = np.flatnonzero(end.valued)
    k, (n, width) = stores.size, end.columns.shape
    if k == 0:
        return []
    ones, at = np.ones(k), np.arange(k)
    last = sp.csr_array((ones, (at, stores * end.steps + end.steps - 1)), shape=(k, n * end.steps))
    segments = sp.csr_array(
        (-np.ones(k * width), (np.repeat(at, width), (stores[:, None] * width + np.arange(width)).ravel())),
        shape=(k, n * width),
    )
    own = stack(sizes, {content_at: last, segments_at: segments}, k)
    return [Rows(label, end.origin[stores], end.origin[stores], own=own)]


def window(initial: Array, keep: Array, floor: Array, ceiling: Array) -> tuple[Array, Array]:
    """(n, T) bounds of the content inside [floor, ceiling] (each (n, 1), MWh).

    A store that starts outside its window may stay on the curve it would follow untouched until it
    is back, so the initial state never makes the problem infeasible.
    """
    untouched = initial * np.cumprod(keep, axis=1)
    return np.minimum(floor, untouched), np.maximum(ceiling, untouched)


def reachable(initial: Array, keep: Array, gain_mwh: Array | float) -> Array:
    """(n, T) content when `gain_mwh` (broadcast to (n, T)) is gained in every step, whatever the window."""
    left = np.maximum(np.cumprod(keep, axis=1), 1e-200)
    content: Array = left * (initial + np.cumsum(np.broadcast_to(gain_mwh, keep.shape) / left, axis=1))
    return content


def hard_end(end: End, lower: Array, required: Array) -> Array:
    """`lower` (n, T) with its last step raised to `required` (n, 1), MWh, for stores that have no end value."""
    raised = lower.copy()
    raised[:, -1] = np.where(end.valued, raised[:, -1], np.maximum(raised[:, -1], np.ravel(required)))
    return raised


def marginal_value(duals: Mapping[str, Array], label: str, n: int, steps: int) -> list[Array | None]:
    """Per store (T,), money per MWh stored at each interval's end, from the duals of its `balance_rows`.

    A dual is the change of the objective per unit of the row's right-hand side; energy that appears
    for free makes the objective fall, so its value is minus the dual. None without duals.
    """
    rows = duals.get(label)
    if rows is None or not rows.size:
        return [None] * n
    return list(-np.asarray(rows).reshape(n, steps))
