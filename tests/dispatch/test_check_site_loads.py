"""Faults planted into every rule of buildings, thermostat clusters, water works and utilities, by hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dispatch.accounting import Trace, costs
from dispatch.check import check_schedule
from dispatch.registry import KINDS
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import TimeGrid

START = datetime(2016, 7, 12, tzinfo=UTC)
FADE = math.exp(-1.0 / 10.0)


def alone(
    kind: str, params: Mapping[str, Any], inputs: Mapping[str, float], state: Mapping[str, Any], used: Sequence[float],
    on: Sequence[float] | None = None, minutes: int = 60, stored: Sequence[float] | None = None,
    **decisions: Sequence[float],
) -> list[str]:  # fmt: skip
    """Faults of one asset that consumes `used` MW, as field names."""
    grid = TimeGrid.uniform(START, timedelta(minutes=minutes), len(used))
    asset = Asset("x", kind, "s", "mp:x", "n", None, KINDS[kind].Params(**params))
    schedule = Schedule(
        ("x",), grid, -np.array([used]), np.zeros((1, len(used))),
        commitment={} if on is None else {"x": np.array(on, dtype=float)},
        stored_mwh={} if stored is None else {"x": np.array(stored, dtype=float)},
        decisions={"x": {k: np.array(v, dtype=float) for k, v in decisions.items()}},
    )  # fmt: skip
    states = {"x": AssetState("x", START, START, **{"power_mw": 0.0, **state})}
    given = {k: np.broadcast_to(v, len(used)).astype(float) for k, v in inputs.items()}
    return [f.field for f in check_schedule([asset], states, {"x": given}, schedule)]


BUILDING = {
    "max_power_mw": 0.3, "cop_at_20c": 4.0, "heat_capacity_mwh_th_per_c": 0.5, "transmittance_mw_th_per_c": 0.05,
    "comfort_min_c": 21.0, "comfort_max_c": 24.0, "setback_min_c": 18.0, "setback_max_c": 28.0,
    "discomfort_eur_per_c_h": 20.0,
}  # fmt: skip
SUMMER = {"ambient_c": 30.0, "internal_mw_th": 0.1, "solar_mw_th": 0.1, "occupancy": 1.0}


def test_a_building_by_hand() -> None:
    """At 24 C with 0.2 MW_th of gains and 0.3 from outside, 0.125 MW at COP 4 hold it; off, it drifts towards 34 C."""
    state = {"stored_mwh": 0.5 * 4.0}
    assert alone("building", BUILDING, SUMMER, state, [0.125] * 2, indoor_c=[24.0] * 2, stored=[2.0] * 2) == []
    drifted = 34.0 - 10.0 * FADE
    left = 0.5 * (28.0 - drifted)
    assert alone("building", BUILDING, SUMMER, state, [0.0], indoor_c=[drifted], stored=[left]) == []
    assert alone("building", BUILDING, SUMMER, state, [0.0], indoor_c=[drifted - 0.1]) == ["indoor_c (reported)"]
    assert alone("building", BUILDING, SUMMER, state, [0.0], stored=[left + 0.01]) == ["stored_mwh (reported)"]
    assert alone("building", BUILDING, SUMMER, state, [0.31]) == ["power_mw"]
    assert alone("building", BUILDING, SUMMER, state, [-0.01]) == ["power_mw"]


def test_a_building_out_of_service_follows_its_thermostat() -> None:
    state = {"stored_mwh": 0.5 * 4.0, "available": False}
    assert alone("building", BUILDING, SUMMER, state, [0.125] * 2) == []
    assert alone("building", BUILDING, SUMMER, state, [0.125, 0.12]) == ["power_mw"]


def test_heated_rooms_count_their_heat_from_the_cold_side() -> None:
    """At 20 C in -5 C a room loses 1.25 MW_th, less gains of 0.05: 0.4 MW at COP 3."""
    winter = {"ambient_c": -5.0, "internal_mw_th": 0.05, "solar_mw_th": 0.0, "occupancy": 0.0}
    heated = {**BUILDING, "mode": "heating", "max_power_mw": 0.5, "cop_slope_per_c": 0.04}
    state = {"stored_mwh": 0.5 * 2.0}
    assert alone("building", heated, winter, state, [0.4] * 2, indoor_c=[20.0] * 2, stored=[1.0] * 2) == []


CLUSTER = {
    "count": 500, "unit_kw": 2.0, "cop_at_20c": 4.0, "unit_heat_capacity_kwh_th_per_c": 2.0,
    "unit_transmittance_kw_th_per_c": 0.2, "set_c": 23.0, "band_c": 2.0, "min_on_min": 20.0, "min_off_min": 40.0,
    "discomfort_eur_per_unit_c_h": 0.5, "patience_c_h_per_day": 6.0, "fatigue_eur_per_unit_c_h": 0.3,
}  # fmt: skip
HOT = {"ambient_c": 33.0, "gains_mw_th": 0.2}


def test_a_cluster_by_hand() -> None:
    """At 23 C 1.2 MW_th come in, which 0.3 MW take away; a whole hour off it drifts towards 35 C."""
    state = {"stored_mwh": 1.0, "power_mw": -0.3}
    assert alone("thermostat_cluster", CLUSTER, HOT, state, [0.3] * 2, indoor_c=[23.0] * 2, stored=[1.0] * 2) == []
    drifted = 35.0 - 12.0 * FADE
    assert alone("thermostat_cluster", CLUSTER, HOT, state, [0.0], indoor_c=[drifted], stored=[24.0 - drifted]) == []
    assert alone("thermostat_cluster", CLUSTER, HOT, state, [0.0], indoor_c=[23.0]) == ["indoor_c (reported)"]
    assert alone("thermostat_cluster", CLUSTER, HOT, state, [1.01]) == ["power_mw", "min_off"]
    out = {**state, "available": False}
    assert alone("thermostat_cluster", CLUSTER, HOT, out, [0.3] * 2) == []
    assert alone("thermostat_cluster", CLUSTER, HOT, out, [0.3, 0.29]) == ["power_mw"]


@pytest.mark.parametrize(
    ("used", "fault"),
    [
        ([0.7, 0.7, 0.3, 0.3], None),
        ([0.7, 0.3, 0.3, 0.3], ["min_on"]),
        ([0.1, 0.1, 0.1, 0.9, 0.9], None),
        ([0.1, 0.1, 0.9, 0.9, 0.9], ["min_off"]),
        ([0.1, 0.3, 0.5, 0.8, 0.8], None),
    ],
)  # fmt: skip
def test_what_has_just_switched_does_not_switch_back(used: list[float], fault: list[str] | None) -> None:
    """Quarters: 0.4 MW of units that started must run two of them; 0.2 MW that stopped rest for three."""
    running = {"stored_mwh": 1.0, "power_mw": -0.3}
    assert alone("thermostat_cluster", CLUSTER, HOT, running, used, minutes=15) == (fault or [])


LINE = {
    "max_power_mw": 0.6, "min_power_mw": 0.2, "capacity_mwh": 0.6, "longest_pause_h": 0.75, "recovery_h": 1.0,
    "recovered_share": 0.5, "start_cost_eur": 3.0,
}  # fmt: skip
LONG_ON = {"stored_mwh": 0.45, "on": True, "power_mw": -0.4}


@pytest.mark.parametrize(
    ("used", "state", "faults"),
    [
        ([0.4] * 4, LONG_ON, []),
        ([0.6, 0.6, 0.0, 0.0, 0.0, 0.6, 0.6, 0.6, 0.6, 0.0], LONG_ON, []),
        ([0.6, 0.6, 0.0, 0.0, 0.0, 0.0], LONG_ON, ["longest_pause_h"]),
        ([0.6, 0.6, 0.0, 0.6, 0.6, 0.0], LONG_ON, ["commitment"]),
        ([0.3] * 8 + [0.0], LONG_ON, ["recovered_share"]),
        ([0.1], LONG_ON, ["power_mw"]),
        ([0.61], LONG_ON, ["power_mw"]),
        ([0.0], {**LONG_ON, "minutes_in_state": 30}, ["commitment"]),
        ([0.0], {"stored_mwh": 0.3, "minutes_in_state": 30}, []),
        ([0.0, 0.6], {"stored_mwh": 0.3, "minutes_in_state": 31}, ["longest_pause_h"]),
        ([0.6] * 4, {"stored_mwh": 0.5, "on": True}, ["stored_mwh"]),
        ([0.0, 0.0], {**LONG_ON, "available": False}, []),
        ([0.4], {**LONG_ON, "available": False}, ["commitment"]),
    ],
)  # fmt: skip
def test_a_line_of_a_water_works_by_hand(used: list[float], state: dict[str, Any], faults: list[str]) -> None:
    """Quarters with a need of 0.4 MW."""
    on = [float(p > 0.0) for p in used]
    assert alone("water_works", LINE, {"need_mw": 0.4}, state, used, on, minutes=15) == faults


def test_lacking_and_wasted_enter_the_balance_and_are_never_negative() -> None:
    dry = {"stored_mwh": 0.05, "on": True}
    need = {"need_mw": 0.7}
    assert alone("water_works", LINE, need, dry, [0.6], [1.0], lacking_mwh=[0.05], stored=[0.0]) == []
    assert alone("water_works", LINE, need, dry, [0.6], [1.0]) == ["stored_mwh"]
    assert "wasted_mwh" in alone("water_works", LINE, need, dry, [0.6], [1.0], wasted_mwh=[-0.05])
    full = {"stored_mwh": 0.6, "on": True}
    assert alone("water_works", LINE, {"need_mw": 0.1}, full, [0.2], [1.0], wasted_mwh=[0.1]) == []
    assert alone("water_works", LINE, need, dry, [0.6]) == ["commitment"]


FAB = {
    "utilities": (
        {"name": "chillers", "min_power_mw": 0.2, "max_power_mw": 1.2, "store_mwh": 0.6, "share": 0.75},
        {"name": "air", "min_power_mw": 0.1, "max_power_mw": 0.5, "store_mwh": 0.2, "share": 0.25},
    ),
    "process_peak_mw": 4.0, "band_share": 0.1,
}  # fmt: skip
LOAD = {"process_mw": 3.0, "utilities_mw": 1.0}


@pytest.mark.parametrize(
    ("used", "told", "faults"),
    [
        (4.0, {"chillers_mw": 0.75, "air_mw": 0.25}, []),
        (4.2, {"chillers_mw": 0.9, "air_mw": 0.3}, []),
        (4.1, {"chillers_mw": 0.75, "air_mw": 0.25}, ["power_mw"]),
        (4.1, {"chillers_mw": 0.85, "air_mw": 0.25}, ["fill of chillers", "fill of air"]),
        (4.0, {"chillers_mw": 1.0, "air_mw": 0.0}, ["air_mw", "fill of chillers", "fill of air"]),
        (4.0, {"chillers_mw": 0.75}, ["air_mw"]),
        (3.5, {"chillers_mw": 0.4, "air_mw": 0.1, "chillers_lacking_mwh": 0.35, "air_lacking_mwh": 0.15}, ["band"]),
        (3.6, {"chillers_mw": 0.45, "air_mw": 0.15}, []),
        (3.56, {"chillers_mw": 0.42, "air_mw": 0.14}, ["stored_mwh", "band"]),
        (4.0, {"chillers_mw": 0.75, "air_mw": 0.25, "air_lacking_mwh": -0.1, "air_wasted_mwh": -0.1},
         ["air_lacking_mwh", "air_wasted_mwh"]),
    ],
)  # fmt: skip
def test_utilities_by_hand(used: float, told: dict[str, float], faults: list[str]) -> None:
    """One hour, half full: 0.8 MWh of stores of which the chillers have three quarters."""
    decisions: dict[str, Any] = {k: [v] for k, v in told.items()}
    assert alone("utilities", FAB, LOAD, {"stored_mwh": 0.4}, [used], **decisions) == faults


def test_a_plant_out_of_service_keeps_its_fill() -> None:
    out = {"stored_mwh": 0.4, "available": False}
    assert alone("utilities", FAB, LOAD, out, [4.0], chillers_mw=[0.75], air_mw=[0.25]) == []
    assert alone("utilities", FAB, LOAD, out, [4.2], chillers_mw=[0.9], air_mw=[0.3]) == ["band"]


def test_stores_of_a_plant_do_not_run_over() -> None:
    nearly = {"stored_mwh": 0.75}
    assert alone("utilities", FAB, LOAD, nearly, [4.2], chillers_mw=[0.9], air_mw=[0.3]) == ["stored_mwh"]


def one(kind: str, params: Mapping[str, Any], inputs: Mapping[str, float], used: list[float], **more: Any) -> Any:
    """Cost of one asset over hours."""
    grid = TimeGrid.uniform(START, timedelta(hours=1), len(used))
    asset = Asset("x", kind, "s", "mp:x", "n", None, KINDS[kind].Params(**params))
    given = {k: np.broadcast_to(v, len(used)).astype(float) for k, v in inputs.items()}
    state = {"on": np.zeros(len(used)), "was_on": False, **more}
    state["stored_mwh"] = np.array(state["stored_mwh"])
    return costs([Trace(asset, grid, -np.array(used), inputs=given, **state)])


def test_discomfort_by_hand() -> None:
    """25 C and 20 C with people in it: a degree too warm, a degree too cold; the setback band holds both."""
    measured = {"start_mwh": 2.0, "stored_mwh": [0.5 * 3.0, 0.5 * 8.0]}
    assert one("building", BUILDING, SUMMER, [0.1, 0.1], **measured) == {"comfort": pytest.approx(40.0)}
    assert one("building", BUILDING, {**SUMMER, "occupancy": 0.0}, [0.1, 0.1], **measured) == {"comfort": 0.0}


def test_fatigue_by_hand() -> None:
    """Three hours a degree and a half too warm: half a degree of discomfort, 4.5 K h against a patience of 0.75."""
    found = one("thermostat_cluster", CLUSTER, HOT, [0.3] * 3, start_mwh=1.0, stored_mwh=[-0.5] * 3)
    assert found == {"comfort": pytest.approx(500 * (0.5 * 0.5 * 3.0 + 0.3 * (4.5 - 6.0 * 3.0 / 24.0)))}


def test_what_a_basin_lacks_costs() -> None:
    found = one(
        "water_works", LINE, {"need_mw": 0.4}, [0.0, 0.4], start_mwh=0.3, stored_mwh=[0.0, 0.0], on=np.array([0.0, 1.0])
    )
    assert found == {"starts": 3.0, "penalties": pytest.approx(1000.0 * 0.1)}


def test_what_a_plant_goes_short_of_costs() -> None:
    """A need of 3 MW against machines of 1.7; in the second hour the plant takes 0.2 MW less than it says it gained."""
    found = one("utilities", FAB, {**LOAD, "utilities_mw": 3.0}, [4.7], start_mwh=0.4, stored_mwh=[0.4])
    assert found == {"penalties": pytest.approx(1000.0 * 1.3)}
    found = one("utilities", FAB, LOAD, [4.0, 3.8], start_mwh=0.4, stored_mwh=[0.4, 0.4])
    assert found == {"penalties": pytest.approx(1000.0 * 0.2)}
