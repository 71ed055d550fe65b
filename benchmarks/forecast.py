"""Forecast real data out of sample and score it beside the naive.

`python benchmarks/forecast.py SET --data DIR --from 2018-07-01 --to 2018-09-30 --horizon day-ahead|intraday` for
the rolling sets and `python benchmarks/forecast.py gefcom2014-wind|load|price --data DIR --tasks 4-9` for the tasks
of GEFCom2014; the last line is one JSON object. Times of day are the data's own clock.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import re
import sys
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.forecast_sets import load, price, rolling_set, sites, wind_issued, wind_tasks
from benchmarks.forecast_sets.reading import span_refusal, told
from benchmarks.forecast_sets.rolling_set import RollingSet
from benchmarks.forecast_sets.tasks import TaskSet, run_tasks

ROLLING: dict[str, RollingSet] = {**sites.SETS, **price.SETS, **load.SETS, **wind_issued.SETS}
TASKS: dict[str, TaskSet] = {**price.TASKS, **load.TASKS, **wind_tasks.TASKS}
MOST_TASKS = 999


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; what does not belong to the chosen set is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=[*ROLLING, *TASKS])
    parser.add_argument("--data", type=Path, required=True, help="folder with the layout of the benchmark data")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first day of the targets")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last day of the targets")
    parser.add_argument("--horizon", choices=["day-ahead", "intraday"])
    parser.add_argument("--tasks", type=task_numbers, help="tasks of GEFCom2014, as 4-9 or 5", default=None)
    given = parser.parse_args(arguments)
    rolling = (given.first, given.last, given.horizon)
    if given.set in ROLLING and (None in rolling or given.tasks is not None):
        parser.error(f"{given.set} needs --from, --to and --horizon, and no --tasks")
    if given.set in TASKS and (given.tasks is None or any(v is not None for v in rolling)):
        parser.error(f"{given.set} needs --tasks only")
    if wrong := span_refusal(given.data, given.first, given.last):
        parser.error(wrong)
    return given


def task_numbers(text: str) -> list[int]:
    """4..9 of "4-9", 5 of "5". Raises ArgumentTypeError for anything else and for a number beyond MOST_TASKS."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not found or last < first:
        raise argparse.ArgumentTypeError(f"{text!r} is no task like 5 and no range like 4-9")
    if last > MOST_TASKS:
        raise argparse.ArgumentTypeError(f"{text!r} goes beyond task {MOST_TASKS}")
    return list(range(first, last + 1))


def main(given: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    if given.set in ROLLING:
        made = rolling_set.run(ROLLING[given.set], given.data, given.first, given.last, given.horizon)
    else:
        made = run_tasks(TASKS[given.set], given.data, given.tasks)
    return {"set": given.set, **made}


if __name__ == "__main__":
    told(__file__, lambda: main(parsed()))
