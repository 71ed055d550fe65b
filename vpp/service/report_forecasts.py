"""The forecasts in the report of a simulated span: their scores beside the naive's, and how reliable they were."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vpp.domain.forecast_score import SeriesScore

HEAD = ("pinball", "of the naive", "skill, %", "50 %", "80 %", "90 %", "outcomes", "model")


def score_rows(scores: Sequence[SeriesScore]) -> dict[str, tuple[str, ...]]:
    """Cells below `HEAD` by series."""
    return {
        s.series: (
            f"{s.pinball:.4g}", f"{s.pinball_naive:.4g}", "–" if s.skill is None else f"{100 * s.skill:.1f}",
            *(f"{100 * s.coverage[band]:.1f}" for band in ("50", "80", "90")), str(s.n), s.source,
        )
        for s in scores
    }  # fmt: skip


def scores_plot(scores: Sequence[SeriesScore]) -> Figure:
    """How reliable the quantiles were beside what they saved of the naive's loss."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.5))
    _reliability(left, scores)
    known = sorted(s.skill for s in scores if s.skill is not None)
    right.bar(range(1, len(known) + 1), [100 * skill for skill in known])
    right.set_xlabel("series, by skill")
    right.set_ylabel("skill against the seasonal naive, %")
    right.grid(alpha=0.3)
    return figure


def _reliability(axis: Axes, scores: Sequence[SeriesScore]) -> None:
    """Observed share below each nominal level: every series in grey, their mean, the diagonal of calibration."""
    axis.plot([0, 100], [0, 100], "k:", label="calibrated")
    told = [s.reliability for s in scores if s.reliability]
    for one in told:
        axis.plot([100 * a for a in one], [100 * share for share in one.values()], color="0.8", linewidth=0.8)
    if told:
        mean = {a: float(np.mean([t[a] for t in told])) for a in told[0]}
        axis.plot([100 * a for a in mean], [100 * share for share in mean.values()], "o-", label="mean of all series")
    axis.set_xlabel("nominal level, %")
    axis.set_ylabel("observed share of outcomes below, %")
    axis.set_aspect("equal")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
