"""What a trajectory costs is what the plan said it costs, and by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.accounting import Trace, costs
from dispatch.assets import price_elastic
from dispatch.registry import KINDS
from dispatch.substitution import moved_behind, returned_share
from tests.dispatch.random_fleet import GRID_NAMES, Fleet, plan, random_fleet
from vpp.domain.portfolio import Asset
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

START = datetime(2016, 7, 12, tzinfo=UTC)
PLANNED_ELSEWHERE = {"energy", "stored_energy"}


def traces(fleet: Fleet, schedule: Schedule) -> list[Trace]:
    """What a plan would measure if it came true; a content beyond a battery's capacity is read as full."""
    found = []
    zero = np.zeros(fleet.grid.n)
    for i, a in enumerate(fleet.assets):
        s = fleet.states[a.id]
        start = min(s.stored_mwh, getattr(a.params, "capacity_mwh", np.inf))
        on, stored = schedule.commitment.get(a.id, zero), schedule.stored_mwh.get(a.id, zero)
        found.append(
            Trace(a, fleet.grid, schedule.power_mw[i], on, s.on, start, stored, fleet.inputs[a.id], s.available,
                  float(s.minutes_in_state))
        )
    return found


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.integers(0, 10_000), st.sampled_from(GRID_NAMES))
def test_the_plan_come_true_costs_what_the_objective_says(seed: int, grid_name: str) -> None:
    fleet = random_fleet(seed, grid_name)
    planned = plan(fleet, seed)
    found = costs(traces(fleet, planned.schedule))
    assert set(planned.costs) - PLANNED_ELSEWHERE <= set(found)
    for term, money in found.items():
        assert money == pytest.approx(planned.costs.get(term, 0.0), rel=1e-6, abs=1e-5), term


def one(
    kind: str, params: Mapping[str, Any], inputs: dict[str, Array], power: list[float], **more: Any
) -> dict[str, float]:
    """Cost of one asset over hours from 1 MWh."""
    grid = TimeGrid.uniform(START, timedelta(hours=1), len(power))
    asset = Asset("x", kind, "s", "mp:x", "n", None, KINDS[kind].Params(**params))
    given = {"on": np.zeros(len(power)), "was_on": False, "start_mwh": 1.0, "stored_mwh": np.ones(len(power)), **more}
    return costs([Trace(asset, grid, np.array(power), inputs=inputs, **given)])


def test_wear_by_hand() -> None:
    battery = {"power_mw": 1.0, "capacity_mwh": 2.0, "charge_efficiency": 0.9, "discharge_efficiency": 0.9,
               "wear_eur_per_mwh": 5.0}  # fmt: skip
    assert one("battery", battery, {}, [0.5, -0.25, 0.0]) == {"wear": 3.75}


def test_a_chp_by_hand() -> None:
    """Hour 0: boiler 1.8 MWh_th; hour 1: a start, 1 MW with 1.2 MW_th of heat, of which 0.2 MWh_th is dumped."""
    chp = {"power_mw": 2.0, "min_power_mw": 1.0, "fuel_mw_per_mw": 2.2, "fuel_no_load_mw": 0.3, "heat_mw_per_mw": 1.0,
           "heat_no_load_mw": 0.2, "fuel_price_eur_per_mwh": 30.0, "start_cost_eur": 50.0, "min_up_h": 0.0,
           "min_down_h": 0.0, "ramp_mw_per_min": 1.0, "boiler_mw_th": 3.0, "boiler_efficiency": 0.9,
           "store_mwh_th": 1.0}  # fmt: skip
    found = one("chp", chp, {"heat_demand_mw_th": np.array([1.8, 1.0])}, [0.0, 1.0], on=np.array([0.0, 1.0]))
    assert found == pytest.approx({"fuel": 30.0 * (1.8 / 0.9 + 2.5), "starts": 50.0, "penalties": 200.0})


def test_curtailment_counts_from_what_the_inverter_allows() -> None:
    pv = {"capacity_mw": 2.0, "kind_of": "pv", "curtailment_cost_eur_per_mwh": 10.0, "s_rating_mva": 1.5}
    assert one("curtailable", pv, {"available_mw": np.array([1.8, 1.0])}, [1.0, 1.0]) == {"penalties": 5.0}
    assert one("curtailable", pv, {"available_mw": np.array([1.8])}, [0.0], available=False) == {"penalties": 0.0}


def test_a_missed_and_a_spilled_tonne_cost_the_same() -> None:
    silo = {"id": "s", "capacity_t": 500.0, "min_t": 0.0, "kwh_per_t": 40.0, "missed_eur_per_t": 30.0}
    mill = {"power_mw": 1.2, "kwh_per_t": 40.0, "min_run_h": 1.0, "min_stop_h": 1.0, "start_cost_eur": 60.0,
            "silo": silo}  # fmt: skip
    found = one("process", mill, {"shipments_t_per_h": np.array([20.0, 20.0])}, [-1.2, 0.0], on=np.array([1.0, 0.0]))
    assert found == {"starts": 60.0, "missed_production": pytest.approx(30.0 * (10.0 + 20.0))}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=12), st.floats(0.0, 1.0), st.floats(0.1, 8.0), st.integers(0, 99)
)
def test_the_move_behind_a_change_and_what_returned(
    minutes: list[int], substitution: float, window_h: float, seed: int
) -> None:
    """Two roads to the same rebound: step by step from the twice integrated move, and the block's kernel."""
    hours = np.array(minutes) / 60.0
    moved = np.random.default_rng(seed).uniform(-1.0, 1.0, len(hours))
    kernel = substitution * price_elastic._returning(hours, window_h)
    assert moved_behind(moved - kernel @ moved, hours, substitution, window_h) == pytest.approx(moved, abs=1e-8)
    assert returned_share(hours, substitution, window_h) == pytest.approx((hours @ kernel) / hours, abs=1e-9)


def test_comfort_is_the_benefit_lost() -> None:
    """A fifth less of 2 MW for an hour, nothing comes back: six pieces give the quadratic exactly at their ends."""
    taker = {"min_share": 0.4, "elasticity": -0.2, "reference_price_eur_per_mwh": 100.0}
    load = {"load_mw": np.array([2.0])}
    benefit_lost = 100.0 * (0.4 + 2.0 * 0.2**2 / (2.0 * 0.2))
    assert one("price_elastic", taker, load, [-1.6])["comfort"] == pytest.approx(benefit_lost)
    assert one("price_elastic", taker, load, [-2.0])["comfort"] == 0.0
    assert one("price_elastic", taker, load, [-2.2])["comfort"] < -10.0
    owing = {**load, "owed_mw": np.array([0.3])}
    assert one("price_elastic", taker, owing, [-2.3])["comfort"] == pytest.approx(0.0, abs=1e-9)
    assert one("price_elastic", taker, owing, [-1.9])["comfort"] == pytest.approx(benefit_lost)
