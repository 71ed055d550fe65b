"""Score the tasks of GEFCom2014: mean pinball loss over the 99 percentiles, task by task.

The rating of a track is the mean over the tasks of 1 - score / benchmark, weighted 1, 2, ... in their order, as the
organisers rated their teams (Hong et al., International Journal of Forecasting 32(3), 2016).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.forecast_sets.reading import BadSet
from forecasting.losses import covered, pinball_by_level
from vpp.domain.time import Array

PERCENTILES: tuple[float, ...] = tuple(round(k / 100, 2) for k in range(1, 100))
BOARD = "gefcom2014/leaderboard_tasks_4_9.csv"


@dataclass(frozen=True)
class Answer:
    """Percentiles (99, R) of one task and the values that came (R,)."""

    percentiles: Array
    y: Array


@dataclass(frozen=True)
class TaskSet:
    """A track: its name on the leaderboard, the benchmark's team name, and `answer(data, task)`."""

    track: str
    benchmark: str
    answer: Callable[[Path, int], Answer]


def run_tasks(chosen: TaskSet, data: Path, tasks: Sequence[int]) -> dict[str, Any]:
    """Answer every task and score all."""
    before = time.perf_counter()
    answers = {k: _answered(chosen, data, k) for k in tasks}
    score = {k: float(np.nanmean(pinball_by_level(a.percentiles, a.y, PERCENTILES))) for k, a in answers.items()}
    return {
        "pinball": {str(k): round(v, 5) for k, v in score.items()},
        "mean": round(float(np.mean(list(score.values()))), 5),
        "rating": rating(data, chosen, score), "coverage": coverage(list(answers.values())),
        "wall_s": round(time.perf_counter() - before, 2),
    }  # fmt: skip


def _answered(chosen: TaskSet, data: Path, task: int) -> Answer:
    """One answer. Raises BadSet that names a task whose data are not there."""
    try:
        answer = chosen.answer(data, task)
    except (KeyError, ValueError, OSError) as why:
        raise BadSet(f"task {task} of {chosen.track} cannot be answered: {why}") from why
    if not np.isfinite(answer.y).any():
        raise BadSet(f"task {task} of {chosen.track} has no values to score")
    return answer


def rating(data: Path, chosen: TaskSet, score: dict[int, float]) -> float | None:
    """The rating over the tasks of `score`; None where the leaderboard misses one."""
    board = pd.read_csv(data / BOARD)
    board = board[(board["track"] == chosen.track) & (board["team"] == chosen.benchmark)]
    official = dict(zip(board["task"].tolist(), board["score"].tolist(), strict=True))
    if not set(score) <= set(official):
        return None
    gain = [1 - score[k] / official[k] for k in score]
    return round(float(np.average(gain, weights=np.arange(1, len(gain) + 1))), 4)


def coverage(answers: Sequence[Answer]) -> dict[str, float]:
    """Coverage of the central bands in per cent, over all tasks together.

    The percentiles that bound the 50 % band are 25 and 75, and so on.
    """
    q = np.concatenate([a.percentiles for a in answers], axis=1)
    y = np.concatenate([a.y for a in answers])
    return {band: round(100 * float(np.nanmean(hit)), 2) for band, hit in covered(q, y, PERCENTILES).items()}
