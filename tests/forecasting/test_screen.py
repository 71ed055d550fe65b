"""The data screen: planted faults of every kind are found and become gaps, clean data is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.calendar import Calendar
from forecasting.meter_rows import Finding, placed
from forecasting.panel import Panel
from forecasting.screen import NAMED_ONLY, screened
from vpp.domain.time import Array

STEEL = Path(__file__).parents[2] / "config/demo/series/steel.parquet"
CLOCK = Calendar("UTC")
AT = 96 * 100
KINDS = {
    "gap", "frozen", "spike", "unit_slip", "night_production", "anomaly", "out_of_bounds", "level_shift",
}  # fmt: skip


def steel() -> Array:
    return pd.read_parquet(STEEL)["mw"].to_numpy(float)


def panel(values: Array, upper: float = np.inf, lower: float = 0.0) -> Panel:
    n = len(values)
    bounds = (np.array([lower]), np.array([upper]))
    return Panel(("s",), 16804 * 96, values[None].copy(), np.array([n]), np.array([0]), *bounds)


def sun(n: int) -> Array:
    elevation = CLOCK.days(panel(np.zeros(n)).first, n).elevation_deg
    cloud = np.repeat(np.random.default_rng(3).uniform(0.3, 1.0, n // 8), 8)
    shine: Array = np.maximum(np.sin(np.deg2rad(elevation)), 0.0) * cloud
    return shine


def temperature(n: int) -> Array:
    rng, t = np.random.default_rng(5), np.arange(n)
    noise = np.convolve(rng.standard_normal(n), np.ones(96) / 8, "same")
    made: Array = 8 + 5 * np.sin(2 * np.pi * t / 96) + 2 * noise + 0.05 * rng.standard_normal(n)
    return made


def screen(values: Array, upper: float = np.inf, lower: float = 0.0) -> tuple[Array, list[Finding]]:
    p = panel(values, upper, lower)
    out, found = screened(p, CLOCK.days(p.first, p.n))
    moved = [Finding(f.start - p.first, f.end - p.first, f.kind, f.series, f.found - p.first) for f in found]
    return out.values[0], moved


def planted(part: slice, value: Callable[[Array], Array | float], base: Array) -> Array:
    out = base.copy()
    out[part] = value(base[part])
    return out


FAULTS = {
    "gap": (planted(slice(AT, AT + 5), lambda v: np.nan, steel()), "gap", 5),
    "frozen": (planted(slice(AT + 40, AT + 60), lambda v: v[0], steel()), "frozen", 20),
    "spike": (planted(slice(AT + 40, AT + 41), lambda v: 2.0, steel()), "spike", 1),
    "cold spike": (planted(slice(AT + 40, AT + 42), lambda v: v - 20.0, temperature(96 * 150)), "spike", 2),
    "four times": (planted(slice(AT, AT + 480), lambda v: 4 * v, steel()), "unit_slip", 480),
    "a quarter": (planted(slice(AT, AT + 480), lambda v: v / 4, steel()), "unit_slip", 480),
    "a thousand times": (planted(slice(AT, AT + 480), lambda v: 1000 * v, steel()), "unit_slip", 480),
    "a thousandth": (planted(slice(AT, AT + 480), lambda v: v / 1000, steel()), "unit_slip", 480),
    "a thousandth of the sun": (planted(slice(AT, AT + 480), lambda v: v / 1000, sun(96 * 150)), "unit_slip", 380),
    "sun by night": (planted(slice(AT, AT + 8), lambda v: 0.1, sun(96 * 150)), "night_production", 8),
    "warm nights": (planted(slice(AT, AT + 4), lambda v: v + 40.0, temperature(96 * 150)), "anomaly", 4),
    "negative load": (planted(slice(AT, AT + 3), lambda v: -0.3, steel()), "out_of_bounds", 3),
    "new level": (planted(slice(AT, len(steel())), lambda v: v + 0.5, steel()), "level_shift", 288),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_named_and_made_a_gap(fault: str) -> None:
    values, kind, length = FAULTS[fault]
    out, found = screen(values, lower=-np.inf if "cold" in fault or "warm" in fault else 0.0)
    hits = [f for f in found if f.kind == kind and AT - 96 <= f.start <= AT + 96]
    assert hits, f"{kind} not found among {found}"
    held = np.zeros(len(values), dtype=bool)
    for f in hits:
        held[f.start : f.end] = True
    assert held[AT : AT + 480].sum() >= 0.85 * length
    assert held.sum() <= 1.6 * length or kind in NAMED_ONLY
    assert np.isnan(out[held]).all() != (kind in NAMED_ONLY)


def test_a_new_level_is_named_and_stays_in_the_series() -> None:
    values = FAULTS["new level"][0]
    out, found = screen(values)
    shifted, other = np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
    for f in found:
        (shifted if f.kind == "level_shift" else other)[f.start : f.end] = True
    left = shifted & ~other
    assert left.sum() > 96
    np.testing.assert_array_equal(out[left], values[left])


def test_every_kind_is_planted() -> None:
    assert {kind for _, kind, _ in FAULTS.values()} == KINDS


def test_clean_steel_data_is_left_alone() -> None:
    values = steel()
    out, _ = screen(values)
    assert np.isnan(out).mean() <= 0.005
    left = np.isfinite(out)
    np.testing.assert_array_equal(out[left], values[left])


@pytest.mark.parametrize("values", [sun(96 * 150), temperature(96 * 150)])
def test_clean_weather_is_left_alone(values: Array) -> None:
    out, _ = screen(values, lower=-np.inf)
    assert np.isnan(out).mean() <= 0.005


def test_a_screen_at_an_issue_time_knows_nothing_later_and_is_not_taken_back() -> None:
    values = FAULTS["frozen"][0].copy()
    values[AT + 200] = 3.0
    whole, found = screen(values)
    for upto in (AT + 45, AT + 201, AT + 203):
        early, then = screen(values[:upto])
        other, _ = screen(np.concatenate([values[:upto], values[upto:] * 1000])[:upto])
        np.testing.assert_array_equal(early, other)
        known = {(f.start, f.kind) for f in found if f.found <= upto}
        assert {(f.start, f.kind) for f in then if f.found <= upto} == known
        assert not np.any(np.isnan(early) & np.isfinite(whole[:upto]))
    stuck = next(f for f in found if f.kind == "frozen" and f.start == AT + 40)
    assert stuck in [Finding(f.start, stuck.end, f.kind, f.series, f.found) for f in screen(values[: stuck.found])[1]]
    assert "frozen" not in [f.kind for f in screen(values[: stuck.found - 1])[1] if f.start == stuck.start]


@pytest.mark.parametrize("days", [1, 8, 9, 11, 20])
def test_a_short_series_is_screened_by_what_it_has(days: int) -> None:
    values = steel()[: days * 96].copy()
    values[-4:-2] = -0.3
    out, found = screen(values)
    assert [(f.start, f.end) for f in found if f.kind == "out_of_bounds"] == [(days * 96 - 4, days * 96 - 2)]
    assert np.isfinite(out).mean() > 0.9


def test_rows_with_gaps_duplicates_and_conflicts() -> None:
    made = placed("m", np.array([10, 11, 11, 13, 14, 14]), np.array([1.0, 2.0, 2.0, 4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(made.values, [1.0, 2.0, np.nan, 4.0, np.nan])
    assert [(f.kind, f.start, f.end) for f in made.findings] == [
        ("duplicate", 11, 12), ("gap", 12, 13), ("conflict", 14, 15),
    ]  # fmt: skip
