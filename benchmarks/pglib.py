"""The PGLib-UC instance format: read, checked, and brought into arrays of thermal units.

Format and reference model: IEEE PES Task Force on Benchmarks for Validation of Emerging Power System
Algorithms, Power Grid Lib - Unit Commitment, MODEL.pdf. Steps are hours; a start's `lag` is the time off line
in hours from which its cost holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets._commitment import EPS_MIN, Machines
from dispatch.assets._start_match import Prices, StopsBefore
from dispatch.assets._thermal import Units
from dispatch.assets._thermal_limits import Shape
from vpp.domain.time import Array, TimeGrid

EPS_MW = 1e-6
START = datetime(2020, 1, 1, tzinfo=UTC)


class StartCost(BaseModel):
    """A start after `lag` hours off line costs `cost`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    lag: int = Field(ge=0)
    cost: float = Field(ge=0)


class CostPoint(BaseModel):
    """An hour at `mw` costs `cost`."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mw: float = Field(ge=0)
    cost: float


class Thermal(BaseModel):
    """One thermal generator."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    must_run: int = Field(ge=0, le=1)
    power_output_minimum: float = Field(ge=0)
    power_output_maximum: float = Field(ge=0)
    ramp_up_limit: float = Field(ge=0)
    ramp_down_limit: float = Field(ge=0)
    ramp_startup_limit: float = Field(ge=0)
    ramp_shutdown_limit: float = Field(ge=0)
    time_up_minimum: int = Field(ge=0)
    time_down_minimum: int = Field(ge=0)
    power_output_t0: float
    unit_on_t0: int = Field(ge=0, le=1)
    time_up_t0: int = Field(ge=0)
    time_down_t0: int = Field(ge=0)
    startup: tuple[StartCost, ...] = Field(min_length=1)
    piecewise_production: tuple[CostPoint, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Thermal:
        points, starts = self.piecewise_production, self.startup
        slopes = [(b.cost - a.cost) / (b.mw - a.mw) for a, b in itertools.pairwise(points) if b.mw > a.mw]
        faults = []
        ends = points[0].mw - self.power_output_minimum, points[-1].mw - self.power_output_maximum
        if max(map(abs, ends)) > EPS_MW:
            faults.append("piecewise_production does not run from minimum to maximum output")
        if len(slopes) != len(points) - 1 or any(b < a - 1e-6 for a, b in itertools.pairwise(slopes)):
            faults.append("piecewise_production is not convex")
        if any(b.lag <= a.lag or b.cost < a.cost for a, b in itertools.pairwise(starts)):
            faults.append("startup lags and costs do not rise")
        if faults:
            raise ValueError("; ".join(faults))
        return self


class Renewable(BaseModel):
    """One renewable generator: output between the two series, free of cost."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    power_output_minimum: tuple[float, ...]
    power_output_maximum: tuple[float, ...]


class Instance(BaseModel):
    """One case."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    time_periods: int = Field(gt=0)
    demand: tuple[float, ...]
    reserves: tuple[float, ...]
    thermal_generators: dict[str, Thermal] = Field(min_length=1)
    renewable_generators: dict[str, Renewable]

    @model_validator(mode="after")
    def _complete(self) -> Instance:
        series = {"demand": self.demand, "reserves": self.reserves}
        for name, r in self.renewable_generators.items():
            series |= {f"{name} minimum": r.power_output_minimum, f"{name} maximum": r.power_output_maximum}
        short = [name for name, values in series.items() if len(values) != self.time_periods]
        if short:
            raise ValueError(f"not {self.time_periods} values: {', '.join(short)}")
        return self


@dataclass(frozen=True)
class Fleet:
    """The thermal generators as single units, hours since their last change, and must-run as 1 (else -1), (n,T)."""

    names: tuple[str, ...]
    units: Units
    since_min: Array
    decided: NDArray[np.int8]


def read(path: Path) -> Instance:
    """The instance in `path`. Raises pydantic.ValidationError with all faults at once."""
    return Instance.model_validate_json(path.read_bytes())


def grid_of(instance: Instance) -> TimeGrid:
    """Its hours, from an arbitrary midnight."""
    return TimeGrid(START, (60,) * instance.time_periods)


def fleet(generators: Mapping[str, Thermal], steps: int) -> Fleet:
    """Arrays of the thermal generators over `steps` hours."""
    units = list(generators.values())

    def column(name: str) -> Array:
        return np.array([getattr(u, name) for u in units], dtype=float).reshape(-1, 1)

    low, high, on = column("power_output_minimum"), column("power_output_maximum"), column("unit_on_t0")
    up, down = 60.0 * column("time_up_minimum"), 60.0 * column("time_down_minimum")
    since = 60.0 * np.where(on > 0.0, column("time_up_t0"), column("time_down_t0"))
    times, wide = 60.0 * np.arange(steps), np.ones((1, steps))
    held = times < np.where(on > 0.0, up, down) - since - EPS_MIN
    decided = np.where(column("must_run") > 0.0, 1, -1).astype(np.int8) * np.ones((1, steps), dtype=np.int8)
    known = np.where(held, on, decided).astype(np.int8)
    excused = np.zeros(known.shape, dtype=bool)
    shape = Shape(
        low, high, np.clip(column("ramp_startup_limit"), low, high) * wide,
        np.clip(column("ramp_shutdown_limit"), low, high) * wide, column("ramp_up_limit") * wide,
        column("ramp_down_limit") * wide, times, np.full(steps, 60.0), up, excused,
    )  # fmt: skip
    no_load, width, slope = _costs(units)
    off = np.flatnonzero(on[:, 0] == 0.0)
    stopped = StopsBefore(off, since[off, 0], np.ones(off.size))
    machines = Machines(known, excused, on[:, 0], times, up, down)
    found = Units(
        machines, shape, np.ones_like(low), (known == 1).astype(float), (known != 0).astype(float),
        np.where(on > 0.0, column("power_output_t0"), 0.0), no_load, width, slope, _prices(units), stopped,
    )  # fmt: skip
    return Fleet(tuple(generators), found, since[:, 0], decided)


def _costs(units: list[Thermal]) -> tuple[Array, Array, Array]:
    """Cost at minimum output (n,1), widths and slopes of the segments above it (n,L)."""
    most = max(len(u.piecewise_production) for u in units) - 1
    no_load = np.array([[u.piecewise_production[0].cost] for u in units])
    width, slope = np.zeros((len(units), most)), np.zeros((len(units), most))
    for i, u in enumerate(units):
        mw, cost = (np.array([getattr(p, name) for p in u.piecewise_production]) for name in ("mw", "cost"))
        mw[0], mw[-1] = u.power_output_minimum, u.power_output_maximum
        width[i, : mw.size - 1], slope[i, : mw.size - 1] = np.diff(mw), np.diff(cost) / np.diff(mw)
    return no_load, width, slope


def _prices(units: list[Thermal]) -> Prices:
    most = max(len(u.startup) for u in units)
    after, eur = np.full((len(units), most), np.inf), np.zeros((len(units), most))
    for i, u in enumerate(units):
        after[i, : len(u.startup)] = [60.0 * s.lag for s in u.startup]
        eur[i] = u.startup[-1].cost
        eur[i, : len(u.startup)] = [s.cost for s in u.startup]
        after[i, 0] = 0.0
    return Prices(after, eur)
