"""Random buildings, thermostat clusters, water works and plant utilities: parameters, inputs and state of one asset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vpp.domain.time import Array

Rng = np.random.Generator
Made = tuple[dict[str, Any], dict[str, Array], dict[str, Any]]


def _building(rng: Rng, n: int) -> Made:
    heats = bool(rng.random() < 0.4)
    capacity = rng.uniform(0.1, 1.0)
    params = {
        "mode": "heating" if heats else "cooling", "max_power_mw": rng.uniform(0.1, 0.5), "cop_at_20c": 4.0,
        "cop_slope_per_c": 0.05 if heats else -0.05, "heat_capacity_mwh_th_per_c": capacity,
        "transmittance_mw_th_per_c": rng.uniform(0.01, 0.08), "comfort_min_c": 21.0, "comfort_max_c": 24.0,
        "setback_min_c": rng.choice([17.0, 21.0]), "setback_max_c": rng.choice([24.0, 28.0]),
        "discomfort_eur_per_c_h": rng.uniform(5.0, 80.0),
    }  # fmt: skip
    inputs = {
        "ambient_c": rng.uniform(-8.0, 14.0, n) if heats else rng.uniform(20.0, 38.0, n),
        "internal_mw_th": rng.uniform(0.0, 0.2, n), "solar_mw_th": rng.uniform(0.0, 0.3, n),
        "occupancy": rng.choice([0.0, 0.4, 1.0], n),
    }  # fmt: skip
    return params, inputs, {"stored_mwh": capacity * rng.uniform(-1.0, 8.0), "power_mw": -0.05}


def _thermostat_cluster(rng: Rng, n: int) -> Made:
    heats, count = bool(rng.random() < 0.4), int(rng.integers(300, 900))
    params = {
        "mode": "heating" if heats else "cooling", "count": count, "unit_kw": rng.uniform(1.0, 2.0), "cop_at_20c": 3.8,
        "cop_slope_per_c": 0.05 if heats else -0.05, "unit_heat_capacity_kwh_th_per_c": rng.uniform(1.0, 3.0),
        "unit_transmittance_kw_th_per_c": rng.uniform(0.1, 0.3), "set_c": 22.0, "band_c": 2.0,
        "min_on_min": rng.choice([0.0, 5.0, 30.0]), "min_off_min": rng.choice([0.0, 3.0, 40.0]),
        "discomfort_eur_per_unit_c_h": rng.uniform(0.1, 0.6), "patience_c_h_per_day": rng.uniform(0.5, 12.0),
        "fatigue_eur_per_unit_c_h": rng.uniform(0.05, 0.4),
    }  # fmt: skip
    ambient = rng.uniform(-4.0, 14.0, n) if heats else rng.uniform(22.0, 36.0, n)
    inputs = {"ambient_c": ambient, "gains_mw_th": count * rng.uniform(0.0, 0.5, n) / 1000.0}
    full = 2.0 * count * params["unit_heat_capacity_kwh_th_per_c"] / 1000.0
    power = count * params["unit_kw"] / 1000.0 * rng.uniform(0.0, 1.0)
    return params, inputs, {"stored_mwh": full * rng.uniform(-0.2, 1.2), "power_mw": -power}


def _water_works(rng: Rng, n: int) -> Made:
    most = rng.uniform(0.4, 1.2)
    params = {
        "max_power_mw": most, "min_power_mw": most * rng.uniform(0.2, 0.6),
        "capacity_mwh": most * rng.uniform(0.5, 3.0),
        "loss_per_h": rng.choice([0.0, 0.02]), "longest_pause_h": (0.3, 0.75, 2.0, None)[int(rng.integers(4))],
        "recovery_h": rng.choice([0.0, 0.5, 1.5]), "recovered_share": rng.choice([0.0, 0.5]),
        "start_cost_eur": rng.uniform(1.0, 9.0),
    }  # fmt: skip
    on = bool(rng.random() < 0.5)
    state = {"stored_mwh": params["capacity_mwh"] * rng.uniform(0.0, 1.0), "on": on, "power_mw": -0.5 * most * on}
    return params, {"need_mw": most * rng.uniform(0.1, 0.9, n)}, state


def _utilities(rng: Rng, n: int) -> Made:
    parts = rng.dirichlet([4.0, 2.0, 2.0])
    units = tuple(
        {"name": name, "min_power_mw": 0.1 * share, "max_power_mw": 2.0 * share, "store_mwh": rng.uniform(0.05, 0.6),
         "share": share}
        for name, share in zip(("chillers", "compressed_air", "pure_water"), parts, strict=True)
    )  # fmt: skip
    params = {
        "utilities": units, "process_peak_mw": 3.5, "band_share": rng.choice([0.05, 0.1, 0.3]),
        "loss_per_h": rng.choice([0.0, 0.03]),
    }  # fmt: skip
    inputs = {"process_mw": rng.uniform(1.5, 3.5, n), "utilities_mw": rng.uniform(0.4, rng.choice([1.6, 2.4]), n)}
    stored = sum(u["store_mwh"] for u in units) * rng.uniform(0.0, 1.1)
    return params, inputs, {"stored_mwh": stored, "power_mw": -3.0}


SITE_LOADS: dict[str, Callable[[Rng, int], Made]] = {
    "building": _building, "thermostat_cluster": _thermostat_cluster, "water_works": _water_works,
    "utilities": _utilities,
}  # fmt: skip
