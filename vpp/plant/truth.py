"""The true series: quarter means from a file, and minutes that are rough but keep each quarter's mean exactly.

Minute m of quarter k is p[k] * (1 + s*z[m]), z standard normal draws of (seed, series, k) minus their mean, with
s the stated noise, smaller where a minute would fall below zero (or above 1 for a generation series that does
not exceed it). Reactive values follow with the same factor. A gap is a gap in the meter; the device holds the
last valid value.
"""

from __future__ import annotations

from collections.abc import Collection
from zipfile import BadZipFile

import numpy as np

from vpp.domain.errors import Fault, InputFaults
from vpp.domain.time import Array
from vpp.plant.draws import generator
from vpp.plant.moments import QUARTER_S, epoch_s
from vpp.plant.spec import Spec

MINUTES = 15


class Truth:
    """Series of shape (S, n quarters) from quarter number `first` (quarters since the Unix epoch)."""

    def __init__(self, ids: tuple[str, ...], first: int, p: Array, q: Array, spec: Spec) -> None:
        self.ids = ids
        self.index = {s: i for i, s in enumerate(ids)}
        self.first = first
        self.measured = p
        self._p, self._q = _held(p), _held(q)
        self._seed = spec.seed
        random = spec.randomness
        self._generation = np.array([s.startswith("gen:") for s in ids])
        self._noise = np.where(self._generation, random.generation_noise, random.load_noise)

    @property
    def end(self) -> int:
        """The first quarter after the series."""
        return self.first + int(self._p.shape[1])

    def quarter(self, k: int) -> Array:
        """Quarter means (S,) of quarter `k`, gaps filled by the last valid value."""
        row: Array = self._p[:, k - self.first]
        return row

    def gap(self, series: str, k: int) -> bool:
        """Whether the meter of `series` has no value in quarter `k`."""
        return bool(np.isnan(self.measured[self.index[series], k - self.first]))

    def minutes(self, k: int) -> tuple[Array, Array]:
        """Minute values p and q of quarter `k`, each (S, 15)."""
        factor = self._factor(k)
        at = k - self.first
        return self._p[:, at, None] * factor, self._q[:, at, None] * factor

    def _factor(self, k: int) -> Array:
        z = np.array([generator(self._seed, s, k).standard_normal(MINUTES) for s in self.ids])
        z -= z.mean(axis=1, keepdims=True)
        p = self._p[:, k - self.first]
        with np.errstate(divide="ignore"):
            headroom = np.where(self._generation & (p > 0) & (p <= 1), 1.0 / p - 1.0, np.inf)
        most = np.minimum(1.0 / -z.min(axis=1), headroom / z.max(axis=1))
        factor: Array = 1.0 + np.minimum(self._noise, most)[:, None] * z
        return factor


def _held(values: Array) -> Array:
    """`values` (S, n) with each gap filled by the last valid value, and by the first one before it."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), -1), axis=1)
    at = np.where(last < 0, known.argmax(axis=1)[:, None], last)
    filled: Array = np.take_along_axis(values, at, axis=1)
    return filled


def load_truth(spec: Spec) -> Truth:
    """The series of the plant's file. Raises InputFaults where one is missing, empty or too short."""
    try:
        with np.load(spec.series_file, allow_pickle=False) as file:
            ids = tuple(str(s) for s in file["ids"])
            first_s = epoch_s(str(file["start"].item()))
            p, q = np.asarray(file["p"], dtype=float), np.asarray(file["q"], dtype=float)
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputFaults([Fault("spec", "series_file", str(error))]) from error
    faults = list(_faults(spec, ids, first_s, p, q))
    if faults:
        raise InputFaults(faults)
    return Truth(ids, first_s // QUARTER_S, p, q, spec)


def _faults(spec: Spec, ids: Collection[str], first_s: int, p: Array, q: Array) -> list[Fault]:
    where = str(spec.series_file)
    if p.ndim != 2 or p.shape != q.shape or p.shape[0] != len(ids):
        return [Fault(where, "p", f"shape {p.shape}, q {q.shape}, for {len(ids)} ids")]
    faults = [Fault(where, s, "an input names it, the file has no such series") for s in spec.series - set(ids)]
    for name, values in (("p", p), ("q", q)):
        empty = np.flatnonzero(~np.isfinite(values).any(axis=1))
        faults += [Fault(where, tuple(ids)[i], f"no valid value of {name}") for i in empty]
    if np.isinf(p).any() or np.isinf(q).any():
        faults.append(Fault(where, "p", "an infinite value"))
    if first_s % QUARTER_S:
        faults.append(Fault(where, "start", "not the start of a quarter of an hour"))
    if first_s > spec.start.timestamp() or first_s + p.shape[1] * QUARTER_S < spec.end.timestamp():
        faults.append(Fault(where, "p", f"{p.shape[1]} quarters do not cover the plant's start and end"))
    return faults
