"""Joint scenarios of the service: the dependence of past errors, and sums that are spread as past sums came out.

Of more scenarios than are asked for those are taken whose sum over the steps past the near ones, each series by what
it counts for in what is sold, lies where the sums of the trial's days say (`forecasting/sums.py`). What a training
learns of sums it learns as a service would have: gate after gate, each day's scenarios with the dependence that was
known at its gate, their sum held against what came once all of it was known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import PER_DAY, Calendar, Index
from forecasting.fitted import Bounds
from forecasting.panel import Panel
from forecasting.past_errors import PastErrors
from forecasting.scenarios import Dependence, copula, dependence, from_quantiles
from forecasting.sums import SumCalibration
from forecasting.trial import Trial
from vpp.domain.forecast import LEVELS
from vpp.domain.time import Array

CANDIDATES = 3
LEAST_DAYS = 7
LEARNT_FROM = 100
USUAL_DAYS = 36


@dataclass(frozen=True)
class Marginals:
    """Quantiles (S, L, T) and the bounds (S,) of each series."""

    quantiles: Array
    lower: Array
    upper: Array

    def rows(self, which: Index) -> Marginals:
        """Some of the series."""
        return Marginals(self.quantiles[which], self.lower[which], self.upper[which])

    def at(self, uniform: Array) -> Array:
        """Values (K, S, T) at probabilities `uniform`."""
        return from_quantiles(uniform, self.quantiles, LEVELS, self.lower, self.upper)


def drawn(shape: Dependence, of: Marginals, sums: SumCalibration, counted: Index, count: int, seed: int) -> Array:
    """`count` scenarios (K, S, T), the sums over steps `counted` calibrated where `sums` weighs any series."""
    weight = np.ones(len(of.lower)) if sums.weight is None else sums.weight
    held, steps = np.flatnonzero(weight), of.quantiles.shape[2]
    if not count or not len(held) or not len(counted):
        return of.at(copula(shape, count, steps, seed))
    uniform = copula(shape, CANDIDATES * count, steps, seed)
    part = of.rows(held).at(uniform[:, held])[:, :, counted]
    return of.at(uniform[sums.taken(part.sum(axis=2) @ weight[held], count)])


def usual_dependence(panel: Panel, calendar: Calendar, upto: int) -> Dependence:
    """The dependence of the values themselves in the weeks before column `upto`."""
    past = panel.part(upto - USUAL_DAYS * PER_DAY, upto) if upto > 0 else panel
    return dependence(past, calendar.days(past.first, past.n))


def sum_offset(
    trials: Mapping[str, Trial], bounds: Mapping[str, Bounds], weight: Mapping[str, float], panel: Panel,
    calendar: Calendar,
) -> Array:  # fmt: skip
    """The offsets (L,) that the trial's days teach of the sum, over a next day, of the series that weigh.

    `panel` holds the series with a trial and what was known of them at the training.
    """
    ids = [name for name, w in weight.items() if w and name in trials]
    of = np.array([weight[name] for name in ids])
    sums = SumCalibration(LEVELS, of)
    if not ids:
        return sums.offset
    own = panel.select([panel.ids.index(name) for name in ids])
    past = PastErrors.of(ids, {}, {name: trials[name].errors for name in ids})
    lower, upper = np.array([bounds[n].lower for n in ids]), np.array([bounds[n].upper for n in ids])
    waiting: list[tuple[int, Array, float]] = []
    for day in _days([trials[name] for name in ids]):
        for _, issued, came in [w for w in waiting if w[0] <= day.issue]:
            sums.learn(issued, came)
        waiting = [w for w in waiting if w[0] > day.issue]
        seen = past.before(day.issue, day.target)
        if len(seen) >= LEAST_DAYS:
            marginals, every = Marginals(day.quantiles, lower, upper), np.arange(len(day.target))
            gate = day.issue // 15
            upto = min(gate // PER_DAY * PER_DAY, gate - int(own.late.max())) - own.first
            shape = Dependence.of(seen, usual_dependence(own, calendar, upto))
            made = drawn(shape, marginals, sums, every, LEARNT_FROM, day.issue)
            waiting.append((day.known, sums.quantiles(made), float(day.y.sum(axis=1) @ of)))
    for _, issued, came in waiting:
        sums.learn(issued, came)
    return sums.offset


@dataclass(frozen=True)
class _Day:
    """A gate's forecast: issue, targets (T,), when all of it was known, quantiles (S, L, T) and outcomes (S, T)."""

    issue: int
    target: Index
    known: int
    quantiles: Array
    y: Array


def _days(trials: Sequence[Trial]) -> Iterator[_Day]:
    """The days that all series forecast, in order."""
    for issue in np.unique(np.concatenate([t.cases.issue for t in trials])):
        rows = [np.flatnonzero(t.cases.issue == issue) for t in trials]
        cases = [t.cases.rows(at) for t, at in zip(trials, rows, strict=True)]
        target = cases[0].target
        if len(target) and all(np.array_equal(c.target, target) for c in cases):
            yield _Day(
                int(issue), target, max(int(c.known.max()) for c in cases),
                np.stack([t.quantiles[:, at] for t, at in zip(trials, rows, strict=True)]),
                np.stack([c.y for c in cases]),
            )  # fmt: skip
