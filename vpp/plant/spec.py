"""What a plant is told before it starts: its devices, its clock, its truth and where it writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from vpp.domain.errors import Fault, InputFaults
from vpp.domain.time import QUARTER
from vpp.plant.kinds import DEVICES
from vpp.plant.making import Randomness

MOST_UNITS = 247


class Strict(BaseModel):
    """Unknown fields, NaN and infinity are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSpec(Strict):
    """`scale` times a series, or times 24 values by local hour."""

    scale: float = 1.0
    series: str | None = None
    hourly: tuple[float, ...] = Field((1.0,) * 24, min_length=24, max_length=24)


class AssetSpec(Strict):
    """One device: its kind, the site whose server it hangs on, its register map, its physics and inputs."""

    id: str = Field(min_length=1)
    kind: str
    site: str = Field(min_length=1)
    metering_point: str = Field(min_length=1)
    profile: str
    tan_phi: float = 0.0
    params: dict[str, Any]
    inputs: dict[str, InputSpec] = {}


class StateSpec(Strict):
    """State at the plant's start."""

    power_mw: float = 0.0
    stored_mwh: float = 0.0
    on: bool = False
    minutes_in_state: int = Field(1_000_000, ge=0)


class Spec(Strict):
    """The whole plant. `speed` None is lockstep, else simulated seconds per wall second."""

    portfolio: str
    zone: str
    start: AwareDatetime
    end: AwareDatetime
    seed: int = Field(0, ge=0, lt=2**63)
    speed: float | None = Field(None, gt=0)
    announce: Path
    log: Path
    devices_dir: Path
    series_file: Path
    assets: tuple[AssetSpec, ...] = Field(min_length=1)
    initial: dict[str, StateSpec] = {}
    history_days: int = Field(30, ge=0)
    idle_exit_s: float = Field(300.0, gt=0)
    randomness: Randomness = Randomness()

    @property
    def series(self) -> frozenset[str]:
        """Ids of the series that inputs name."""
        return frozenset(i.series for a in self.assets for i in a.inputs.values() if i.series is not None)


def load_spec(path: Path) -> Spec:
    """The plant described in the JSON file at `path`. Raises InputFaults with every fault found."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputFaults([Fault(str(path), "", str(error))]) from error
    faults = list(_param_faults(raw.get("assets", []) if isinstance(raw, dict) else []))
    try:
        spec = Spec.model_validate(raw)
    except ValidationError as error:
        raise InputFaults([*_faults_of("spec", error), *faults]) from error
    faults.extend(_cross_faults(spec))
    if faults:
        raise InputFaults(faults)
    return spec


def _faults_of(where: str, error: ValidationError) -> Iterator[Fault]:
    for e in error.errors():
        yield Fault(where, ".".join(map(str, e["loc"])), e["msg"])


def _param_faults(assets: Iterable[Any]) -> Iterator[Fault]:
    for asset in assets:
        if not isinstance(asset, dict) or not isinstance(asset.get("params"), dict):
            continue
        where, kind = str(asset.get("id", "?")), str(asset.get("kind"))
        if kind not in DEVICES:
            yield Fault(where, "kind", f"unknown kind {kind!r}")
            continue
        try:
            DEVICES[kind].Params.model_validate(asset["params"])
        except ValidationError as error:
            yield from _faults_of(f"{where}/params", error)


def _cross_faults(spec: Spec) -> Iterator[Fault]:
    yield from _clock_faults(spec)
    ids = Counter(a.id for a in spec.assets)
    yield from (Fault(i, "id", "used more than once") for i, n in ids.items() if n > 1)
    for site, n in Counter(a.site for a in spec.assets).items():
        if n > MOST_UNITS:
            yield Fault(site, "assets", f"{n} devices, a Modbus server has {MOST_UNITS} units")
    yield from (Fault(i, "initial", "unknown asset") for i in spec.initial if i not in ids)
    for asset in spec.assets:
        kind = DEVICES.get(asset.kind)
        for name in kind.INPUTS if kind else ():
            if name not in asset.inputs:
                yield Fault(asset.id, f"inputs.{name}", "missing")
        if kind and kind.STORES and asset.id not in spec.initial:
            yield Fault(asset.id, "initial", "a device with a store needs its initial state")
        if not (spec.devices_dir / f"{asset.profile}.yaml").is_file():
            yield Fault(asset.id, "profile", f"no file {asset.profile}.yaml in {spec.devices_dir}")


def _clock_faults(spec: Spec) -> Iterator[Fault]:
    try:
        ZoneInfo(spec.zone)
    except (KeyError, ValueError, OSError):
        yield Fault("spec", "zone", f"unknown time zone {spec.zone!r}")
    for name, moment in (("start", spec.start), ("end", spec.end)):
        if moment.timestamp() % QUARTER.total_seconds():
            yield Fault("spec", name, "not the start of a quarter of an hour")
    if spec.end - spec.start < timedelta(minutes=15):
        yield Fault("spec", "end", "does not lie after start")
