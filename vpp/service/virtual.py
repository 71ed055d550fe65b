"""Start the virtual plant of a portfolio, or find the one that is still running, and wire it to the service.

The plant gets its specification and the true series as files; it shares no code with dispatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from adapters.plant_link import PlantFailed, PlantLink, connect, start_plant
from grid_models.model import GridModel
from vpp.domain.portfolio import Asset, AssetState, Input
from vpp.domain.time import QUARTER, rfc3339
from vpp.service.asset_checks import CONFIG
from vpp.service.bootstrap import connect_field
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.system import System

HISTORY_DAYS = 30


@dataclass(frozen=True)
class PlantPlan:
    """When and how the plant runs; `speed` None is lockstep."""

    start: datetime
    end: datetime
    seed: int
    speed: float | None
    directory: Path
    idle_exit_s: float = 900.0


def series_file(loaded: LoadedPortfolio, grid: GridModel | None, path: Path) -> None:
    """Write the true series (p and q per unit) for the plant."""
    series = dict(loaded.series) | (dict(grid.series) if grid else {})
    start = min(s.start for s in series.values())
    count = max((s.start - start) // QUARTER + len(s.values) for s in series.values())
    p, q = np.full((len(series), count), np.nan), np.zeros((len(series), count))
    reactive: Mapping[str, Any] = grid.q_values if grid else {}
    for i, (name, s) in enumerate(series.items()):
        first = (s.start - start) // QUARTER
        p[i, first : first + len(s.values)] = s.values
        if name in reactive:
            q[i, first : first + len(s.values)] = reactive[name]
    np.savez(path, ids=np.array(list(series)), start=np.array(rfc3339(start)), p=p, q=q)


def specification(
    loaded: LoadedPortfolio, initial: Mapping[str, AssetState], plan: PlantPlan, truth: Path
) -> dict[str, Any]:
    """The plant's SPEC: assets, clock, truth and randomness."""
    return {
        "portfolio": loaded.portfolio.id, "zone": loaded.portfolio.zone, "start": rfc3339(plan.start),
        "end": rfc3339(plan.end), "seed": plan.seed, "speed": plan.speed,
        "announce": str(plan.directory / "plant.json"), "log": str(plan.directory / "plant-log.db"),
        "devices_dir": str(CONFIG / "devices"), "series_file": str(truth),
        "assets": [_asset(a, loaded.devices[a.id]) for a in loaded.portfolio.assets],
        "initial": {a: _state(s) for a, s in initial.items()},
        "history_days": HISTORY_DAYS, "idle_exit_s": plan.idle_exit_s,
        "randomness": {
            "price_taker_sigma": loaded.response.price_taker_sigma,
            "request_share_low": loaded.response.request_share_low,
        },
    }  # fmt: skip


def _asset(asset: Asset, profile: str) -> dict[str, Any]:
    return {
        "id": asset.id, "kind": asset.kind, "site": asset.site, "metering_point": asset.metering_point,
        "profile": profile, "tan_phi": asset.tan_phi, "params": asset.params.model_dump(mode="json"),
        "inputs": {name: _input(given) for name, given in asset.inputs.items()},
    }  # fmt: skip


def _input(given: Input) -> dict[str, Any]:
    source = {"series": given.series} if given.series is not None else {"hourly": list(given.hourly)}
    return {"scale": given.scale, **source}


def _state(s: AssetState) -> dict[str, Any]:
    minutes = min(s.minutes_in_state, 1_000_000)
    return {"power_mw": s.power_mw, "stored_mwh": s.stored_mwh, "on": s.on, "minutes_in_state": minutes}


def launch(
    loaded: LoadedPortfolio, grid: GridModel | None, initial: Mapping[str, AssetState], plan: PlantPlan
) -> PlantLink:
    """Start the plant's process. Raises PlantFailed."""
    plan.directory.mkdir(parents=True, exist_ok=True)
    truth = plan.directory / "truth.npz"
    series_file(loaded, grid, truth)
    return start_plant(specification(loaded, initial, plan, truth), plan.directory)


def find(directory: Path) -> PlantLink | None:
    """The plant that still runs from an earlier start, if any."""
    try:
        return connect(directory / "plant.json")
    except PlantFailed:
        return None


def wire(system: System, link: PlantLink, directory: Path, redis_url: str | None = None) -> None:
    """Let the service command the plant's devices, through Redis where a server is given, and read its meters."""
    connect_field(system, link.hello().devices, directory / "device-log.db", redis_url)
    system.meters, system.truth = link.meters, link.minutes
