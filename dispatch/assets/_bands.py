"""Sparse rows of many units at once, written as terms over (unit, step).

A row belongs to a unit i and a step t. A term adds `value[i,t]` times the column that a group holds for
unit i at step t - lag, where there is one:

    sum over terms of value[i,t] * x[position[i, t - lag]]        for every (i, t) that is kept

No Python runs per unit or per step: each term is a handful of array operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import Rows
from vpp.domain.time import Array

Bools = NDArray[np.bool_]
Positions = NDArray[np.int64]
NONE = -1
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class Term:
    """`value` (broadcasts to (n,T)) times the column at `position` (n,T) of step t - `lag`; NONE marks no column."""

    position: Positions
    value: Array | float
    lag: int = 0


def positions(first: int, members: Bools, steps: int) -> Positions:
    """(n,T) columns of a group that begins at `first` and holds the units of `members` (n,) only."""
    found = np.full((members.size, steps), NONE, dtype=np.int64)
    found[members] = first + np.arange(int(members.sum()) * steps).reshape(-1, steps)
    return found


def shifted(values: NDArray[Number], lag: int, fill: float) -> NDArray[Number]:
    """(n,T) of values[:, t - lag]; `fill` where that step is outside the grid."""
    moved = np.full_like(values, fill)
    steps = values.shape[1]
    if lag >= 0:
        moved[:, lag:] = values[:, : steps - lag]
    else:
        moved[:, :lag] = values[:, -lag:]
    return moved


def matrix(keep: Bools, terms: Sequence[Term], columns: int) -> sp.csr_array:
    """(rows, columns): one row for each (i, t) of `keep` (n,T), in that order."""
    number = np.cumsum(keep.ravel()).reshape(keep.shape) - 1
    row, column, data = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for term in terms:
        at, value = shifted(term.position, term.lag, NONE), np.broadcast_to(term.value, keep.shape)
        used = keep & (at != NONE) & (value != 0.0)
        row.append(number[used])
        column.append(np.asarray(at[used], dtype=np.int64))
        data.append(value[used])
    entries = (np.concatenate(data), (np.concatenate(row), np.concatenate(column)))
    return sp.csr_array(sp.coo_array(entries, shape=(int(keep.sum()), columns)))


def rows(
    label: str, keep: Bools, terms: Sequence[Term], columns: int, lower: Array | float, upper: Array | float
) -> Rows:
    """The kept rows with bounds that broadcast to (n,T)."""
    low, high = (np.broadcast_to(bound, keep.shape)[keep] for bound in (lower, upper))
    return Rows(label, low, high, own=matrix(keep, terms, columns))


def negated(terms: Sequence[Term]) -> list[Term]:
    """The terms on the other side of the row."""
    return [Term(t.position, -np.asarray(t.value, dtype=float), t.lag) for t in terms]
