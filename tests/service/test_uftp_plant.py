"""The whole way on the virtual plant: an order over UFTP, devices that follow it, meters that settle it (slow)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from shapeshifter_uftp.uftp import DPrognosis, FlexOffer, FlexOrderResponse, FlexSettlementResponse

from adapters.plant_link import PlantFailed, connect
from forecasting.pipeline import Pipeline
from tests.service.conftest import DAY, DEMO, ZONE, local
from tests.service.uftp_world import expanded, later, served
from vpp.domain.time import QUARTER, TimeGrid, local_midnight
from vpp.service.settings import Settings
from vpp.service.simulate import Request, Simulation, plant_directory, prepare, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
MIDNIGHT, GRID = local("2016-07-12 00:00"), TimeGrid.local_day(DAY, ZONE)
FIRST, LAST = 5, 8
"""ISPs from 01:00 to 02:00."""


def silent(*_: object) -> None:
    """No progress bar, no training."""


@pytest.fixture
def simulation(settings: Settings, tmp_path: Path) -> Iterator[Simulation]:
    """The demo day in lockstep with the naive forecasts and time for its plans; its plant ends with the test."""
    database, folder = tmp_path / "day.db", tmp_path / "demo"
    shutil.copytree(DEMO, folder)
    text, count = re.subn(r"deadline: PT\d+S", "deadline: PT40S", (folder / "stages.yaml").read_text())
    assert count == 3
    (folder / "stages.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("train_day_ahead", "train_intraday"):
            patch.setattr(Pipeline, name, silent)
        try:
            yield prepare(Request(folder, DAY, 1, 1, None, database), settings, silent)
        finally:
            try:
                connect(plant_directory(database) / "plant.json").shutdown()
            except PlantFailed:
                pass


def test_what_was_ordered_is_metered_and_settled(simulation: Simulation, tmp_path: Path) -> None:
    system = simulation.system
    with served(system, tmp_path, MIDNIGHT) as world:
        said = world.next(DPrognosis, within_s=60.0)
        world.settle_down()
        world.client.send_flex_request(world.request(DAY, [(FIRST, 4, -800_000, 0)], later(MIDNIGHT, 0.5)))
        offer = world.next(FlexOffer, within_s=300.0)
        order = world.order(offer)
        world.client.send_flex_order(order)
        assert world.next(FlexOrderResponse, within_s=120.0).result == "Accepted"
        run(replace(simulation, end=MIDNIGHT + 9 * QUARTER), silent)
        power, forecast = expanded(order.isps, "power", 96), expanded(said.isps, "power", 96)
        points = {a.metering_point for a in world.uftp.config.groups["feeder-9"]}
        own = np.zeros(96)
        for row in simulation.link.meters(MIDNIGHT, MIDNIGHT + 8 * QUARTER):
            if row.point in points and row.minutes == 15:
                own[GRID.index_of(row.start)] -= 1e6 * row.mw
        owed = np.flatnonzero(np.isfinite(power))
        short = np.maximum(own[owed] - forecast[owed] - power[owed], 0.0) / -power[owed]
        assert set(owed) <= set(range(FIRST - 1, LAST))
        assert short.mean() < 0.1, "nine tenths of the energy ordered are delivered at least"
        assert short[1:].max() < 0.05, "in the first minute of the first ISP mills still count as they are measured"
        world.now = local_midnight(DAY + timedelta(days=1), ZONE)
        actual = {k + 1: round(float(own[k])) for k in owed}
        world.client.send_flex_settlement(world.settlement(order, said, actual))
        settled = world.next(FlexSettlementResponse)
        (status,) = settled.flex_order_settlement_statuses
        assert (settled.result, status.disposition, status.dispute_reason) == ("Accepted", "Accepted", None)
