"""The fleet case: half batteries, half on/off loads, one day in quarters behind one connection.

All powers MW, energies MWh, injection positive; data are drawn from a fixed seed, so a size names a case.

    battery   p = d - c,  e[t] = e[t-1] + h (eta c - d / eta),  min <= e <= max,  e[last] >= e[start],  wear h (c + d)
    load      p = -power on,  on - on[t-1] = start - stop,  minimum run and stop by windows of starts and stops,
              s[t] = s[t-1] + h power on + missed - h drawn,  0 <= s <= capacity,  0 <= missed <= h drawn
    site      net[t] = sum p,  -connection <= net <= connection,  peak >= -net[t]
    cost      wear + starts + missed - price h net + charge peak

Each load keeps a store of its own product, counted in the electricity that made it, from which it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STEPS, HOURS = 96, 0.25
MINIMUM_TIMES_H = ((1.0, 0.5), (2.0, 1.0), (4.0, 2.0))
"""Minimum run and stop of the three makes of loads, taken in turn."""
LOW_SHARE, HIGH_SHARE = 0.05, 0.95
MISSED_EUR_PER_MWH = 400.0
START_EUR = 15.0
WEAR_EUR_PER_MWH = 4.0
PEAK_EUR_PER_MW = 60.0


@dataclass(frozen=True)
class Batteries:
    """Arrays (n,); `eta` is the efficiency of each way."""

    power_mw: Array
    capacity_mwh: Array
    low_mwh: Array
    high_mwh: Array
    start_mwh: Array
    eta: Array


@dataclass(frozen=True)
class Loads:
    """Arrays (m,), `drawn_mw` (m, T); a load of make k has the minimum times MINIMUM_TIMES_H[k]; all begin stopped."""

    power_mw: Array
    capacity_mwh: Array
    start_mwh: Array
    drawn_mw: Array
    make: NDArray[np.int64]

    def minimum_steps(self, k: int) -> tuple[int, int]:
        """Minimum run and stop of make `k`, steps."""
        run_h, stop_h = MINIMUM_TIMES_H[k]
        return round(run_h / HOURS), round(stop_h / HOURS)


@dataclass(frozen=True)
class Case:
    batteries: Batteries
    loads: Loads
    price_eur_per_mwh: Array
    connection_mw: float


def fleet_case(assets: int, seed: int = 11) -> Case:
    """`assets` of them, half of each sort. Raises ValueError below 2."""
    if assets < 2:
        raise ValueError("a fleet case needs at least 2 assets")
    rng = np.random.default_rng(seed)
    n, m = assets - assets // 2, assets // 2
    capacity = rng.uniform(0.5, 4.0, n)
    power = capacity * rng.uniform(0.25, 1.0, n)
    batteries = Batteries(
        power, capacity, LOW_SHARE * capacity, HIGH_SHARE * capacity, capacity * rng.uniform(0.3, 0.7, n),
        np.sqrt(rng.uniform(0.85, 0.92, n)),
    )  # fmt: skip
    rated = rng.uniform(0.2, 1.5, m)
    hour = (np.arange(STEPS) + 0.5) * HOURS
    drawn = rated[:, None] * rng.uniform(0.3, 0.6, (m, 1)) * (1.0 + 0.3 * np.sin(2.0 * np.pi * hour / 24.0))
    loads = Loads(rated, 10.0 * rated, rated * rng.uniform(3.0, 7.0, m), drawn, np.arange(m) % len(MINIMUM_TIMES_H))
    price = 70.0 + 35.0 * np.sin(2.0 * np.pi * (hour - 8.0) / 12.0) + rng.normal(0.0, 4.0, STEPS)
    return Case(batteries, loads, price, float(0.25 * power.sum() + 0.6 * rated.sum()))
