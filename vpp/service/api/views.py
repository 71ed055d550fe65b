"""Domain values as JSON: gaps (NaN) are null, infinities are null, money is a decimal string."""

from __future__ import annotations

import math
from typing import Any

from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import Array, TimeGrid, rfc3339
from vpp.service.plan import certificate_json
from vpp.service.received import LIMITS
from vpp.service.statements import plain


def jsonable(value: Any) -> Any:
    """`value` as strict JSON."""
    return _finite(plain(value))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(v) for v in value]
    return value


def numbers(values: Array, factor: float = 1.0) -> list[float | None]:
    """(T,) with gaps as null."""
    return [float(v) * factor if math.isfinite(v) else None for v in values]


def times(grid: TimeGrid) -> list[str]:
    return [rfc3339(t) for t in grid.starts]


def schedule_json(schedule: Schedule) -> dict[str, Any]:
    """Trajectories by asset; lists are over `times`, `minutes` the length of each interval."""
    return {
        "times": times(schedule.grid), "minutes": list(schedule.grid.minutes),
        "power_mw": {a: numbers(schedule.power_mw[i]) for i, a in enumerate(schedule.asset_ids)},
        "q_mvar": {a: numbers(schedule.q_mvar[i]) for i, a in enumerate(schedule.asset_ids)},
        "commitment": jsonable(schedule.commitment), "energy_mwh": jsonable(schedule.stored_mwh),
        "decisions": jsonable(schedule.decisions), "marginal_value_eur_per_mwh": jsonable(schedule.marginal_value),
    }  # fmt: skip


def run_json(run: DispatchRun) -> dict[str, Any]:
    """Everything recorded of one run."""
    s = run.solution
    return {
        "id": run.id, "stage": run.stage, "purpose": run.purpose, "cycle_start": rfc3339(run.cycle_start),
        "issued_at": rfc3339(run.issued_at), "level": run.level, "reason": run.reason, "released": run.released,
        "status": s.status if s else "fallback", "objective": s.objective if s else None,
        "bound": s.bound if s else None, "gap": s.gap if s else None, "rounds": s.rounds if s else 0,
        "costs": dict(s.costs) if s else {}, "wall_s": dict(run.wall_s), "inputs_digest": run.inputs_digest,
        "certificate": certificate_json(run.certificate, run.schedule.grid) if run.certificate else None,
        "schedule": schedule_json(run.schedule),
        "limits": run.inputs.get(LIMITS),
    }  # fmt: skip
