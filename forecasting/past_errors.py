"""How errors of the service's past forecasts came together: the scores of its trials, put side by side.

Every series keeps the normal scores of the forecasts that its training made again. A joint forecast issued now reads
them day by day: on each past day the steps that intraday models serve take the scores of the issue nearest to the
same time of day, by lead, and the steps beyond those of the last gate's forecast, by clock time. Only scores whose
outcomes were known at its issue count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.calendar import Index
from forecasting.gates import NEAR_QUARTERS
from forecasting.past_scores import DAY, REMEMBERED, PastScores, Track
from vpp.domain.time import Array

_NEAREST_MINUTES = 90


@dataclass(frozen=True)
class PastErrors:
    """Scores of the same series: `near` by issue and lead, `far` along their targets; None where nobody has any."""

    near: PastScores | None
    far: Track | None

    @classmethod
    def of(
        cls, ids: Sequence[str], intraday: Mapping[str, PastScores], day_ahead: Mapping[str, PastScores]
    ) -> PastErrors:
        """Of the series `ids`; one that a stage lacks is a gap there."""
        near, gates = side_by_side(ids, intraday), side_by_side(ids, day_ahead)
        return cls(near, along_targets(gates) if gates is not None else None)

    def before(self, moment: int, target: Index) -> Array:
        """Scores (N, S, T) of past days for `target` (T,) forecast at `moment`, both in minutes, as known then."""
        days = np.arange(REMEMBERED, 0, -1)
        near, far = self._near(moment, target, days), self._far(moment, target, days)
        if near is None or far is None:
            found = far if near is None else near
            seen = np.zeros((0, 0, 0)) if found is None else found
        else:
            seen = np.where(np.isfinite(near), near, far)
        some: Array = seen[np.isfinite(seen).any(axis=(1, 2))]
        return some

    def _far(self, moment: int, target: Index, days: Index) -> Array | None:
        return self.far.days_before(moment, target, days) if self.far is not None else None

    def _near(self, moment: int, target: Index, days: Index) -> Array | None:
        if self.near is None:
            return None
        then, lead = moment - DAY * days, target - moment
        row = np.abs(self.near.issue[None, :] - then[:, None]).argmin(axis=1)
        column = np.minimum(np.searchsorted(self.near.lead, lead), len(self.near.lead) - 1)
        there = np.abs(self.near.issue[row] - then)[:, None] <= _NEAREST_MINUTES
        there = there & (self.near.lead[column] == lead) & (lead < NEAR_QUARTERS * 15)
        scores, known = (a[row][:, :, column] for a in (self.near.scores, self.near.known))
        return np.where(there[:, None, :] & (known <= moment), scores, np.nan)


def side_by_side(ids: Sequence[str], parts: Mapping[str, PastScores]) -> PastScores | None:
    """The scores (N, S, T) of the series `ids`, each of which is alone in its part; None where none has any."""
    held = [(i, parts[name]) for i, name in enumerate(ids) if name in parts]
    if not held:
        return None
    issue = np.unique(np.concatenate([p.issue for _, p in held]))
    lead = np.unique(np.concatenate([p.lead for _, p in held]))
    scores = np.full((len(issue), len(ids), len(lead)), np.nan)
    known = np.full(scores.shape, np.inf)
    for i, p in held:
        at = np.ix_(np.searchsorted(issue, p.issue), np.array([i]), np.searchsorted(lead, p.lead))
        scores[at], known[at] = p.scores, p.known
    return PastScores(issue, lead, scores, known)


def along_targets(past: PastScores, step: int = 15) -> Track:
    """Scores by target; of several of a target the latest issue counts."""
    target = past.issue[:, None] + past.lead
    first = int(target.min())
    n = (int(target.max()) - first) // step + 1
    scores, known = np.full((past.scores.shape[1], n), np.nan), np.full((past.scores.shape[1], n), np.inf)
    for row, at in enumerate((target - first) // step):
        there = np.isfinite(past.scores[row])
        scores[:, at] = np.where(there, past.scores[row], scores[:, at])
        known[:, at] = np.where(there, past.known[row], known[:, at])
    return Track(first, step, scores, known)
