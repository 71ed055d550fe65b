"""Small random unit-commitment cases in the PGLib-UC format, and the literal model of its MODEL.pdf."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyomo.environ as pyo

from tests.dispatch.commitment_oracle import solve

Rng = np.random.Generator


def random_unit(rng: Rng, steps: int) -> dict[str, Any]:
    """Parameters of a generator without its history; about half have ramps that cover their range."""
    low = float(rng.integers(5, 40))
    high = low + float(rng.integers(10, 60))
    inner = np.sort(rng.choice(np.arange(low + 1, high), int(rng.integers(0, 3)), replace=False))
    mw = np.array([low, *inner, high])
    slopes = np.sort(rng.uniform(10.0, 60.0, mw.size - 1))
    cost = rng.uniform(50.0, 400.0) + np.concatenate([[0.0], np.cumsum(slopes * np.diff(mw))])
    up, down = int(rng.choice([1, 1, 2, 3, 5])), int(rng.choice([1, 2, 3]))
    lags = [down, *(down + np.cumsum(rng.integers(1, 5, int(rng.integers(0, 3))))).tolist()]
    ramp = (high - low) * rng.choice([0.3, 0.6, 1.5])
    edge = low + min(ramp, (high - low)) * rng.choice([0.0, 0.5, 1.0], 2)
    return {
        "must_run": int(rng.random() < 0.1), "power_output_minimum": low, "power_output_maximum": high,
        "ramp_up_limit": float(ramp), "ramp_down_limit": float(ramp * rng.choice([0.9, 1.0])),
        "ramp_startup_limit": float(edge[0]), "ramp_shutdown_limit": float(low + 0.9 * (edge[1] - low)),
        "time_up_minimum": up, "time_down_minimum": down,
        "startup": [
            {"lag": int(lag), "cost": float(c)}
            for lag, c in zip(lags, np.cumsum(rng.uniform(20.0, 300.0, len(lags))), strict=True)
        ],
        "piecewise_production": [{"mw": float(a), "cost": float(b)} for a, b in zip(mw, cost, strict=True)],
    }  # fmt: skip


def random_case(seed: int, steps: int = 10, kinds: int = 2, copies: int = 3) -> dict[str, Any]:
    """`copies` generators of each of `kinds` parameter sets, with histories of their own, that can meet the demand."""
    rng = np.random.default_rng(seed)
    units: dict[str, dict[str, Any]] = {}
    for k in range(kinds):
        params = random_unit(rng, steps)
        for j in range(copies):
            on = int(rng.random() < 0.5 or params["must_run"])
            most = min(params["power_output_maximum"], params["ramp_shutdown_limit"])
            units[f"unit{k}-{j}"] = {
                **params, "unit_on_t0": on, "time_up_t0": on * int(rng.integers(1, 6)),
                "time_down_t0": (1 - on) * int(rng.integers(1, 12)),
                "power_output_t0": on * float(rng.uniform(params["power_output_minimum"], most)),
            }  # fmt: skip
    size = sum(u["power_output_maximum"] for u in units.values())
    wind = [float(v) for v in rng.uniform(0.0, 0.3 * size, steps)]
    demand = size * (0.45 + 0.25 * np.sin(np.arange(steps) / 2.5 + rng.uniform(0.0, 6.0)))
    units["peaker"] = _peaker(size)
    return {
        "time_periods": steps, "demand": [float(v) for v in demand], "reserves": [float(0.04 * v) for v in demand],
        "thermal_generators": units,
        "renewable_generators": {
            "export": {"power_output_minimum": [-size] * steps, "power_output_maximum": [0.0] * steps},
            "wind": {"power_output_minimum": [0.1 * v for v in wind], "power_output_maximum": wind},
        },
    }  # fmt: skip


def _peaker(size: float) -> dict[str, Any]:
    """A dear generator without limits, so that every case has a plan."""
    free = {"ramp_up_limit": size, "ramp_down_limit": size, "ramp_startup_limit": size, "ramp_shutdown_limit": size}
    return {
        "must_run": 0, "power_output_minimum": 0.0, "power_output_maximum": size, **free, "time_up_minimum": 1,
        "time_down_minimum": 1, "power_output_t0": 0.0, "unit_on_t0": 0, "time_up_t0": 0, "time_down_t0": 9,
        "startup": [{"lag": 1, "cost": 900.0}],
        "piecewise_production": [{"mw": 0.0, "cost": 100.0}, {"mw": size, "cost": 100.0 + 150.0 * size}],
    }  # fmt: skip


def literal_optimum(case: dict[str, Any]) -> float:
    """The optimum of MODEL.pdf, equation by equation. Raises AssertionError where there is none."""
    steps, units = range(case["time_periods"]), case["thermal_generators"]
    model = pyo.ConcreteModel()
    for name in ("u", "v", "w"):
        setattr(model, name, pyo.Var(list(units), steps, domain=pyo.Binary))
    for name in ("p", "r"):
        setattr(model, name, pyo.Var(list(units), steps, domain=pyo.NonNegativeReals))
    model.part = pyo.Var(list(units), range(4), steps, domain=pyo.NonNegativeReals)
    model.hot = pyo.Var(list(units), range(3), steps, domain=pyo.Binary)
    model.sun = pyo.Var(list(case["renewable_generators"]), steps)
    model.rules = pyo.ConstraintList()
    money = sum(_unit(model, g, unit, steps) for g, unit in units.items())
    for name, source in case["renewable_generators"].items():
        for t in steps:
            model.rules.add((source["power_output_minimum"][t], model.sun[name, t], source["power_output_maximum"][t]))
    for t in steps:
        thermal = sum(model.p[g, t] + u["power_output_minimum"] * model.u[g, t] for g, u in units.items())
        model.rules.add(thermal + sum(model.sun[n, t] for n in case["renewable_generators"]) == case["demand"][t])
        model.rules.add(sum(model.r[g, t] for g in units) >= case["reserves"][t])
    model.objective = pyo.Objective(expr=money)
    return solve(model)


def _unit(model: Any, g: str, q: dict[str, Any], steps: range) -> Any:
    """Rules of one generator; its cost."""
    u, v, w, p, r = (getattr(model, name) for name in ("u", "v", "w", "p", "r"))
    low, high, last, add = q["power_output_minimum"], q["power_output_maximum"], steps[-1], model.rules.add
    on0, first = q["unit_on_t0"], q["unit_on_t0"] * (q["power_output_t0"] - q["power_output_minimum"])
    start, stop = max(high - q["ramp_startup_limit"], 0.0), max(high - q["ramp_shutdown_limit"], 0.0)
    up, down, lags = q["time_up_minimum"], q["time_down_minimum"], [s["lag"] for s in q["startup"]]
    held = (up - q["time_up_t0"]) if on0 else (down - q["time_down_t0"])
    points = q["piecewise_production"]
    money = 0.0
    for t in steps:
        if t < held:
            add(u[g, t] == on0)
        add(u[g, t] >= (q["must_run"] if on0 or t >= held else 0))
        add(u[g, t] - (u[g, t - 1] if t else on0) == v[g, t] - w[g, t])
        add(sum(v[g, s] for s in steps if t - up < s <= t) <= u[g, t])
        add(sum(w[g, s] for s in steps if t - down < s <= t) <= 1 - u[g, t])
        add(v[g, t] + w[g, t] <= 1)
        add(p[g, t] + r[g, t] <= (high - low) * u[g, t] - start * v[g, t])
        if t < last:
            add(p[g, t] + r[g, t] <= (high - low) * u[g, t] - stop * w[g, t + 1])
        before = p[g, t - 1] if t else first
        add(p[g, t] + r[g, t] - before <= q["ramp_up_limit"])
        add(before - p[g, t] <= q["ramp_down_limit"])
        if t == 0:
            add(first <= (high - low) * on0 - stop * w[g, 0])
        share = [model.part[g, k, t] for k in range(len(points))]
        add(sum(share) == u[g, t])
        add(sum((c["mw"] - low) * x for c, x in zip(points, share, strict=True)) == p[g, t])
        money += sum(c["cost"] * x for c, x in zip(points, share, strict=True))
        hot = [model.hot[g, k, t] for k in range(len(lags))]
        add(sum(hot) == v[g, t])
        for k, (this, following) in enumerate(itertools.pairwise(lags)):
            stops = sum(w[g, s] for s in steps if this <= t - s < following)
            before_grid = 1 if not on0 and this <= t + q["time_down_t0"] < following else 0
            add(hot[k] <= stops + before_grid)
        money += sum(s["cost"] * x for s, x in zip(q["startup"], hot, strict=True))
    return money
