"""Physics of the thermal unit's device: ramps, limits at starts and stops, interlocks, and what it does by default."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp.plant.device import Order, State
from vpp.plant.devices import thermal

UNIT = thermal.Params(
    power_mw=4.0, min_power_mw=1.5, min_up_h=1.0, min_down_h=0.5, ramp_up_mw_per_min=0.1, ramp_down_mw_per_min=0.2,
    start_power_mw=1.8, stop_power_mw=2.0,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1, 5)), st.integers(1, 60)), max_size=15))
def test_thermal_unit_keeps_its_ramps_and_interlocks(parts: list[tuple[float | None, int]]) -> None:
    device = thermal.Thermal(UNIT, State())
    for value, minutes in parts:
        for _ in range(minutes):
            was, state = State(**{k: getattr(device.state, k) for k in State.__slots__}), device.state
            device.step(None if value is None else Order("power_mw", value, 1), {}, 0)
            assert state.power_mw == 0.0 or 1.5 <= state.power_mw <= 4.0
            if was.on and state.on:
                assert -0.2 - 1e-9 <= state.power_mw - was.power_mw <= 0.1 + 1e-9
            if state.on != was.on:
                assert was.minutes_in_state >= (60 if was.on else 30)
                assert (state.power_mw <= 1.8 + 1e-9) if state.on else (was.power_mw <= 2.0 + 1e-9)


def test_thermal_unit_by_default_unloads_and_stops_or_stays_where_it_must_run() -> None:
    for must_run, end in ((False, 0.0), (True, 1.5)):
        params = UNIT.model_copy(update={"must_run": must_run})
        device = thermal.Thermal(params, State(power_mw=4.0, on=True, minutes_in_state=600))
        seen = []
        for _ in range(20):
            device.step(None, {}, 0)
            seen.append(device.state.power_mw)
        assert seen[:3] == pytest.approx([3.8, 3.6, 3.4]) and seen[-1] == end
        device.step(Order("power_mw", 0.0, 1), {}, 0)
        assert device.state.on == must_run
