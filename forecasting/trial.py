"""How the trial of a training went: the blend it chose against the best naive model, and what its errors were.

The weights were chosen on the same outcomes, so the score of a blend is what it learnt from, not a promise; live
scores are out of sample. The trial's quantiles, calibrated from the outcomes before each issue as they will be in
operation, tell how errors come together: their normal scores are what joint scenarios learn from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.cases import Cases
from forecasting.losses import covered, pinball_by_level
from forecasting.past_scores import PastScores, joint, normal_score
from forecasting.rolling import Rolled, calibrate
from vpp.domain.learnt import TrialScore
from vpp.domain.time import Array


@dataclass(frozen=True)
class Trial:
    """A trial's score, and of the cases that tell of errors their calibrated quantiles (L, R) and normal scores."""

    score: TrialScore
    cases: Cases
    quantiles: Array
    errors: PastScores


def trial_of(rolled: Rolled, telling: NDArray[np.bool_]) -> Trial | None:
    """What the forecasts of `rolled` before its last fit say, the cases `telling` (R,) of their errors.

    None where no model forecast an outcome that is there.
    """
    single, scheme, levels = np.stack(list(rolled.single.values())), rolled.fitted.scheme, rolled.levels
    made = np.isfinite(single).all(axis=(0, 1))
    there = made & np.isfinite(rolled.cases.y)
    if not there.any():
        return None
    asked, single = rolled.cases.rows(np.flatnonzero(made)), single[:, :, made]
    mixed = rolled.fitted.blend.mix(single, scheme.lead_group(asked))
    fresh = replace(rolled.fitted, tracker=replace(rolled.fitted.tracker))
    quantiles = calibrate(asked, mixed, fresh)
    held, told, bounds = there[made], telling[made], scheme.bounds
    cases, issued = asked.rows(told), quantiles[:, told]
    errors = joint([cases], [normal_score(issued, cases.y, levels, bounds.lower, bounds.upper)])
    return Trial(_score(rolled, mixed[:, held], single[:, :, held], asked.rows(held)), cases, issued, errors)


def _score(rolled: Rolled, mixed: Array, single: Array, asked: Cases) -> TrialScore:
    levels = rolled.levels
    naive = [
        float(pinball_by_level(q, asked.y, levels).mean()) for q in single[: rolled.fitted.scheme.naive]
    ]  # fmt: skip
    inside = covered(mixed, asked.y, levels)
    return TrialScore(
        float(pinball_by_level(mixed, asked.y, levels).mean()), min(naive),
        {name: float(share.mean()) for name, share in inside.items()}, len(asked),
    )  # fmt: skip
