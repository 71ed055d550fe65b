"""Series of meters and files as the service may learn from them: what cannot be a measurement is a gap with a name.

The rules are those of `forecasting/screen.py`. What is known at an issue time is screened by itself, so nothing
later has a part in it: the days before the last midnight (UTC) once, the day since then anew with every quarter, by
the `RECENT_DAYS` before it. Equal values give equal gaps, whoever asks first. Nothing is filled.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from threading import Lock

import numpy as np

from forecasting.calendar import PER_DAY, Calendar, moment_of, quarter_of
from forecasting.meter_rows import Finding
from forecasting.panel import Panel
from forecasting.screen import NAMED_ONLY, screened
from forecasting.screen_rules import MEMORY_DAYS
from forecasting.training import HISTORY_DAYS
from vpp.domain.forecast import History, Series
from vpp.domain.time import Array, rfc3339

LEARNT_DAYS = HISTORY_DAYS + MEMORY_DAYS
RECENT_DAYS = MEMORY_DAYS + 8
KEPT = 16
CODE_LENGTH = 80


class DataScreen:
    """What a series knew without its faults; verdicts are kept by the values that they judge."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self._told = set[tuple[str, str, int, bool]]()
        self._kept: dict[str, dict[bytes, tuple[Finding, ...]]] = defaultdict(dict)
        self._lock = Lock()

    def of(self, series: Mapping[str, Series]) -> dict[str, Series]:
        """`series` such that what is ever known of them is screened."""
        return {name: replace(s, screen=self) for name, s in series.items()}

    def __call__(self, known: Series) -> Series:
        """`known` with every quarter that the screen marks as a gap."""
        values = known.values.copy()
        first = quarter_of(known.start)
        for f in self.findings(known):
            if f.kind not in NAMED_ONLY:
                values[f.start - first : f.end - first] = np.nan
        return replace(known, values=values)

    def news(self, history: History) -> list[tuple[str, str]]:
        """Code and message for each series and kind with a fault that began or ended since the last call."""
        told: list[tuple[str, str]] = []
        for s in history.series.values():
            if s.screen is not self:
                continue
            cut = replace(s, values=s.values[: s.known(history.issued_at)], screen=None)
            known_to, kinds = quarter_of(s.start) + len(cut.values), defaultdict[str, list[Finding]](list)
            for f in self.findings(cut):
                kinds[f.kind].append(f)
            for kind, found in kinds.items():
                states = {(s.id, kind, f.start, f.end < known_to) for f in found}
                if states - self._told:
                    told.append((f"data {s.id}: {kind}"[:CODE_LENGTH], _message(s.id, kind, found)))
                self._told |= states
        return told

    def findings(self, known: Series) -> tuple[Finding, ...]:
        """What is wrong with `known`, in the order of time; gaps of the data itself among it."""
        n, first = len(known.values), quarter_of(known.start)
        midnight = max(0, (first + n) // PER_DAY * PER_DAY - first)
        named = {(f.start, f.kind): f for f in self._found(known, midnight - LEARNT_DAYS * PER_DAY, midnight)}
        if midnight < n:
            today = self._found(known, midnight - RECENT_DAYS * PER_DAY, n)
            named |= {(f.start, f.kind): f for f in today if f.end > first + midnight}
        return tuple(sorted(named.values()))

    def _found(self, known: Series, begin: int, end: int) -> tuple[Finding, ...]:
        """What columns `begin` to `end` show by themselves; the newest verdicts of each series are kept."""
        begin = max(0, begin)
        values = known.values[begin:end]
        key = hashlib.blake2b(f"{begin} ".encode() + values.tobytes(), digest_size=16).digest()
        with self._lock:
            kept = self._kept[known.id]
            verdict = kept.pop(key, None)
        if verdict is None:
            verdict = self._judged(known, begin, values)
        with self._lock:
            kept[key] = verdict
            while len(kept) > KEPT:
                del kept[next(iter(kept))]
        return verdict

    def _judged(self, known: Series, begin: int, values: Array) -> tuple[Finding, ...]:
        n, first = len(values), quarter_of(known.start) + begin
        if not np.isfinite(values).any():
            return ()
        panel = Panel(
            (known.id,), first, values[None], np.array([n]), np.zeros(1, dtype=np.int64), np.array([known.lower]),
            np.array([known.upper]),
        )  # fmt: skip
        return screened(panel, self.calendar.days(first, -(-n // PER_DAY) * PER_DAY))[1]


def _message(series: str, kind: str, found: list[Finding]) -> str:
    times = "; ".join(f"{rfc3339(moment_of(f.start))} to {rfc3339(moment_of(f.end))}" for f in reversed(found))
    what = "left as it is" if kind in NAMED_ONLY else "a gap to the forecasts"
    return f"{series}: {kind}, {what}: {times}"
