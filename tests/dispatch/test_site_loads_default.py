"""What buildings, thermostats, water works and utilities do by themselves: the plan's default is the plant's day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dispatch.ladder import device_default, merit_order
from dispatch.registry import KINDS
from tests.dispatch.test_kinds_contract import GRIDS, fleet_and_context
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array, TimeGrid
from vpp.plant.device import Order, State
from vpp.plant.kinds import DEVICES
from vpp.plant.making import Commons, Making, Randomness

LOOSE_MW = {"building": 0.05, "thermostat_cluster": 0.01, "water_works": 0.01, "utilities": 1e-3}
"""A quarter's mean against its minutes: a thermostat that turns on inside the quarter has started too late by then."""


def plant_day(
    asset: Asset, start: State, inputs: Mapping[str, Array], grid: TimeGrid, ordered: Array | None = None
) -> tuple[Array, Array]:
    """Quarter means and contents at the quarters' ends of one device, minute by minute; `ordered` is injection, MW."""
    params = asset.params.model_dump(mode="json")
    making = Making(asset.id, 0, params, 0.0, start, 1, "Europe/Berlin", Randomness(), Commons())
    device: Any = DEVICES[asset.kind].build(making)
    power, stored = np.zeros(grid.n), np.zeros(grid.n)
    for minute in range(grid.n * 15):
        t = minute // 15
        order = None if ordered is None else Order("power_mw", float(ordered[t]), t)
        device.step(order, {k: float(v[t]) for k, v in inputs.items()}, minute)
        power[t] += device.state.power_mw / 15.0
        stored[t] = device.state.stored_mwh
    return power, stored


@pytest.mark.parametrize("kind", sorted(LOOSE_MW))
def test_the_default_is_what_the_plant_does_when_it_hears_nothing(kind: str) -> None:
    grid = GRIDS["100_quarters"]
    fleet, context = fleet_and_context(kind, grid, 1)
    asset, inputs = fleet[0], context.inputs[fleet[0].id]
    state = replace(context.states[asset.id], on=True)
    done, stored = plant_day(asset, State(0.0, state.stored_mwh, True, 600), inputs, grid)
    planned = KINDS[kind].default_mw(asset, state, inputs, grid)
    rung = device_default(fleet, {asset.id: state}, context.inputs, grid)
    for power in (planned, rung.power_mw[0]):
        assert power == pytest.approx(done, abs=LOOSE_MW[kind])
        assert float((power - done) @ grid.hours) == pytest.approx(0.0, abs=0.01 * -float(done @ grid.hours))
    assert rung.stored_mwh[asset.id] == pytest.approx(stored, abs=0.05)


@pytest.mark.parametrize("kind", sorted(LOOSE_MW))
def test_the_plant_can_do_what_is_planned(kind: str) -> None:
    """A wish for cheap hours that `follow` calls possible is what the device does with it, within the quarter."""
    grid = GRIDS["100_quarters"]
    fleet, context = fleet_and_context(kind, grid, 1)
    asset, inputs = fleet[0], context.inputs[fleet[0].id]
    state = replace(context.states[asset.id], on=True)
    price = 60.0 + 50.0 * np.sin(np.arange(grid.n) / 6.0)
    plan = merit_order(fleet, {asset.id: state}, context.inputs, grid, price, {})
    done, stored = plant_day(asset, State(0.0, state.stored_mwh, True, 600), inputs, grid, plan.power_mw[0])
    assert float(np.abs(done - plan.power_mw[0]) @ grid.hours) < 0.02 * -float(plan.power_mw[0] @ grid.hours)
    assert stored == pytest.approx(plan.stored_mwh[asset.id], abs=0.1)
