"""Faults in a portfolio's own series: named by an alarm, a gap to whoever learns, and never seen before their time."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.calendar import Calendar, quarter_of
from forecasting.panel import Panel
from forecasting.pipeline import Pipeline
from tests.service.conftest import DEMO, ISSUED, Make
from tests.service.test_loop import Listed
from vpp.domain.command import MeterRow
from vpp.domain.forecast import History, Series
from vpp.domain.time import QUARTER, Array, TimeGrid
from vpp.service.bootstrap import open_system
from vpp.service.data_screen import DataScreen
from vpp.service.event_clock import EventClock
from vpp.service.loop import Loop
from vpp.service.series_book import PREFIX, SeriesBook
from vpp.service.settings import Settings
from vpp.service.system import System

FAULT = ISSUED - timedelta(days=3)
LENGTH = 8


def steel() -> Series:
    """A file's series from a Monday on to well after the fault, which is still to be planted."""
    values = pd.read_parquet(DEMO / "series/steel.parquet")["mw"].to_numpy(float)[: 96 * 60]
    return Series("steel", ISSUED - timedelta(days=49, hours=10), values, upper=0.65)


def planted(series: Series) -> Series:
    """Two hours with the sign turned: outside of the bounds."""
    at = (FAULT - series.start) // QUARTER
    values = series.values.copy()
    values[at : at + LENGTH] = -0.4
    return Series(series.id, series.start, values, upper=series.upper)


def screened_book(series: Series, cut: datetime = ISSUED + timedelta(days=5)) -> SeriesBook:
    return SeriesBook(DataScreen(Calendar()).of({series.id: series}), cut)


def known(book: SeriesBook, now: datetime) -> Array:
    return book.history(now).until_known("steel").values


def test_a_fault_is_a_gap_to_the_forecaster_and_the_file_keeps_it() -> None:
    given = planted(steel())
    book = screened_book(given)
    at = (FAULT - given.start) // QUARTER
    values = known(book, ISSUED)
    assert np.isnan(values[at : at + LENGTH]).all()
    left = np.isfinite(values)
    np.testing.assert_array_equal(values[left], given.values[: len(values)][left])
    assert left.mean() > 0.98
    assert (given.values[at : at + LENGTH] == -0.4).all()


@pytest.mark.parametrize("hours", [0, 5, 13, 30, 80])
def test_what_comes_after_an_issue_time_has_no_part_in_what_is_masked(hours: int) -> None:
    now = FAULT + timedelta(hours=hours)
    given = planted(steel())
    n = given.known(now)
    moved = given.values.copy()
    moved[n:] = 500.0 - moved[n:][::-1]
    other = Series(given.id, given.start, moved, upper=given.upper)
    whole, shifted = screened_book(given), screened_book(other)
    known(shifted, now + timedelta(days=3))
    np.testing.assert_array_equal(known(whole, now), known(shifted, now))
    later = History(now, whole.history(now + timedelta(days=3)).series)
    np.testing.assert_array_equal(known(whole, now), later.until_known("steel").values)


def test_what_is_learnt_and_forecast_is_as_without_the_faulty_values_and_without_the_future() -> None:
    given = planted(steel())
    at, n = (FAULT - given.start) // QUARTER, given.known(ISSUED)
    gaps, moved = given.values.copy(), given.values.copy()
    gaps[at : at + LENGTH] = np.nan
    moved[n:] += 300.0
    grid = TimeGrid.uniform(ISSUED, QUARTER, 96)
    made = []
    for values in (given.values, gaps, moved):
        past = screened_book(replace(given, values=values)).history(ISSUED)
        made.append((Panel.of(past).values, Pipeline().forecast(past, grid, 5).quantiles))
    for panel, quantiles in made[1:]:
        np.testing.assert_array_equal(panel, made[0][0])
        np.testing.assert_array_equal(quantiles, made[0][1])
    raw = Pipeline().forecast(History(ISSUED, {"steel": given}), grid, 5).quantiles
    assert np.abs(raw - made[0][1]).max() > 0.05


def test_a_new_level_is_named_and_not_made_a_gap() -> None:
    series = steel()
    at = (FAULT - timedelta(days=4) - series.start) // QUARTER
    values = series.values.copy()
    values[at:] += 0.5
    screen = DataScreen(Calendar())
    given = replace(series, values=values, upper=np.inf)
    past = SeriesBook(screen.of({"steel": given}), ISSUED).history(ISSUED)
    found = screen.findings(replace(given, values=values[: given.known(ISSUED)]))
    first = quarter_of(given.start)
    masked = [k for f in found if f.kind != "level_shift" for k in range(f.start - first, f.end - first)]
    assert [f.kind for f in found if f.kind == "level_shift"] == ["level_shift"]
    assert np.flatnonzero(np.isnan(past.until_known("steel").values)).tolist() == sorted(set(masked))
    (told,) = [message for code, message in screen.news(past) if "level_shift" in code]
    assert "steel: level_shift, left as it is: " in told


def test_a_metered_value_is_screened_in_the_quarter_after_it() -> None:
    series = steel()
    book = screened_book(series, ISSUED)
    book.append([MeterRow(f"{PREFIX}steel", ISSUED, 15, -0.4, ISSUED + QUARTER)])
    at = (ISSUED - series.start) // QUARTER
    assert len(known(book, ISSUED + QUARTER)) == at
    assert np.isnan(known(book, ISSUED + 2 * QUARTER)[at])


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, its file with a working day of a meter that stood still."""
    folder = tmp_path_factory.mktemp("faulty") / "portfolio"
    shutil.copytree(DEMO, folder)
    path = folder / "series/steel.parquet"
    table = pd.read_parquet(path)
    at = int(np.flatnonzero(table["local_time"] == pd.Timestamp("2016-06-14T08:00"))[0])
    table.loc[at : at + 39, "mw"] = 0.3217
    table.to_parquet(path, index=False)
    return folder


def test_a_fault_in_a_portfolio_file_is_named_once_and_not_learnt(faulty: Path, settings: Settings) -> None:
    system = open_system(faulty, "sqlite://", settings, ISSUED, models=False)
    stuck = TimeGrid.uniform(datetime.fromisoformat("2016-06-14T06:00+00:00"), QUARTER, 40)
    series = system.history(ISSUED).until_known("steel")
    at = (stuck.start - series.start) // QUARTER
    assert np.isnan(series.values[at : at + 40]).all()
    system.name_faults(ISSUED)
    named = {a.code: a for a in system.store.alarms.list()}
    assert "2016-06-14T06:00:00Z to 2016-06-14T16:00:00Z" in named["data steel: frozen"].message
    assert {code.split(":")[0] for code in named} == {"data steel"}
    system.name_faults(ISSUED)
    assert {a.code: a.count for a in system.store.alarms.list()} == dict.fromkeys(named, 1)
    system.store.close()


def test_the_loop_names_a_fault_that_the_meter_brings(make: Make) -> None:
    system: System = make(ISSUED, network=False)
    system.screen = DataScreen(Calendar())
    system.book = SeriesBook(system.screen.of({"steel": steel()}), ISSUED)
    system.name_faults(ISSUED)
    before = {a.code: a.count for a in system.store.alarms.list()}
    bad = MeterRow(f"{PREFIX}steel", ISSUED, 15, -0.4, ISSUED + QUARTER)
    system.book.append([bad])
    Loop(Listed(system), EventClock(system)).tick(ISSUED + 2 * QUARTER)
    after = {a.code: a for a in system.store.alarms.list()}
    assert after["data steel: out_of_bounds"].count == before.get("data steel: out_of_bounds", 0) + 1
    assert after["data steel: out_of_bounds"].message.startswith(
        "steel: out_of_bounds, a gap to the forecasts: 2016-07-11T08:00:00Z to 2016-07-11T08:15:00Z"
    )
    system.store.close()
