"""Scores of past forecasts for whoever looks: as last computed, and renewed in a thread of their own.

Making past forecasts again takes seconds, so nobody waits for it: `latest` answers at once, and asks for new scores
when none are being computed and the service's clock has passed into another quarter since the last ones.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime

from vpp.domain.forecast import Forecast
from vpp.domain.forecast_score import SeriesScore
from vpp.domain.time import QUARTER, floor_to
from vpp.service.system import System

log = logging.getLogger(__name__)
MOST_AT_A_TIME = 4
"""A forecast of the demo made again takes about half a second of one processor."""


@dataclass
class ScoreKeeper:
    """`found` holds the last scores and `earlier` a forecast of a day ago; None before the first."""

    found: tuple[SeriesScore, ...] | None = None
    earlier: Forecast | None = None
    known_at: datetime | None = None
    worker: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def latest(self, system: System, now: datetime) -> tuple[SeriesScore, ...] | None:
        """The scores of every series with an outcome; None until they were computed once."""
        quarter = floor_to(now, QUARTER)
        with self._lock:
            idle = self.worker is None or not self.worker.is_alive()
            if idle and quarter != self.known_at:
                self.worker = threading.Thread(target=self._renew, args=(system, quarter), daemon=True)
                self.worker.start()
        return self.found

    def _renew(self, system: System, quarter: datetime) -> None:
        try:
            self.found = system.forecaster.track_record(system.history(quarter), MOST_AT_A_TIME)
            self.earlier = system.forecaster.past_forecast(quarter)
        except Exception:
            log.exception("past forecasts could not be scored")
        self.known_at = quarter
