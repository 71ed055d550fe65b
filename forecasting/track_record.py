"""Scores of the past days: forecasts made again at past moments, each from what was known then.

Issue times are every three hours of UTC over the last week; each forecast and the seasonal naive beside it cover
the next 24 hours. At a moment t only outcomes known at t count. An issue is made once and kept; models never serve
an issue before the end of the data they learnt from, so every score is out of sample; a series takes part from its
first value on. Where an issue's outcomes are all due, its quantiles give way to sums. A series is scored over the
issues whose source is that of its newest one: the naive that stood in before the first training says nothing about
the model.

The reliability of level a is the share of probability transforms below a (Czado, Gneiting and Held, Biometrics 65(4),
2009). An outcome equal to the quantiles of levels i..j, as at a bound, lies on an atom: its transform is uniform over
the atom's levels, which reach halfway to the next level on each side, so it counts at a by the part of them below a.
A step whose quantiles are all equal (photovoltaics at night) tells nothing of calibration and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from forecasting.backtest import BANDS, pinball
from forecasting.calendar import Calendar, quarter_of
from forecasting.naive import naive_quantiles
from forecasting.panel import Panel
from vpp.domain.errors import DataGap
from vpp.domain.forecast import LEVELS, Forecast, History
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.ports import Forecaster
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to

EVERY = timedelta(hours=3)
SPAN = timedelta(days=7)
STEPS = 96
LATEST = timedelta(hours=6)
"""An outcome that is not there so long after the last one was due counts as a gap."""


@dataclass(frozen=True)
class Tally:
    """Sums (S,) over the scored steps of one issue, `inside` (S, B) and `below` (S, L)."""

    scored: Array
    loss: Array
    loss_naive: Array
    inside: Array
    wide: Array
    below: Array


@dataclass
class Issue:
    """A forecast made again and the naive (S, L, T) beside it; `tally` stands for both once all outcomes are due."""

    series: tuple[str, ...]
    source: tuple[str, ...]
    end: datetime
    made: Forecast | None
    naive: Array
    tally: Tally | None = None

    def tallied(self, history: History) -> Tally:
        """Against what `history` knows."""
        if self.tally is not None:
            return self.tally
        assert self.made is not None
        found = tally(self.made.quantiles, self.naive, outcomes(history, self.series, self.made.grid))
        if self.end + LATEST <= history.issued_at:
            self.tally, self.made, self.naive = found, None, np.empty(0)
        return found


@dataclass
class TrackRecord:
    """Mutable: the issues made so far by their time. One caller at a time."""

    issues: dict[datetime, Issue] = field(default_factory=dict)

    def follow(
        self, forecaster: Forecaster, history: History, since: datetime | None, calendar: Calendar, most: int | None
    ) -> dict[str, tuple[str, Tally]]:
        """Source and sums of every series that has an outcome, as `history` knows them.

        Missing issues are made, the oldest first, at most `most` of them and none before `since`; an issue whose
        newest values were too old to forecast from is left out.
        """
        now = history.issued_at
        wanted = issue_times(now)
        self.issues = {at: issue for at, issue in self.issues.items() if at in wanted}
        new = [at for at in wanted if at not in self.issues and (since is None or at >= since)]
        for at in new[:most]:
            begun = {name: s for name, s in history.series.items() if np.isfinite(s.values[: s.known(at)]).any()}
            try:
                self.issues[at] = made_again(forecaster, History(at, begun), calendar)
            except DataGap:
                continue
        return summed([self.issues[at] for at in sorted(self.issues)], history)

    def reaching(self, now: datetime) -> Forecast | None:
        """The oldest forecast made again that ends after `now`: most of what it said can be held against outcomes."""
        return next((i.made for _, i in sorted(self.issues.items()) if i.made is not None and i.end > now), None)


def issue_times(now: datetime) -> list[datetime]:
    """The last week's, in order; the newest has at least one outcome known at `now` or a moment later."""
    newest = floor_to(now - QUARTER, EVERY)
    return [newest - k * EVERY for k in reversed(range(SPAN // EVERY))]


def made_again(forecaster: Forecaster, history: History, calendar: Calendar) -> Issue:
    """The forecast issued at the history's own time. Raises DataGap where there is too little to forecast from."""
    at, past = history.issued_at, Panel.of(history)
    grid = TimeGrid.uniform(at, QUARTER, STEPS)
    made = forecaster.forecast(history, grid, 1)
    target = np.arange(STEPS) + quarter_of(at) - past.first
    days = calendar.days(past.first, int(target[-1]) + 2)
    end = np.broadcast_to(past.end[:, None], (len(past.ids), STEPS))
    naive = naive_quantiles(past, days, target, end, LEVELS)
    return Issue(made.series, made.source, grid.end, made, naive)


def outcomes(history: History, series: Sequence[str], grid: TimeGrid) -> Array:
    """Values (S, T) over a grid of quarters as far as `history` knows them, NaN elsewhere."""
    out = np.full((len(series), grid.n), np.nan)
    for i, name in enumerate(series):
        known = history.until_known(name)
        at = np.arange(grid.n) + (grid.start - known.start) // QUARTER
        there = (at >= 0) & (at < len(known.values))
        out[i, there] = known.values[at[there]]
    return out


def tally(quantiles: Array, naive: Array, actual: Array) -> Tally:
    """Sums of quantiles (S, L, T) at `LEVELS` and the naive ones against outcomes (S, T); gaps are not scored."""
    there = np.isfinite(actual)
    inside = [
        ((actual >= quantiles[:, a]) & (actual <= quantiles[:, b]) & there).sum(axis=1) for a, b in BANDS.values()
    ]  # fmt: skip
    wide = there & (quantiles[:, -1] > quantiles[:, 0])
    under = transforms_below(quantiles, actual)
    return Tally(
        there.sum(axis=1), np.nansum(pinball(quantiles, actual), axis=1), np.nansum(pinball(naive, actual), axis=1),
        np.stack(inside, axis=1), wide.sum(axis=1), (under * wide[:, None, :]).sum(axis=2),
    )  # fmt: skip


def transforms_below(quantiles: Array, actual: Array) -> Array:
    """Part (S, L, T) of each outcome's probability transform that lies below each of `LEVELS`; 0 for a gap."""
    level, y = np.asarray(LEVELS), actual[:, None, :]
    edges = np.concatenate([[0.0], (level[1:] + level[:-1]) / 2, [1.0]])
    tied, first = y == quantiles, (quantiles < y).sum(axis=1)
    low, high = edges[first], edges[first + tied.sum(axis=1)]
    part = (level[:, None] - low[:, None, :]) / np.where(high > low, high - low, 1.0)[:, None, :]
    below: Array = np.where(tied, part, y < quantiles)
    return below


def summed(issues: Sequence[Issue], history: History) -> dict[str, tuple[str, Tally]]:
    """Source and sums of every series with an outcome, over the issues of its newest source."""
    parts: dict[str, list[tuple[str, Array]]] = {}
    for issue in issues:
        found = issue.tallied(history)
        columns = np.column_stack(
            [found.scored, found.loss, found.loss_naive, found.inside, found.wide, found.below]
        )  # fmt: skip
        for name, source, row in zip(issue.series, issue.source, columns, strict=True):
            if row[0] > 0:
                parts.setdefault(name, []).append((source, row))
    return {
        name: (rows[-1][0], _split(np.sum([row for source, row in rows if source == rows[-1][0]], axis=0)))
        for name, rows in parts.items()
    }


def _split(row: Array) -> Tally:
    b = 3 + len(BANDS)
    return Tally(row[0], row[1], row[2], row[3:b], row[b], row[b + 1 :])


def score_of(name: str, source: str, sums: Tally, trained_until: datetime | None, drifted: bool) -> SeriesScore:
    """The score of one series from its sums."""
    n, wide = int(sums.scored), int(sums.wide)
    return SeriesScore(
        name, source, float(sums.loss) / n, float(sums.loss_naive) / n,
        {band: float(k) / n for band, k in zip(BANDS, sums.inside, strict=True)}, n, drifted, trained_until,
        {level: float(k) / wide for level, k in zip(LEVELS, sums.below, strict=True)} if wide else {},
    )  # fmt: skip
