"""How the trial of a training went: the blend it chose against the best naive model, over the trial's outcomes.

The weights were chosen on the same outcomes, so the score of a blend is what it learnt from, not a promise; live
scores are out of sample.
"""

from __future__ import annotations

import numpy as np

from forecasting.losses import covered, pinball_by_level
from forecasting.rolling import Rolled
from vpp.domain.learnt import TrialScore


def trial_score(rolled: Rolled) -> TrialScore | None:
    """The score of `rolled`; None where no model forecast an outcome that is there."""
    single, scheme, levels = np.stack(list(rolled.single.values())), rolled.fitted.scheme, rolled.levels
    there = np.isfinite(single).all(axis=(0, 1)) & np.isfinite(rolled.cases.y)
    if not there.any():
        return None
    asked, single = rolled.cases.rows(there), single[:, :, there]
    mixed = rolled.fitted.blend.mix(single, scheme.lead_group(asked))
    naive = [float(pinball_by_level(q, asked.y, levels).mean()) for q in single[: scheme.naive]]
    inside = covered(mixed, asked.y, levels)
    return TrialScore(
        float(pinball_by_level(mixed, asked.y, levels).mean()), min(naive),
        {name: float(share.mean()) for name, share in inside.items()}, len(asked),
    )  # fmt: skip
