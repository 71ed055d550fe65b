"""Networks, days and injections of the network benchmarks, and the same days scaled to their limits."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from grid_models import cache
from grid_models.compile import State, compile_state, switching_of
from grid_models.spec import NetworkSpec
from grid_models.tables import Bools, NetTables
from vpp.domain.time import QUARTER, Array

ROOT = Path(__file__).resolve().parents[1]
PANDAPOWER_NETS = ("case118", "mv_oberrhein")
STEPS = 96


@dataclass(frozen=True)
class GridCase:
    """A net as pandapower has it and as our tables, and net injections (T,B) in MW and Mvar of a day."""

    name: str
    net: Any
    tables: NetTables
    p_mw: Array
    q_mvar: Array

    @property
    def taps(self) -> tuple[int, ...]:
        """Positions of the net, which nothing moves here."""
        return tuple(map(int, self.tables.trafos.tap_pos))

    def state(self) -> State:
        """The net's own switching state."""
        return compile_state(self.tables, switching_of((), {}))

    @property
    def given(self) -> Bools:
        """(B,) buses whose voltage a source gives."""
        state = self.state()
        return np.asarray(state.node >= state.n, dtype=np.bool_)

    def scaled(self, factor: Array) -> GridCase:
        """Injections times a factor (T,)."""
        return GridCase(self.name, self.net, self.tables, self.p_mw * factor[:, None], self.q_mvar * factor[:, None])


def grid_case(name: str, day: date) -> GridCase:
    """A SimBench code, or a net that pandapower ships, on one day of 96 quarters of UTC+1.

    SimBench loads and generators follow the data set's profiles of that day of 2016. The others have
    none: they follow a fixed curve between 55 and 100 % of the values in the net.
    """
    own = name in PANDAPOWER_NETS
    source = {"pandapower": name} if own else {"simbench": name}
    spec = NetworkSpec(
        **source, tap_changer="ratio", tap_dead_band_pu=0.02, tap_set_point_pu=1.0, drop_storage=True
    )
    folder = cache.ensure(spec, ROOT / ".cache")
    tables, background, series, reactive = cache.read(folder)
    net = pickle.loads((folder / cache.NET).read_bytes())
    if own:
        p, q = background.injection(*np.ones((2, len(background.series), STEPS)))
        curve = day_curve()[:, None]
        return GridCase(name, net, tables, p * curve, q * curve)
    start = datetime.combine(day, time(), ZoneInfo("Etc/GMT-1"))
    first = (start - next(iter(series.values())).start) // QUARTER
    length = min(len(s.values) for s in series.values())
    if not 0 <= first <= length - STEPS:
        raise SystemExit(f"the profiles of {name} do not cover {day}: they begin {start - first * QUARTER:%Y-%m-%d}")
    at, none = slice(first, first + STEPS), np.zeros(STEPS)
    p_values = np.array([series[s].values[at] for s in background.series])
    q_values = np.array([reactive[s][at] if s in reactive else none for s in background.series])
    return GridCase(name, net, tables, *background.injection(p_values, q_values))


def day_curve() -> Array:
    """Factors (96,) of a day with a low at 4 h and a peak at 19 h."""
    hour = np.arange(STEPS) / 4.0
    return 0.775 + 0.225 * np.cos(2.0 * np.pi * (hour - 19.0 + 1.5 * np.sin(np.pi * hour / 24.0)) / 24.0)
