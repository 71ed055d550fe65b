"""A seeded fleet of user batteries, on/off processes and gas engines, for the benchmarks of the solve loop.

Sizes are typical engineering values: batteries of 5-50 kW (half of them small) with 1.5-4 h, mills of
0.15-0.6 MW with a silo each that holds half a day, engines of 0.8-2 MW with a heat store of 3 h. Processes
must make 45-65 % of what they could in the day. Prices are a summer day's: a valley of solar power, an
evening peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from dispatch.block import Block, Context, EndValue
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import QUARTER, Array, TimeGrid

PRICE_EUR_PER_MWH = np.array(
    [62, 58, 55, 53, 54, 60, 78, 96, 94, 74, 46, 18, 12, 10, 16, 44, 78, 118, 136, 128, 104, 88, 76, 68], dtype=float
)
HEAT_SHAPE = np.array(
    [0.6, 0.6, 0.6, 0.6, 0.7, 0.8, 1.0, 1.2, 1.1, 1.0, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.9, 1.0, 1.1, 1.1, 1.0, 0.9,
     0.7, 0.7]
)  # fmt: skip
STORED_EUR_PER_MWH = {"battery": 70.0, "process": 65.0, "chp": 38.0}
START = datetime(2016, 7, 11, 22, tzinfo=UTC)
Rng = np.random.Generator
Given = tuple[dict[str, Any], Mapping[str, Array], dict[str, Any]]
"""Parameters, hourly inputs and state of an asset."""


@dataclass(frozen=True)
class Fleet:
    """Assets on buses with their states and hourly inputs (24,) by name; a trajectory repeats its day."""

    assets: tuple[Asset, ...]
    states: Mapping[str, AssetState]
    hourly: Mapping[str, Mapping[str, Array]]

    def inputs(self, grid: TimeGrid) -> dict[str, dict[str, Array]]:
        """Trajectories (T,) over `grid`."""
        hour = hours_of(grid)
        return {a: {name: values[hour] for name, values in named.items()} for a, named in self.hourly.items()}


def hours_of(grid: TimeGrid) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(T,) hours since the fleet's midnight, modulo a day."""
    return np.array([int((t - START).total_seconds() // 3600) % 24 for t in grid.starts])


def quarters(steps: int, first: int = 0) -> TimeGrid:
    """`steps` quarters from the `first` one after midnight."""
    return TimeGrid.uniform(START + first * QUARTER, QUARTER, steps)


def made(storages: int, processes: int, engines: int, buses: Sequence[int], seed: int) -> Fleet:
    """The fleet; assets are spread over `buses` evenly at random."""
    rng = np.random.default_rng(seed)
    assets: list[Asset] = []
    states: dict[str, AssetState] = {}
    hourly: dict[str, Mapping[str, Array]] = {}
    wanted = [("battery", _battery)] * storages + [("process", _process)] * processes + [("chp", _engine)] * engines
    for number, (kind, draw) in enumerate(wanted):
        name = f"{kind}-{number}"
        params, inputs, state = draw(rng, name)
        bus = int(rng.choice(buses)) if len(buses) else None
        assets.append(Asset(name, kind, name, name, "node", bus, KINDS[kind].Params(**params)))
        states[name] = AssetState(name, START, START, **state)
        hourly[name] = inputs
    return Fleet(tuple(assets), states, hourly)


def _battery(rng: Rng, name: str) -> Given:
    return battery_of(rng, float(rng.choice([rng.uniform(0.005, 0.012), rng.uniform(0.012, 0.05)])))


def battery_of(rng: Rng, power: float) -> Given:
    """A battery of `power` MW that holds 1.5 to 4 h."""
    capacity, one_way = power * float(rng.uniform(1.5, 4.0)), float(np.sqrt(rng.uniform(0.85, 0.92)))
    params = {
        "power_mw": power, "capacity_mwh": capacity, "charge_efficiency": one_way, "discharge_efficiency": one_way,
        "wear_eur_per_mwh": float(rng.uniform(4.0, 12.0)), "standing_loss_per_h": 2e-4,
    }  # fmt: skip
    return params, {}, {"stored_mwh": capacity * float(rng.uniform(0.2, 0.8)), "power_mw": 0.0}


def _process(rng: Rng, name: str) -> Given:
    power, kwh_per_t = float(rng.uniform(0.15, 0.6)), float(rng.uniform(30.0, 45.0))
    made_t_per_h = power * 1000.0 / kwh_per_t
    capacity_t, share = 12.0 * made_t_per_h, float(rng.uniform(0.45, 0.65))
    silo = {"id": f"silo of {name}", "capacity_t": capacity_t, "min_t": 0.1 * capacity_t, "kwh_per_t": kwh_per_t,
            "missed_eur_per_t": 40.0}  # fmt: skip
    params = {
        "power_mw": power, "kwh_per_t": kwh_per_t, "min_run_h": float(rng.choice([1.0, 2.0])), "min_stop_h": 1.0,
        "start_cost_eur": float(rng.uniform(5.0, 25.0)), "silo": silo, "max_starts_per_day": 4,
    }  # fmt: skip
    shipped = share * made_t_per_h * np.where((np.arange(24) >= 6) & (np.arange(24) < 18), 1.5, 0.5)
    on = bool(rng.random() < 0.5)
    state = {"stored_mwh": capacity_t * float(rng.uniform(0.3, 0.6)) * kwh_per_t / 1000.0, "on": on,
             "power_mw": -power * on, "minutes_in_state": int(rng.choice([30, 90, 600]))}  # fmt: skip
    return params, {"shipments_t_per_h": shipped, "rota": np.zeros(24)}, state


def _engine(rng: Rng, name: str) -> Given:
    power = float(rng.uniform(0.8, 2.0))
    params = {
        "power_mw": power, "min_power_mw": power / 2.0, "fuel_mw_per_mw": 2.2, "fuel_no_load_mw": 0.18 * power,
        "heat_mw_per_mw": 1.0, "heat_no_load_mw": 0.05 * power, "start_cost_eur": 30.0 * power,
        "fuel_price_eur_per_mwh": float(rng.uniform(30.0, 40.0)), "min_up_h": 3.0, "min_down_h": 2.0,
        "boiler_mw_th": 1.5 * power, "boiler_efficiency": 0.92, "store_mwh_th": 3.0 * power, "store_loss_per_h": 0.005,
        "ramp_mw_per_min": 0.2 * power,
    }  # fmt: skip
    on = bool(rng.random() < 0.5)
    state = {"stored_mwh": 1.5 * power, "on": on, "power_mw": on * 0.7 * power, "minutes_in_state": 600}
    return params, {"heat_demand_mw_th": 0.6 * power * HEAT_SHAPE}, state


def blocks(fleet: Fleet, states: Mapping[str, AssetState], grid: TimeGrid, inputs: Any, price: Array) -> list[Block]:
    """One block per kind, and the energy sold at `price` (T,)."""
    worth = {a.id: EndValue(np.array([1e6]), np.array([STORED_EUR_PER_MWH[a.kind]])) for a in fleet.assets}
    context = Context(grid, grid.start, states, inputs, {}, worth)
    ids = [a.id for a in fleet.assets]
    kinds = dict.fromkeys(a.kind for a in fleet.assets)
    found = [KINDS[k].block([a for a in fleet.assets if a.kind == k], context) for k in kinds]
    return [*found, bid_energy(ids, ids, grid, price)]


def problem(fleet: Fleet, grid: TimeGrid) -> Problem:
    """The fleet over `grid` from its first states at the expected price."""
    found = blocks(fleet, fleet.states, grid, fleet.inputs(grid), PRICE_EUR_PER_MWH[hours_of(grid)])
    return assemble(grid, [a.id for a in fleet.assets], found)
