"""Random assets of every kind with states and inputs, and their optimal plans: data for the laws of a schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Context, EndValue, Rows, eye
from dispatch.problem import Problem, assemble, cost_terms, read_schedule
from dispatch.registry import KINDS
from dispatch.solvers import highs_door
from dispatch.solvers.highs_door import Living
from dispatch.solvers.raw import Raw
from tests.dispatch.commitment_oracle import GRIDS
from tests.dispatch.random_site_loads import SITE_LOADS
from vpp.domain.errors import NotSolved
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid

Rng = np.random.Generator
Inputs = dict[str, dict[str, Array]]


@dataclass(frozen=True)
class Fleet:
    """Assets over `grid` with what they start from."""

    grid: TimeGrid
    assets: tuple[Asset, ...]
    states: Mapping[str, AssetState]
    inputs: Inputs

    def context(self, **more: Any) -> Context:
        return Context(self.grid, self.grid.start, self.states, self.inputs, **more)


def _battery(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    capacity = rng.uniform(0.3, 3.0)
    low, high = rng.choice([0.0, 0.05, 0.2]), rng.choice([0.8, 0.95, 1.0])
    params = {
        "power_mw": rng.uniform(0.1, 2.0), "capacity_mwh": capacity, "soc_min": low, "soc_max": high,
        "charge_efficiency": rng.uniform(0.85, 1.0), "discharge_efficiency": rng.uniform(0.85, 1.0),
        "wear_eur_per_mwh": rng.uniform(2.0, 10.0), "standing_loss_per_h": rng.choice([0.0, 0.0005, 0.05]),
        "taper_from_soc": rng.choice([1.0, 0.8]),
    }  # fmt: skip
    return params, {}, {"stored_mwh": capacity * rng.choice([low, high, rng.uniform(0.0, 1.0)])}


def _curtailable(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    capacity = rng.uniform(0.1, 4.0)
    params = {
        "capacity_mw": capacity, "kind_of": "pv", "curtailment_cost_eur_per_mwh": rng.choice([0.0, 7.0]),
        "s_rating_mva": capacity * rng.uniform(0.7, 1.2),
    }  # fmt: skip
    return params, {"available_mw": rng.uniform(-0.1, 1.1, n) * capacity}, {}


def _fixed_load(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    return {"peak_mw": 1.0}, {"load_mw": rng.uniform(0.0, 1.0, n)}, {}


def _price_elastic(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    params = {
        "min_share": rng.choice([0.5, 0.8, 1.0]), "max_share": rng.choice([1.0, 1.2, 1.5]),
        "elasticity": rng.uniform(-0.5, -0.1), "reference_price_eur_per_mwh": rng.uniform(60.0, 110.0),
        "substitution": rng.choice([0.0, 0.4, 1.0]), "window_h": rng.choice([0.3, 2.0, 6.0]),
    }  # fmt: skip
    load = rng.uniform(0.2, 1.0, n) * rng.choice([0.0, 1.0], n, p=[0.1, 0.9])
    owed = np.random.default_rng(int(1e6 * load[0])).uniform(-0.7, 0.7, n) * params["substitution"]
    return params, {"load_mw": load, "owed_mw": owed}, {}


def _chp(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    most = rng.uniform(0.8, 2.0)
    least = most * rng.choice([0.0, 0.5])
    params = {
        "power_mw": most, "min_power_mw": least, "fuel_mw_per_mw": 2.4, "fuel_no_load_mw": 0.2, "heat_mw_per_mw": 1.0,
        "heat_no_load_mw": rng.choice([0.0, 0.1]), "fuel_price_eur_per_mwh": rng.uniform(20.0, 50.0),
        "start_cost_eur": rng.uniform(10.0, 80.0), "min_up_h": rng.choice([0.0, 1.0, 2.5]),
        "min_down_h": rng.choice([0.0, 1.0, 2.0]), "ramp_mw_per_min": rng.choice([0.02, 0.1, 1.0]),
        "boiler_mw_th": rng.choice([0.5, 3.0]), "boiler_efficiency": 0.92, "store_mwh_th": rng.uniform(0.5, 6.0),
        "store_loss_per_h": rng.choice([0.0, 0.01]),
    }  # fmt: skip
    on = bool(rng.random() < 0.5)
    state = {"stored_mwh": params["store_mwh_th"] * rng.uniform(0.0, 1.1), "on": on,
             "power_mw": on * rng.uniform(least, most)}  # fmt: skip
    return params, {"heat_demand_mw_th": rng.uniform(0.0, 2.5, n)}, state


def _thermal_unit(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    most = rng.uniform(0.8, 4.0)
    least = most * rng.choice([0.0, 0.4, 0.6])
    mw = np.sort(np.concatenate([[least, most], rng.uniform(least, most, int(rng.integers(0, 3)))]))
    slopes = np.sort(rng.uniform(20.0, 120.0, mw.size - 1))
    eur = rng.uniform(5.0, 40.0) + np.concatenate([[0.0], np.cumsum(np.diff(mw) * slopes)])
    eur_start = np.cumsum(rng.uniform(0.0, 60.0, 3))
    params = {
        "power_mw": mw[-1], "min_power_mw": mw[0], "min_up_h": rng.choice([0.0, 1.0, 2.5]),
        "cost_curve": [{"power_mw": a, "eur_per_h": b} for a, b in zip(mw, eur, strict=True)],
        "start_prices": [{"after_off_h": h, "eur": e} for h, e in zip([0.0, 1.5, 4.0], eur_start, strict=True)],
        "min_down_h": rng.choice([0.0, 1.0, 2.0]), "ramp_up_mw_per_min": rng.choice([0.01, 0.05, 1.0]),
        "ramp_down_mw_per_min": rng.choice([0.015, 0.05, 1.0]), "must_run": bool(rng.random() < 0.2),
        "start_power_mw": rng.choice([None, least + 0.3 * (most - least)]),
        "stop_power_mw": rng.choice([None, least + 0.2 * (most - least)]),
    }  # fmt: skip
    on = bool(rng.random() < 0.5)
    return params, {}, {"on": on, "power_mw": on * rng.uniform(least, most)}


def _thermal_store(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    store = rng.uniform(0.3, 2.0)
    params = {
        "max_power_mw": rng.uniform(0.5, 1.2), "min_power_mw": rng.choice([0.0, 0.2]), "cop_at_20c": 4.5,
        "cop_slope_per_c": -0.08, "store_mwh_th": store, "loss_per_h": rng.choice([0.0, 0.02]), "inlet_min_c": 18.0,
        "inlet_max_c": 27.0, "heat_capacity_mwh_th_per_c": 0.2,
    }  # fmt: skip
    inputs = {"heat_mw_th": rng.uniform(0.3, 3.0, n), "ambient_c": rng.uniform(5.0, 38.0, n)}
    return params, inputs, {"stored_mwh": store * rng.uniform(0.0, 1.1), "power_mw": -0.3}


def _process(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    run_h = rng.choice([0.0, 1.0, 2.0])
    silo = {"id": "silo", "capacity_t": 500.0, "min_t": 40.0, "kwh_per_t": 36.0, "missed_eur_per_t": 30.0}
    params = {
        "power_mw": rng.uniform(1.0, 1.8), "kwh_per_t": 36.0, "min_run_h": run_h,
        "min_stop_h": rng.choice([0.0, 1.0]), "start_cost_eur": rng.uniform(10.0, 60.0), "silo": silo,
        "max_starts_per_day": int(rng.choice([1, 4])) if rng.random() < 0.5 else None,
    }  # fmt: skip
    on = bool(rng.random() < 0.5)
    state = {"on": on, "power_mw": -params["power_mw"] * on}
    return params, {"rota": rng.choice([0.0, 1.0], n)}, state


def _backup_battery(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    count = int(rng.choice([1, 3, 400]))
    capacity, low = rng.uniform(0.2, 3.0), rng.choice([0.0, 0.1])
    params = {
        "count": count, "site_power_mw": rng.uniform(0.2, 1.0) / count, "site_capacity_mwh": capacity / count,
        "site_connection_mw": rng.uniform(0.5, 1.5) / count, "reserve_h": rng.choice([0.0, 0.4, 3.0]), "soc_min": low,
        "soc_max": rng.choice([0.9, 1.0]), "charge_efficiency": rng.uniform(0.85, 1.0),
        "discharge_efficiency": rng.uniform(0.85, 1.0), "wear_eur_per_mwh": rng.uniform(2.0, 10.0),
        "standing_loss_per_h": rng.choice([0.0, 0.002]),
    }  # fmt: skip
    return params, {"load_mw": rng.uniform(0.0, 0.6, n)}, {"stored_mwh": capacity * rng.uniform(0.0, 1.0)}


def _ev_fleet(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    sessions, total = [], 0.0
    for k in range(int(rng.integers(1, 4))):
        count, power, feeds = int(rng.choice([1, 12])), rng.uniform(0.007, 0.15), bool(rng.random() < 0.4)
        come, stay_h = int(rng.integers(0, 24 * 60)), int(rng.integers(1, 14))
        session = {
            "id": f"s{k}", "count": count, "arrival": f"{come // 60:02}:{come % 60:02}", "power_mw": power / count,
            "departure": f"{(come // 60 + stay_h) % 24:02}:{come % 60:02}",
            "energy_mwh": power * stay_h * rng.uniform(0.0, 0.8) / count, "v2g_mw": feeds * power / count,
            "lend_mwh": feeds * rng.uniform(0.0, 0.1) / count,
        }  # fmt: skip
        total += power
        sessions.append(session)
    params = {"sessions": sessions, "feeder_mw": total * rng.choice([0.5, 0.9, 1.5]), "wear_eur_per_mwh": 12.0}
    return params, {}, {"stored_mwh": rng.uniform(0.0, 0.3)}


def _batch(rng: Rng, n: int) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    """Jobs from 09:00 on; the oracles' grids begin at 10:00 local time. Nothing, one task or part of one is done."""
    jobs, at = [], 180
    for k in range(int(rng.integers(1, 4))):
        pieces = [{"minutes": int(rng.choice([10, 20, 45])), "power_mw": rng.uniform(0.3, 2.5)} for _ in range(3)]
        minutes, count = sum(p["minutes"] for p in pieces), int(rng.integers(1, 3))
        at = min(at, 1440 - minutes)
        last = min(at + count * (minutes + 30) + int(rng.integers(0, 200)), 1440 - minutes)
        first, latest = (f"{(6 + m // 60) % 24:02}:{m % 60:02}" for m in (at, last))
        jobs.append({"id": f"j{k}", "profile": pieces, "earliest": first, "latest": latest, "count": count,
                     "missed_eur": rng.choice([30.0, 3000.0])})  # fmt: skip
        at = last - int(rng.integers(0, 60))
    params = {
        "jobs": jobs, "turnaround_min": int(rng.choice([0, 10])), "setup_min": int(rng.choice([0, 30])),
        "max_gap_min": int(rng.choice([15, 60])) if rng.random() < 0.6 else None, "break_eur": rng.uniform(50.0, 400.0),
    }  # fmt: skip
    first = sum(p["minutes"] / 60.0 * p["power_mw"] for p in jobs[0]["profile"])
    share = rng.choice([0.0, 0.3, 0.8, 1.0, 1.5])
    return params, {}, {"stored_mwh": first * share, "on": bool(share % 1.0)}


MAKE: dict[str, Callable[[Rng, int], tuple[dict[str, Any], dict[str, Array], dict[str, Any]]]] = {
    "battery": _battery, "curtailable": _curtailable, "fixed_load": _fixed_load, "price_elastic": _price_elastic,
    "chp": _chp, "thermal_store": _thermal_store, "process": _process, "backup_battery": _backup_battery,
    "ev_fleet": _ev_fleet, "thermal_unit": _thermal_unit, "batch": _batch, **SITE_LOADS,
}  # fmt: skip
GRID_NAMES = sorted(GRIDS)


def random_fleet(
    seed: int, grid_name: str, kinds: Sequence[str] = tuple(MAKE), outages: bool = True, n: int = 2
) -> Fleet:
    """`n` assets of each kind over one of the oracles' grids; the mills share a silo. Some may be out of service."""
    rng, grid = np.random.default_rng(seed), GRIDS[grid_name]
    assets, states, inputs = [], {}, Inputs()
    for kind in kinds:
        crew = int(rng.choice([1, 2])) if rng.random() < 0.4 else None
        shipped, content = rng.uniform(0.0, 90.0, grid.n), rng.uniform(0.2, 18.5) / n
        for i in range(n):
            params, given, state = MAKE[kind](rng, grid.n)
            name, tan_phi = f"{kind}-{i}", float(rng.choice([0.0, 0.3]))
            if kind == "process":
                params, given = {**params, "crew_limit": crew}, {**given, "shipments_t_per_h": shipped}
                state = {**state, "stored_mwh": content}
            since = int(rng.choice([1, 40, 100, 100_000]))
            assets.append(
                Asset(name, kind, "s", f"mp:{name}", "n", None, KINDS[kind].Params(**params), tan_phi=tan_phi)
            )
            in_service = not outages or bool(rng.random() < 0.85)
            full = {"power_mw": 0.0, "minutes_in_state": since, "available": in_service, **state}
            states[name], inputs[name] = AssetState(name, grid.start, grid.start, **full), given
    return Fleet(grid, tuple(assets), states, inputs)


def price_block(asset_ids: Sequence[str], grid: TimeGrid, price: Array) -> Block:
    """The net injection of all assets sold at a price (T,)."""
    net = Columns("net_mw", (1, grid.n), -INF, INF, -price * grid.hours, term="energy")
    total = np.kron(np.ones((1, len(asset_ids))), np.eye(grid.n))
    return Block("price", (net,), (Rows("net", 0.0, 0.0, eye(grid.n), sp.csr_array(-total)),))


@dataclass(frozen=True)
class Planned:
    """The optimum of a fleet against a price, with its cost by term."""

    problem: Problem
    schedule: Schedule
    costs: Mapping[str, float]


def plan(fleet: Fleet, seed: int, gap: float = 1e-3, **more: Any) -> Planned:
    """Solved to `gap`, then as a linear program with the integers fixed."""
    rng = np.random.default_rng(seed)
    price = rng.uniform(10.0, 160.0, fleet.grid.n)
    context, ids = fleet.context(**more), tuple(a.id for a in fleet.assets)
    ends = dict(context.end_value)
    for asset in fleet.assets:
        if KINDS[asset.kind].store(asset) is not None:
            ends.setdefault(asset.id, EndValue(np.array([0.3, 0.5]), np.array([40.0, 20.0])))
    context = replace(context, end_value=ends)
    kinds = dict.fromkeys(a.kind for a in fleet.assets)
    blocks = [KINDS[k].block([a for a in fleet.assets if a.kind == k], context) for k in kinds]
    problem = assemble(fleet.grid, ids, [*blocks, price_block(ids, fleet.grid, price)])
    raw = solved(problem, gap)
    tan_phi = np.array([a.tan_phi for a in fleet.assets])
    return Planned(problem, read_schedule(problem, raw.x, None, tan_phi), cost_terms(problem, raw.x))


def solved(problem: Problem, gap: float) -> Raw:
    """Through the door; without presolve where HiGHS's presolve loses a feasible problem or its status."""
    try:
        living = Living(problem)
        return living.solve_fixed(living.solve_mip(30.0, gap).x)
    except NotSolved:
        loaded = highs_door._loaded

        def without_presolve(problem: Problem, *, integral: bool) -> Any:
            highs = loaded(problem, integral=integral)
            highs.setOptionValue("presolve", "off")
            return highs

        with mock.patch.object(highs_door, "_loaded", without_presolve):
            living = Living(problem)
            return living.solve_fixed(living.solve_mip(60.0, gap).x)
