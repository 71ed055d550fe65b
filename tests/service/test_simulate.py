"""The closed loop on a virtual plant: twenty lockstep minutes with a restart in the middle, and how it starts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters.exclusive import hold
from adapters.plant_link import PlantFailed, connect
from forecasting.pipeline import Pipeline
from tests.service.conftest import DAY, DEMO, ISSUED, Make, local
from vpp.domain.command import Telemetry
from vpp.domain.errors import InputFaults, NotFound
from vpp.domain.schedule import Schedule
from vpp.domain.time import MINUTE, QUARTER, TimeGrid
from vpp.service.outcome import commands
from vpp.service.portfolio import load_portfolio
from vpp.service.replay import replay_report
from vpp.service.settings import Settings
from vpp.service.simulate import Request, Simulation, plant_directory, prepare, recall, run, state_at

MIDNIGHT = local("2016-07-12 00:00")


def silent(*_: object) -> None:
    """No progress bar."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with little time for its plans: what is tested here is the loop."""
    made = tmp_path_factory.mktemp("portfolio") / "demo"
    shutil.copytree(DEMO, made)
    text = (made / "stages.yaml").read_text()
    short, count = re.subn(r"(day_ahead: .*deadline: PT)\d+S", r"\g<1>15S", text)
    assert count == 1
    (made / "stages.yaml").write_text(short)
    return made


@pytest.fixture(scope="module")
def request_(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Request]:
    """One day in lockstep; its plant is ended afterwards, whatever happened."""
    database = tmp_path_factory.mktemp("simulated") / "day.db"
    yield Request(folder, DAY, 1, 1, None, database)
    try:
        connect(plant_directory(database) / "plant.json").shutdown()
    except PlantFailed:
        pass


@pytest.fixture(scope="module")
def untrained() -> Iterator[None]:
    """The naive forecasts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("train_day_ahead", "train_intraday"):
            patch.setattr(Pipeline, name, silent)
        yield


def some_minutes(simulation: Simulation, minutes: int) -> None:
    """Run from where the plant is."""
    run(replace(simulation, end=simulation.link.hello().now + minutes * MINUTE), silent)


def close(simulation: Simulation) -> None:
    """As a process that ends: the plant goes on waiting."""
    simulation.system.store.close()
    if simulation.system.devices is not None:
        simulation.system.devices.close()
    simulation.link.close()
    simulation.lock.close()


@pytest.fixture(scope="module")
def halves(request_: Request, settings: Settings, untrained: None) -> Iterator[dict[str, Any]]:
    """Ten minutes, a restart, ten minutes; what was there after each."""
    seen: dict[str, Any] = {}
    first = prepare(request_, settings, silent)
    seen["start"] = first.link.hello().now, first.resumed, first.system.epoch
    seen["states"] = first.link.states()
    seen["initial"] = dict(first.initial)
    some_minutes(first, 10)
    seen["first"] = first.system.store.runs.counts()
    seen["half"] = commands(first, first.link)
    close(first)
    second = prepare(request_, settings, silent)
    seen["resumed"] = second.link.hello().now, second.resumed, second.system.epoch
    seen["recalled"] = dict(second.initial)
    some_minutes(second, 10)
    seen["simulation"] = second
    yield seen
    second.link.shutdown()
    second.system.store.close()


@pytest.mark.slow
def test_it_starts_at_midnight_in_the_state_the_plan_ends_with(halves: dict[str, Any]) -> None:
    assert halves["start"] == (MIDNIGHT, False, 1)
    for asset, state in halves["initial"].items():
        assert halves["states"][asset]["stored_mwh"] == pytest.approx(state.stored_mwh, abs=1e-6), asset
        assert halves["states"][asset]["on"] == state.on or state.power_mw == 0.0, asset


@pytest.mark.slow
def test_the_first_day_is_sold_and_planned_the_morning_before(halves: dict[str, Any]) -> None:
    store = halves["simulation"].system.store
    counts = store.runs.counts()
    assert counts["day_ahead/bid"] == counts["day_ahead/plan"] == 1
    plan = store.runs.latest("day_ahead", "plan")
    assert plan is not None and plan.issued_at == ISSUED
    assert len(store.market.positions("demo-unit", MIDNIGHT, MIDNIGHT + timedelta(days=1))) == 24


@pytest.mark.slow
def test_every_minute_runs_once_across_the_restart(halves: dict[str, Any]) -> None:
    store = halves["simulation"].system.store
    assert halves["first"]["real_time/track"] == 10
    assert store.runs.counts() == {
        "day_ahead/bid": 1, "day_ahead/plan": 1, "intraday/roll": 2, "real_time/track": 20,
    }  # fmt: skip
    cycles = [c.cycle_start for c in store.runs.cycles("real_time")]
    assert cycles == [MIDNIGHT + k * MINUTE for k in range(20)]
    assert not store.runs.cycles(unfinished_only=True)


@pytest.mark.slow
def test_the_restart_goes_on_at_the_plants_minute_under_a_new_epoch(halves: dict[str, Any]) -> None:
    assert halves["resumed"] == (MIDNIGHT + 10 * MINUTE, True, 2)
    assert halves["recalled"] == halves["initial"]


@pytest.mark.slow
def test_no_command_is_lost_or_executed_twice(halves: dict[str, Any]) -> None:
    simulation = halves["simulation"]
    counts = commands(simulation, simulation.link)
    assert counts["lost"] == counts["executed_twice"] == counts["rejected"] == 0
    assert counts["acked"] > halves["half"]["acked"] > 100
    assert counts["sent"] == sum(counts[k] for k in ("acked", "expired", "superseded", "rejected", "lost"))
    now = simulation.link.hello().now
    started = {(r.setpoint.asset_id, r.setpoint.valid_from) for r in simulation.system.store.commands.recent(1000)}
    assert simulation.link.log()["executed"] == sum(start < now for _, start in started), (
        "what the restart announced again for the same quarter took the place of the first"
    )


@pytest.mark.slow
def test_devices_did_what_they_were_told(halves: dict[str, Any]) -> None:
    """A battery's last set-point is what it does, within its ramp."""
    simulation = halves["simulation"]
    told = simulation.system.store.commands.recent(1, "battery-glass")[0]
    assert told.readback == pytest.approx(told.setpoint.value, abs=1e-3)
    assert simulation.link.states()["battery-glass"]["power_mw"] == pytest.approx(told.setpoint.value, abs=0.05)


@pytest.mark.slow
def test_the_meter_knows_thirty_days_and_today(halves: dict[str, Any]) -> None:
    system = halves["simulation"].system
    rows = system.store.meters.read("mp:chambers", MIDNIGHT - timedelta(days=30), MIDNIGHT)
    assert len(rows) == 30 * 96
    assert system.store.meters.last_start("mp:chambers") == MIDNIGHT
    values = system.book.history(MIDNIGHT + 20 * MINUTE).until_known("load:G3-M").values
    assert np.isfinite(values[-1])


@pytest.mark.slow
def test_the_forecast_of_every_stage_is_made_again_bit_for_bit(
    halves: dict[str, Any], request_: Request, settings: Settings
) -> None:
    """From the record and the portfolio's folder alone, as `vpp forecast --replay` does."""
    runs = {(r.stage, r.purpose): r.id for r in halves["simulation"].system.store.runs.list(100)}
    assert len(runs) == 4
    for run_id in runs.values():
        told = replay_report(request_.database, request_.portfolio, run_id, settings)
        assert told["same"], runs
        assert len(told["series"]["steel"]["quantiles"]) == len(told["levels"])


@pytest.mark.slow
def test_another_simulation_does_not_take_this_record(
    halves: dict[str, Any], request_: Request, settings: Settings
) -> None:
    halves["simulation"].lock.close()
    for other in (replace(request_, seed=2), replace(request_, start=date(2016, 7, 13)), replace(request_, speed=60.0)):
        with pytest.raises(NotFound, match="holds another simulation"):
            prepare(other, settings, silent)


def test_a_record_whose_plant_is_gone_says_so(make: Make, settings: Settings, tmp_path: Path) -> None:
    from adapters.store import open_store
    from vpp.domain.time import rfc3339
    from vpp.service.simulate import RECORD

    database = tmp_path / "gone.db"
    store = open_store(f"sqlite:///{database}")
    end = MIDNIGHT + timedelta(days=1)
    identity = {"start": rfc3339(MIDNIGHT), "end": rfc3339(end), "seed": 1, "speed": None}
    store.settings.put(RECORD, identity | {"portfolio_digest": load_portfolio(DEMO).digest})
    store.close()
    with pytest.raises(NotFound, match="no longer runs"):
        prepare(Request(DEMO, DAY, 1, 1, None, database), settings, silent)


def test_a_record_that_another_process_runs_is_refused(settings: Settings, tmp_path: Path) -> None:
    database = tmp_path / "busy.db"
    held = hold(database)
    with pytest.raises(InputFaults, match="another process runs this record"):
        prepare(Request(DEMO, DAY, 1, 1, None, database), settings, silent)
    held.close()
    assert not database.exists()
    hold(database).close()


def planned(make: Make, on: list[float]) -> tuple[Any, Schedule]:
    """A system and a plan of four hours in which mill-2 runs as `on` says by the hour."""
    system = make(ISSUED, network=False)
    grid = TimeGrid.uniform(ISSUED, QUARTER, 4 * len(on))
    ids = tuple(a.id for a in system.portfolio.assets)
    row = np.repeat(on, 4)
    power = np.zeros((len(ids), grid.n))
    power[ids.index("mill-2")] = -1.5 * row
    power[ids.index("wind-89")] = 4.0
    content = {"battery-glass": np.linspace(1.0, 2.0, grid.n)}
    return system, Schedule(ids, grid, power, power * 0.0, commitment={"mill-2": row}, stored_mwh=content)


@pytest.mark.parametrize(
    ("on", "minutes"), [([1, 1, 1, 1], 240 + 120), ([0, 0, 1, 1], 120), ([1, 0, 1, 1], 120), ([0, 1, 1, 1], 180)]
)
def test_how_long_a_mill_has_run_when_the_plant_starts(make: Make, on: list[float], minutes: int) -> None:
    """It is on at first, for two hours by then."""
    system, plan = planned(make, on)
    shown = state_at(system, plan, plan.grid.edges[-2])
    assert shown["mill-2"].on
    assert shown["mill-2"].minutes_in_state == minutes - 15
    rises = np.flatnonzero(np.diff(np.append(system.loaded.states(plan.grid.start)["mill-2"].on, on).astype(float)) > 0)
    assert len(shown["mill-2"].started) == len(rises)
    assert shown["wind-89"].power_mw == 4.0
    assert shown["battery-glass"].stored_mwh == pytest.approx(plan.stored_mwh["battery-glass"][-2])


def test_the_initial_state_survives_the_record(make: Make) -> None:
    from vpp.service.simulate import _remember

    system, plan = planned(make, [1, 1])
    initial = state_at(system, plan, ISSUED + QUARTER)
    request = Request(DEMO, DAY, 1, 1, None, Path("x.db"))
    _remember(system, request, MIDNIGHT, MIDNIGHT + timedelta(days=1), initial)
    assert recall(system) == initial


def test_telemetry_tells_the_starts_of_the_last_day(make: Make) -> None:
    system, _ = planned(make, [1, 1])
    limited = next(a.id for a in system.portfolio.assets if getattr(a.params, "max_starts_per_day", None) is not None)
    ages_h = {30.0: False, 29.0: True, 20.0: False, 19.0: True, 2.0: False, 1.0: True}
    shown = [Telemetry(limited, ISSUED - timedelta(hours=h), 0.0, 0.0, 1.0, on, True, 9, False, 0)
             for h, on in ages_h.items()]  # fmt: skip
    system.store.meters.state_write(shown)
    assert system.states(ISSUED)[limited].started == (ISSUED - timedelta(hours=19), ISSUED - timedelta(hours=1))
