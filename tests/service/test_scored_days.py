"""Live scores: what raises an alarm, what is no outcome, and what the API tells of each series."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

from adapters.store import open_store
from forecasting.calendar import Calendar
from tests.service.api_world import World, world
from tests.service.conftest import ISSUED, ZONE, Make
from tests.service.test_learning import MIDNIGHT, Truth, day_grid, served, truth
from vpp.domain.time import QUARTER, TimeGrid, local_midnight
from vpp.service.data_screen import DataScreen
from vpp.service.learning import SCORES, Learning
from vpp.service.series_book import SeriesBook

__all__ = ["truth", "world"]


def test_a_forecast_worse_than_the_naive_raises_an_alarm(make: Make, truth: Truth) -> None:
    system = served(make, truth, open_store("sqlite://"), ISSUED)
    learning = Learning(system)
    for day in range(-5, -1):
        now = ISSUED + timedelta(days=day)
        made = system.forecast(now, day_grid(now), 0)
        quantiles = made.quantiles.copy()
        quantiles[made.index["steel"]] = 9.0
        system.last_forecast = replace(made, quantiles=quantiles)
        learning.keep(now)
    learning.score(ISSUED)
    (alarm,) = system.store.alarms.list()
    assert alarm.code == SCORES
    assert "1 series (steel) worse than the naive over the last 7 days" in alarm.message
    assert re.search(r"series \(.*\) with a 90 % band that covers under 80 % over", alarm.message.split("; ")[1])


def test_a_day_told_in_another_unit_is_no_outcome(make: Make, truth: Truth) -> None:
    """One day of the meter in kW: it has no score, and what it was first given goes; the other days keep theirs."""
    yesterday, told = ISSUED - timedelta(days=1), {}
    for factor in (1.0, 1000.0):
        system = served(make, truth, open_store("sqlite://"), ISSUED)
        given = truth["steel"]
        first = (local_midnight((ISSUED - timedelta(days=2)).date(), ZONE) - given.start) // QUARTER
        values = given.values.copy()
        values[first : first + 96] *= factor
        screen = DataScreen(Calendar(ZONE))
        system.book = SeriesBook(screen.of({"steel": replace(given, values=values)}), ISSUED)
        learning = Learning(system)
        for day in range(-5, -1):
            now = ISSUED + timedelta(days=day)
            system.forecast(now, day_grid(now), 0)
            learning.keep(now)
        learning.score(yesterday)
        learning.score(ISSUED)
        told[factor] = system.store.forecasts.scores(ISSUED - timedelta(days=7), ISSUED)
    saturday = MIDNIGHT - timedelta(days=3)
    assert saturday in {s.day for s in told[1.0]}
    assert told[1000.0] == [s for s in told[1.0] if s.day != saturday]


def test_scores_are_asked_for_by_series(world: World) -> None:
    assert world.ask(world.operator, "GET", "/v1/forecasts/scores").json()["series"] == {}
    assert world.ask(world.operator, "GET", "/v1/forecasts/scores?days=29").status_code == 422
    assert world.ask(world.glass_works, "GET", "/v1/forecasts/scores").status_code == 403
    learning = Learning(world.system)
    for day in range(2, 6):
        now = world.now - timedelta(days=day)
        world.system.forecast(now, TimeGrid.between(now, now + timedelta(days=2), QUARTER), 0)
        learning.keep(now)
    learning.score(world.now)
    found = world.ask(world.operator, "GET", "/v1/forecasts/scores?days=28").json()
    one = found["series"]["load:G3-M"]
    assert one["source"] == "naive"
    assert one["pinball"] == one["pinball_naive"]
    assert one["n"] == 4 * 96
    assert list(one["coverage"]) == ["50", "80", "90"]
    assert len(one["reliability"]) == 9
    assert one["trained_until"] is None
    assert found["worse"] == []
    assert world.ask(world.operator, "GET", "/v1/forecasts/models").json() == []
