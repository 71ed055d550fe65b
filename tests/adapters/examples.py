"""Small runs, set-points and readings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st

from vpp.domain.command import Setpoint, Telemetry
from vpp.domain.network import Certificate, Contingency, FaultCheck, Loading, Violation, Voltage
from vpp.domain.schedule import DispatchRun, Schedule, Solution
from vpp.domain.time import MINUTE, Array, TimeGrid

NOW = datetime(2016, 7, 12, 10, 0, tzinfo=UTC)
WORST = Violation("line 84", 3, 101.5, 100.0, "%")
LOST = Contingency(
    "trafo 0", None, 1.5, (1, 3), 0, Loading("line 84", 3, 130.0, 120.0), Voltage("bus 7", 1, 0.94, 0.95, 0.01)
)
FAULTS = (
    FaultCheck("one_transformer_out", True, 2, (LOST,), "trafo 1: nothing else feeds what it feeds"),
    FaultCheck("reswitching", False, 9, (), "", {"line 3": "load cut"}, (LOST,)),
)


def schedule(asset_ids: tuple[str, ...] = ("a", "b"), steps: int = 4, seed: int = 0) -> Schedule:
    """Random numbers of the right shapes."""
    draw = np.random.default_rng(seed)

    def rows() -> dict[str, Array]:
        return {asset: draw.normal(size=steps) for asset in asset_ids}

    shape = (len(asset_ids), steps)
    return Schedule(
        asset_ids, TimeGrid.uniform(NOW, MINUTE, steps), draw.normal(size=shape), draw.normal(size=shape),
        rows(), rows(), {asset: {"boiler_mw_th": draw.normal(size=steps)} for asset in asset_ids}, rows(),
    )  # fmt: skip


def run(run_id: str = "r1", **changes: Any) -> DispatchRun:
    """A released real-time run with a clean certificate."""
    plan = changes.pop("schedule", schedule())
    values: dict[str, Any] = {
        "id": run_id, "stage": "real_time", "purpose": "dispatch", "cycle_start": NOW, "issued_at": NOW,
        "level": "optimal", "reason": "", "solution": Solution(plan, 12.5, 12.25, "optimal", {"energy": 12.5}),
        "schedule": plan, "certificate": Certificate(
            "clean", "pandapower", 200, 0.97, WORST, {"default": 0}, (), None, ("expected", "default"), FAULTS
        ),
        "inputs_digest": "d", "wall_s": {"total": 0.1},
    }  # fmt: skip
    return DispatchRun(**{**values, **changes})


def setpoint(asset_id: str = "a", number: int = 1, **changes: Any) -> Setpoint:
    """0.5 MW for five minutes from NOW."""
    values: dict[str, Any] = {
        "id": f"r1:{asset_id}:{number}", "asset_id": asset_id, "quantity": "power_mw", "value": 0.5,
        "issued_at": NOW, "valid_from": NOW, "valid_until": NOW + 5 * MINUTE, "run_id": "r1", "epoch": 1,
    }  # fmt: skip
    return Setpoint(**{**values, **changes})


def reading(asset_id: str = "a", at: datetime = NOW, **changes: Any) -> Telemetry:
    """A device at 0.5 MW."""
    values: dict[str, Any] = {
        "asset_id": asset_id, "at": at, "power_mw": 0.5, "q_mvar": 0.1, "stored_mwh": 1.5, "on": True,
        "available": True, "minutes_in_state": 7, "in_default": False, "setpoint_sequence": 3,
    }  # fmt: skip
    return Telemetry(**{**values, **changes})


def same(first: Any, second: Any) -> bool:
    """Equal bit for bit, arrays and NaN included."""
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=True)
    if hasattr(first, "__dataclass_fields__"):
        return type(first) is type(second) and all(
            same(getattr(first, name), getattr(second, name)) for name in first.__dataclass_fields__
        )
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, tuple | list):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second) or (first != first and second != second)


times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any floats, NaN and infinities included."""
    n, steps = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    ids = tuple(f"asset {i}" for i in range(n))

    def row() -> Array:
        return np.array(draw(st.lists(st.floats(), min_size=steps, max_size=steps)), dtype=float)

    def block() -> Array:
        return np.array([row() for _ in range(n)], dtype=float).reshape(n, steps)

    minutes = tuple(draw(st.lists(st.integers(1, 60), min_size=steps, max_size=steps)))
    grid = TimeGrid(draw(times), minutes)
    part = {asset: row() for asset in ids[:1]}
    return Schedule(ids, grid, block(), block(), part, part, {asset: {"x": row()} for asset in ids[1:]}, part)
