"""What every asset kind must keep, parametrised over the registry: a kind without a sample here fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from dispatch.block import Block, Context, Kind
from dispatch.registry import KINDS
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import asset_of, grid_of
from vpp.domain.errors import DataGap
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

ZONE = "Europe/Berlin"
GRIDS = {
    "uniform": grid_of(0),
    "non_uniform": grid_of(1),
    "92_quarters": TimeGrid.local_day(date(2016, 3, 27), ZONE),
    "100_quarters": TimeGrid.local_day(date(2016, 10, 30), ZONE),
}
TERMS = {
    "energy", "deviation", "starts", "wear", "fuel", "missed_production", "penalties", "stored_energy", "comfort",
    "fee",
}  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """Good parameters, inputs as a function of (n,) day shares, the injection limits, and its capacity-like fields."""

    params: dict[str, Any]
    inputs: dict[str, Callable[[Array], Array]]
    lower_mw: float
    upper_mw: float
    sizes: tuple[str, ...]
    stored_mwh: float | None = None


def wave(low: float, high: float) -> Callable[[Array], Array]:
    return lambda share: low + (high - low) * np.sin(np.pi * share) ** 2


SAMPLES = {
    "battery": Sample(
        {"power_mw": 1.0, "capacity_mwh": 2.0, "charge_efficiency": 0.94, "discharge_efficiency": 0.94,
         "wear_eur_per_mwh": 5.0},
        {}, -1.0, 1.0, ("power_mw", "capacity_mwh"), 1.0,
    ),
    "backup_battery": Sample(
        {"count": 500, "site_power_mw": 0.003, "site_capacity_mwh": 0.02, "site_connection_mw": 0.008, "reserve_h": 2.0,
         "charge_efficiency": 0.95, "discharge_efficiency": 0.95, "wear_eur_per_mwh": 8.0},
        {"load_mw": wave(0.7, 1.6)}, -4.0, 0.0, ("site_power_mw", "site_capacity_mwh", "site_connection_mw"), 7.0,
    ),
    "ev_fleet": Sample(
        {"feeder_mw": 0.6, "sessions": [
            {"id": "vans", "arrival": "17:30", "departure": "06:00", "count": 40,
             "power_mw": 0.011, "energy_mwh": 0.04},
            {"id": "buses", "arrival": "22:00", "departure": "05:00", "count": 4, "power_mw": 0.09, "energy_mwh": 0.3,
             "v2g_mw": 0.05, "lend_mwh": 0.05},
        ], "wear_eur_per_mwh": 20.0},
        {}, -0.6, 0.2, ("feeder_mw",), 0.4,
    ),
    "batch": Sample(
        {"jobs": [
            {"id": "heat", "profile": [{"minutes": 10, "power_mw": 1.5}, {"minutes": 35, "power_mw": 3.0}], "count": 3,
             "earliest": "22:00", "latest": "03:00", "missed_eur": 4000.0},
            {"id": "roll", "profile": [{"minutes": 90, "power_mw": 1.0}], "earliest": "03:00", "latest": "04:00",
             "missed_eur": 2000.0},
        ], "turnaround_min": 10, "setup_min": 20, "max_gap_min": 30, "break_eur": 900.0},
        {}, -3.0, 0.0, ("break_eur", "turnaround_min"), 0.4,
    ),
    "curtailable": Sample(
        {"capacity_mw": 4.0, "kind_of": "pv", "s_rating_mva": 4.4},
        {"available_mw": wave(0.0, 3.8)}, 0.0, 4.0, ("capacity_mw", "s_rating_mva"),
    ),
    "fixed_load": Sample({"peak_mw": 0.6}, {"load_mw": wave(0.1, 0.6)}, -0.6, 0.0, ("peak_mw",)),
    "price_elastic": Sample(
        {"min_share": 0.7, "elasticity": -0.2, "reference_price_eur_per_mwh": 85.0, "substitution": 0.3,
         "window_h": 2.0, "response_sigma": 0.2, "max_share": 1.5},
        {"load_mw": wave(0.4, 1.0)}, -1.5, 0.0, ("min_share", "max_share"),
    ),
    "chp": Sample(
        {"power_mw": 2.0, "min_power_mw": 1.0, "fuel_mw_per_mw": 2.2, "fuel_no_load_mw": 0.3, "heat_mw_per_mw": 0.95,
         "heat_no_load_mw": 0.1, "fuel_price_eur_per_mwh": 35.0, "start_cost_eur": 80.0, "min_up_h": 2.0,
         "min_down_h": 2.0, "ramp_mw_per_min": 0.2, "boiler_mw_th": 4.0, "boiler_efficiency": 0.92,
         "store_mwh_th": 6.0, "store_loss_per_h": 0.01},
        {"heat_demand_mw_th": wave(0.8, 2.2)}, 0.0, 2.0, ("power_mw", "boiler_mw_th", "store_mwh_th"), 3.0,
    ),
    "thermal_unit": Sample(
        {"power_mw": 8.0, "min_power_mw": 3.0, "min_up_h": 4.0, "min_down_h": 3.0, "ramp_up_mw_per_min": 0.1,
         "ramp_down_mw_per_min": 0.12, "start_power_mw": 4.0, "stop_power_mw": 4.5,
         "cost_curve": [{"power_mw": 3.0, "eur_per_h": 150.0}, {"power_mw": 6.0, "eur_per_h": 320.0},
                        {"power_mw": 8.0, "eur_per_h": 460.0}],
         "start_prices": [{"after_off_h": 0.0, "eur": 100.0}, {"after_off_h": 8.0, "eur": 300.0}]},
        {}, 0.0, 8.0, ("power_mw", "min_power_mw", "start_power_mw"),
    ),
    "process": Sample(
        {"power_mw": 1.5, "kwh_per_t": 40.0, "min_run_h": 2.0, "min_stop_h": 1.0, "start_cost_eur": 60.0,
         "silo": {"id": "silo", "capacity_t": 1500.0, "min_t": 150.0, "kwh_per_t": 40.0, "missed_eur_per_t": 50.0}},
        {"shipments_t_per_h": wave(30.0, 60.0), "rota": lambda share: (share < 0.6).astype(float)},
        -1.5, 0.0, ("power_mw",), 15.0,
    ),
    "thermal_store": Sample(
        {"max_power_mw": 1.0, "cop_at_20c": 4.5, "cop_slope_per_c": -0.06, "store_mwh_th": 1.2, "loss_per_h": 0.01,
         "inlet_min_c": 18.0, "inlet_max_c": 27.0, "heat_capacity_mwh_th_per_c": 0.13},
        {"heat_mw_th": wave(1.5, 2.0), "ambient_c": wave(12.0, 30.0)}, -1.0, 0.0,
        ("max_power_mw", "store_mwh_th"), 0.6,
    ),
    "building": Sample(
        {"max_power_mw": 0.4, "cop_at_20c": 4.0, "cop_slope_per_c": -0.05, "heat_capacity_mwh_th_per_c": 0.5,
         "transmittance_mw_th_per_c": 0.04, "comfort_min_c": 21.0, "comfort_max_c": 24.0, "setback_min_c": 17.0,
         "setback_max_c": 28.0, "discomfort_eur_per_c_h": 40.0},
        {"ambient_c": wave(16.0, 33.0), "internal_mw_th": wave(0.02, 0.2), "solar_mw_th": wave(0.0, 0.2),
         "occupancy": lambda share: (np.abs(share - 0.5) < 0.25).astype(float)}, -0.4, 0.0,
        ("max_power_mw", "heat_capacity_mwh_th_per_c", "transmittance_mw_th_per_c"), 2.0,
    ),
    "thermostat_cluster": Sample(
        {"count": 400, "unit_kw": 1.5, "cop_at_20c": 3.6, "cop_slope_per_c": -0.05, "set_c": 24.0, "band_c": 2.0,
         "unit_heat_capacity_kwh_th_per_c": 2.0, "unit_transmittance_kw_th_per_c": 0.2, "min_on_min": 5.0,
         "min_off_min": 10.0, "discomfort_eur_per_unit_c_h": 0.5, "patience_c_h_per_day": 6.0,
         "fatigue_eur_per_unit_c_h": 0.3},
        {"ambient_c": wave(20.0, 34.0), "gains_mw_th": wave(0.05, 0.2)}, -0.6, 0.0,
        ("count", "unit_kw", "unit_heat_capacity_kwh_th_per_c", "unit_transmittance_kw_th_per_c"), 0.8,
    ),
    "water_works": Sample(
        {"max_power_mw": 0.6, "min_power_mw": 0.2, "capacity_mwh": 0.4, "loss_per_h": 0.02, "longest_pause_h": 0.75,
         "recovery_h": 1.0, "recovered_share": 0.6, "start_cost_eur": 3.0},
        {"need_mw": wave(0.2, 0.45)}, -0.6, 0.0, ("max_power_mw", "min_power_mw", "capacity_mwh"), 0.3,
    ),
    "utilities": Sample(
        {"utilities": (
            {"name": "chillers", "min_power_mw": 0.2, "max_power_mw": 1.2, "store_mwh": 0.6, "share": 0.7},
            {"name": "compressed_air", "max_power_mw": 0.6, "store_mwh": 0.05, "share": 0.3}),
         "process_peak_mw": 3.5, "band_share": 0.08, "loss_per_h": 0.01},
        {"process_mw": wave(2.5, 3.5), "utilities_mw": wave(0.9, 1.4)}, -5.3, 0.0, ("process_peak_mw",), 0.4,
    ),
}  # fmt: skip

every_kind = pytest.mark.parametrize("name", sorted(KINDS))
every_grid = pytest.mark.parametrize("grid_name", sorted(GRIDS))


def fleet_and_context(name: str, grid: TimeGrid, n: int = 2) -> tuple[list[Asset], Context]:
    """Assets whose inputs and contents differ, but for the mills of one silo, which share them."""
    sample, kind = SAMPLES[name], KINDS[name]
    size = [1.0 if name == "process" else 1.0 - 0.2 * i for i in range(n)]
    fleet = [asset_of(f"{name}-{i}", name, kind.Params(**sample.params)) for i in range(n)]
    share = (np.cumsum(grid.hours) - grid.hours / 2) / 24.0 % 1.0
    inputs = {
        a.id: {key: k * values(share) for key, values in sample.inputs.items()}
        for a, k in zip(fleet, size, strict=True)
    }
    states = {
        a.id: AssetState(a.id, grid.start, grid.start, 0.0, k * (sample.stored_mwh or 0.0), minutes_in_state=600)
        for a, k in zip(fleet, size, strict=True)
    }
    return fleet, Context(grid, grid.start, states, inputs)


def relaxed(block: Block) -> Block:
    return replace(block, columns=tuple(replace(c, integer=False) for c in block.columns))


@every_kind
def test_the_module_is_a_kind(name: str) -> None:
    kind = KINDS[name]
    assert name == kind.NAME
    assert set(SAMPLES[name].inputs) == set(kind.INPUTS)
    assert issubclass(kind.Params, BaseModel) and kind.Params.model_config.get("frozen")
    assert kind.CONTROL in get_args(Control) and kind.GENERATES in (True, False) and isinstance(kind.NEVER_OFF, str)
    assert set(kind.FOLLOWS) <= set(kind.INPUTS)
    for method in ("block", "default_mw", "merit_mw", "reach_mw", "window", "store", "fleet_faults"):
        expected = list(inspect.signature(getattr(Kind, method)).parameters)[1:]
        assert list(inspect.signature(getattr(kind, method)).parameters) == expected
    for text in (kind.__doc__, kind.block.__doc__, kind.default_mw.__doc__, kind.Params.__doc__):
        assert text


@every_kind
def test_the_docstring_names_its_equation_and_source(name: str) -> None:
    text = KINDS[name].__doc__ or ""
    assert "=" in text
    assert any(year in text for year in map(str, range(1970, 2027)))


@every_kind
@every_grid
def test_block_shapes_are_consistent(name: str, grid_name: str) -> None:
    grid = GRIDS[grid_name]
    fleet, context = fleet_and_context(name, grid)
    block = KINDS[name].block(fleet, context)
    width = sum(c.size for c in block.columns)
    assert block.assets == tuple(a.id for a in fleet)
    assert block.power is not None and block.power.shape == (len(fleet) * grid.n, width)
    assert np.asarray(block.power_offset).size in (1, len(fleet) * grid.n)
    labels = [c.label for c in block.columns]
    assert len(set(labels)) == len(labels)
    assert len({r.label for r in block.rows}) == len(block.rows)
    for c in block.columns:
        low, high, cost = (np.broadcast_to(np.ravel(v), (c.size,)) for v in (c.lower, c.upper, c.cost))
        assert (low <= high + 1e-9).all() and np.isfinite(cost).all() and not np.isnan(low).any()
        assert c.term in TERMS
    for r in block.rows:
        low, high = (np.broadcast_to(np.ravel(v), (r.size,)) for v in (r.lower, r.upper))
        assert (low <= high + 1e-9).all()
        if r.own is not None:
            assert r.own.shape == (r.size, width) and np.isfinite(r.own.data).all()


@every_kind
@every_grid
def test_the_block_can_be_solved_and_read(name: str, grid_name: str) -> None:
    grid = GRIDS[grid_name]
    fleet, context = fleet_and_context(name, grid)
    block = relaxed(KINDS[name].block(fleet, context))
    solved = solve_block(block, block.assets, grid, 80.0 + 60.0 * np.sin(np.arange(grid.n) / 9.0))
    sample = SAMPLES[name]
    assert (solved.injection >= sample.lower_mw - 1e-6).all() and (solved.injection <= sample.upper_mw + 1e-6).all()
    results = block.read(solved.x, solved.duals)
    assert set(results) <= set(block.assets)
    for result in results.values():
        for values in (result.commitment, result.stored_mwh, result.marginal_value, *result.decisions.values()):
            assert values is None or (values.shape == (grid.n,) and np.isfinite(values).all())
    assert all(r.marginal_value is None for r in block.read(solved.x, {}).values())
    if sample.stored_mwh is not None:
        assert all(results[a].stored_mwh is not None and results[a].marginal_value is not None for a in block.assets)


@every_kind
@every_grid
def test_the_default_lies_within_the_limits(name: str, grid_name: str) -> None:
    grid, sample = GRIDS[grid_name], SAMPLES[name]
    fleet, context = fleet_and_context(name, grid)
    for state in (context.states[fleet[0].id], None):
        p = KINDS[name].default_mw(fleet[0], state, context.inputs[fleet[0].id], grid)
        assert p.shape == (grid.n,)
        assert (p >= sample.lower_mw - 1e-9).all() and (p <= sample.upper_mw + 1e-9).all()


@every_kind
def test_assets_do_not_depend_on_their_neighbours_order(name: str) -> None:
    grid = GRIDS["uniform"]
    fleet, context = fleet_and_context(name, grid, 3)
    price = np.linspace(20.0, 150.0, grid.n)
    forward = solve_block(relaxed(KINDS[name].block(fleet, context)), [a.id for a in fleet], grid, price)
    backward = solve_block(relaxed(KINDS[name].block(fleet[::-1], context)), [a.id for a in fleet], grid, price)
    assert forward.objective == pytest.approx(backward.objective, rel=1e-7, abs=1e-6)


@every_kind
def test_a_gap_is_named_or_stays_a_gap(name: str) -> None:
    """Inputs the block reads raise; those that only the default reads leave it without a value, never with zero."""
    grid = GRIDS["uniform"]
    fleet, context = fleet_and_context(name, grid)
    for key in KINDS[name].INPUTS:
        values = context.inputs[fleet[0].id][key].copy()
        values[1] = np.nan
        mine = {**context.inputs[fleet[0].id], key: values}
        try:
            KINDS[name].block(fleet, replace(context, inputs={**context.inputs, fleet[0].id: mine}))
        except DataGap as gap:
            assert f"{fleet[0].id}/{key}" in str(gap)
        else:
            assert np.isnan(KINDS[name].default_mw(fleet[0], context.states[fleet[0].id], mine, grid)[1])


@every_kind
def test_parameters_refuse_what_is_wrong(name: str) -> None:
    sample, params = SAMPLES[name], KINDS[name].Params
    params(**sample.params)
    with pytest.raises(ValidationError, match="nobody_knows_this"):
        params(**sample.params, nobody_knows_this=1.0)
    for key in (k for k, v in sample.params.items() if isinstance(v, float)):
        for bad in (float("nan"), float("inf")):
            with pytest.raises(ValidationError, match=key):
                params(**{**sample.params, key: bad})
    for key in sample.sizes:
        with pytest.raises(ValidationError, match=key):
            params(**{**sample.params, key: -1.0})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(params(**sample.params), sample.sizes[0], 2.0)
