"""Sparse matrices written row by row into their final arrays: what blocks and the stacked problem are made of.

A CSR matrix is (data, indices, indptr). For the regular patterns of assets times steps the number of
entries of each row is known beforehand, so every piece is copied once to where it ends; nothing is
sorted, merged or converted on the way. Indices are 32 bit, as HiGHS takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vpp.domain.time import Array

Int32s = NDArray[np.int32]


def csr(data: Array | NDArray[np.int8], indices: Int32s, indptr: Int32s, columns: int) -> sp.csr_array:
    """The matrix of these arrays, which are not copied."""
    return sp.csr_array((data, indices, indptr), shape=(len(indptr) - 1, columns))


def starts_of(counts: NDArray[np.integer]) -> Int32s:
    """`indptr` of rows with these numbers of entries, (m + 1,). Raises OverflowError past 2^31 entries."""
    total = int(counts.sum(dtype=np.int64))
    if total > np.iinfo(np.int32).max:
        raise OverflowError(f"{total} coefficients are more than a solver's 32-bit index can hold")
    starts = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=starts[1:])
    return starts


def counts_of(matrix: sp.csr_array) -> Int32s:
    """Number of entries of each row, (m,)."""
    counts: Int32s = np.diff(matrix.indptr)
    return counts


def eye(n: int) -> sp.csr_array:
    """Sparse identity."""
    return diagonal(np.ones(n))


def diagonal(values: Array) -> sp.csr_array:
    """Sparse diagonal matrix of the flattened `values`."""
    flat = np.asarray(values, dtype=float).ravel()
    at = np.arange(flat.size + 1, dtype=np.int32)
    return csr(flat, at[:-1], at, flat.size)


def previous(n: int, steps: int) -> sp.csr_array:
    """(n*T, n*T) map from x[t] to x[t-1]; the first step of each asset is empty."""
    first = np.arange(0, n * steps, steps, dtype=np.int32)
    column: Int32s = np.add(first[:, None], np.arange(steps - 1), dtype=np.int32)
    starts = starts_of(np.tile(np.arange(steps) > 0, n))
    return csr(np.ones(column.size), column.ravel(), starts, n * steps)


def difference(keep: Array) -> sp.csr_array:
    """(n*T, n*T) map from x to x[t] - keep[t] * x[t-1], `keep` (n, T); the first step has no predecessor."""
    n, steps = keep.shape
    width = 2 * steps - 1
    values = np.ones((n, width))
    values[:, 1::2] = -keep[:, 1:]
    pattern = np.arange(width, dtype=np.int32) // 2
    column = np.arange(n, dtype=np.int32)[:, None] * np.int32(steps) + pattern
    starts = starts_of(np.tile(np.where(np.arange(steps) > 0, 2, 1), n))
    return csr(values.ravel(), column.ravel(), starts, n * steps)


def at_each_step(weights: sp.csr_array, scale: Array) -> sp.csr_array:
    """(m*T, n*T) map that applies `weights` (m, n) at every step t, times scale[t]."""
    steps, counts = len(scale), counts_of(weights)
    starts = starts_of(np.repeat(counts, steps))
    row = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(weights.nnz) - weights.indptr[row]
    t = np.arange(steps)
    place = starts[row * steps][:, None] + t * counts[row][:, None] + within[:, None]
    data, indices = np.empty(weights.nnz * steps), np.empty(weights.nnz * steps, dtype=np.int32)
    data[place] = weights.data[:, None] * scale
    indices[place] = weights.indices[:, None] * steps + t
    return csr(data, indices, starts, weights.shape[1] * steps)


def windows(head: int, sign: int, first: Int32s, last: Int32s, columns: int) -> sp.csr_array:
    """(m, columns) whole numbers: row r has `sign` at column head + r and ones at first[r] .. last[r], past it all."""
    counts = last - first + 2
    starts = starts_of(counts)
    at = starts[:-1]
    indices = np.arange(starts[-1], dtype=np.int32)
    indices += np.repeat(first - at - 1, counts)
    indices[at] = np.arange(head, head + len(first), dtype=np.int32)
    data = np.ones(len(indices), dtype=np.int8)
    data[at] = sign
    return csr(data, indices, starts, columns)


def stack(sizes: Sequence[int], parts: Mapping[int, sp.csr_array], rows: int) -> sp.csr_array:
    """One row band over all column groups of a block: `parts[g]` sits at group g, the others are empty."""
    first = [0, *np.cumsum(sizes).tolist()]
    if not parts:
        return csr(np.empty(0), np.empty(0, dtype=np.int32), np.zeros(rows + 1, dtype=np.int32), first[-1])
    return beside([(part, first[g]) for g, part in sorted(parts.items())], first[-1])


def beside(parts: Sequence[tuple[sp.csr_array, int]], columns: int) -> sp.csr_array:
    """Parts of the same rows, each with its first column; no two may share a column of a row."""
    counts = [counts_of(part) for part, _ in parts]
    starts = starts_of(sum(counts[1:], counts[0]))
    data, indices, free = np.empty(starts[-1]), np.empty(starts[-1], dtype=np.int32), starts[:-1].copy()
    for (part, first), count in zip(parts, counts, strict=True):
        place = _places(part, count, free)
        data[place] = part.data
        indices[place] = part.indices + np.int32(first)
        free += count
    return csr(data, indices, starts, columns)


def _places(part: sp.csr_array, counts: Int32s, free: Int32s) -> Int32s:
    """Where the entries of `part` go when row r begins at free[r]."""
    if part.nnz == len(counts) and (counts == 1).all():
        return free.copy()
    place = np.arange(part.nnz, dtype=np.int32)
    place += np.repeat(free - part.indptr[:-1].astype(np.int32), counts)
    return place


def pile(bands: Sequence[tuple[sp.csr_array, int]], columns: int) -> sp.csr_array:
    """Bands of rows one below the other, each with its first column, as one (rows, columns) matrix."""
    counts = np.concatenate([np.zeros(0, dtype=np.int32), *(counts_of(band) for band, _ in bands)])
    starts = starts_of(counts)
    data, indices, at = np.empty(starts[-1]), np.empty(starts[-1], dtype=np.int32), 0
    for band, first in bands:
        here = slice(at, at + band.nnz)
        data[here] = band.data
        np.add(band.indices, first, out=indices[here], casting="unsafe")
        at += band.nnz
    return csr(data, indices, starts, columns)
