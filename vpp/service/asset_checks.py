"""Assets from their file entries, and everything that can be wrong with them without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from adapters.profiles import load_profiles, load_signs
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, Input
from vpp.service.plausible import plausible
from vpp.service.portfolio_files import AssetFile, InputFile
from vpp.service.yaml_files import explained
from vpp.service.yaml_values import NO_BOOL, is_finite, misplaced_bools, non_finite

CONFIG = Path(__file__).resolve().parents[2] / "config"
ORDERED = (
    ("min_power_mw", "power_mw"),
    ("min_power_mw", "max_power_mw"),
    ("soc_min", "soc_max"),
    ("inlet_min_c", "inlet_max_c"),
    ("min_share", "max_share"),
    ("min_t", "capacity_t"),
)
SIZES = ("_mw", "_mwh", "_mva", "_mw_th", "_mwh_th", "_t")
TOLERANCE_MWH = 1e-6


@dataclass(frozen=True)
class Known:
    """Ids that assets may refer to; `meter_site` maps a metering point to its site, `spoken` a kind to its profile."""

    sites: frozenset[str]
    meter_site: Mapping[str, str]
    devices: frozenset[str]
    spoken: Mapping[str, str]


def device_profiles(config: Path, faults: list[Fault]) -> tuple[frozenset[str], dict[str, str]]:
    """Names of the profiles in `config/devices`, and the one each kind speaks by `config/signs.yaml`."""
    names = frozenset(path.stem for path in (config / "devices").glob("*.yaml"))
    try:
        load_profiles(config / "devices")
        signs = load_signs(config / "signs.yaml")
    except InputFaults as error:
        faults += error.faults
        return names, {}
    for kind, sign in signs.items():
        if sign.profile not in names:
            faults.append(Fault("signs.yaml", f"signs.{kind}.profile", f"unknown device profile {sign.profile}"))
    return names, {kind: sign.profile for kind, sign in signs.items()}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if is_finite(value) else None


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield prefix, params
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")


def raw_faults(where: str, params: Mapping[str, Any]) -> list[Fault]:
    """Faults that show in the numbers as given: not finite, negative size, lower bound above the upper one."""
    faults = [Fault(where, ".".join(map(str, path)), "is not a finite number") for path in non_finite(params)]
    for prefix, group in _flat(params):
        for name, value in group.items():
            number = _number(value)
            if number is not None and number < 0.0 and str(name).endswith(SIZES):
                faults.append(Fault(where, prefix + str(name), f"is negative, got {value}"))
        for low, high in ORDERED:
            lower, upper = _number(group.get(low)), _number(group.get(high))
            if lower is not None and upper is not None and lower > upper:
                faults.append(Fault(where, prefix + low, f"{lower:g} is above {high} {upper:g}"))
    return faults


def _mentions(text: str, fields: Iterable[str]) -> bool:
    return any(field.split(".")[-1] in text for field in fields)


def parameters(kind: Any, where: str, raw: Mapping[str, Any], faults: list[Fault]) -> BaseModel | None:
    """The parameter model of `kind`, or None with every fault appended."""
    bad = raw_faults(where, raw)
    bad += [Fault(where, ".".join(map(str, path)), NO_BOOL) for path in misplaced_bools(kind.Params, raw)]
    named = {fault.field for fault in bad}
    made: BaseModel | None = None
    try:
        made = kind.Params.model_validate(dict(raw))
    except ValidationError as error:
        across = not error.errors()[0]["loc"]
        for fault in explained(kind.Params, error, where):
            if across or isinstance(raw.get(fault.field), Mapping):
                told = [part for part in fault.reason.split("; ") if not _mentions(part, named)]
                bad += [Fault(where, fault.field or "params", "; ".join(told))] if told else []
            elif fault.field not in named:
                bad.append(fault)
    faults += bad
    return None if bad else made


def _inputs(where: str, kind: Any, given: Mapping[str, InputFile], faults: list[Fault]) -> dict[str, Input]:
    for name in kind.INPUTS:
        if name not in given:
            faults.append(Fault(where, f"inputs.{name}", f"is missing; kind {kind.NAME} needs it"))
    for name in given:
        if name not in kind.INPUTS:
            faults.append(Fault(where, f"inputs.{name}", f"unknown input of kind {kind.NAME}"))
    return {name: Input(source.scale, source.series, source.hourly or (1.0,) * 24) for name, source in given.items()}


def _references(entry: AssetFile, known: Known) -> Iterator[Fault]:
    if entry.site not in known.sites:
        yield Fault(entry.id, "site", f"unknown site {entry.site}")
    if entry.metering_point not in known.meter_site:
        yield Fault(entry.id, "metering_point", f"unknown metering point {entry.metering_point}")
    elif known.meter_site[entry.metering_point] != entry.site:
        owner = known.meter_site[entry.metering_point]
        yield Fault(entry.id, "metering_point", f"{entry.metering_point} belongs to site {owner}, not to {entry.site}")
    if entry.device is not None and entry.device not in known.devices:
        yield Fault(entry.id, "device", f"unknown device profile {entry.device}")


def _initial(entry: AssetFile, window: tuple[float, float] | None) -> Iterator[Fault]:
    stored = entry.initial.stored_mwh
    if window is not None and not window[0] - TOLERANCE_MWH <= stored <= window[1] + TOLERANCE_MWH:
        low, high = window
        yield Fault(entry.id, "initial.stored_mwh", f"{stored:g} lies outside the window {low:g} to {high:g} MWh")


def build_asset(entry: AssetFile, kinds: Mapping[str, Any], known: Known, faults: list[Fault]) -> Asset | None:
    """The asset of a file entry, or None with its faults appended."""
    before = len(faults)
    faults += _references(entry, known)
    kind = kinds.get(entry.kind)
    if kind is None:
        faults.append(Fault(entry.id, "kind", f"unknown kind {entry.kind}; known are {', '.join(sorted(kinds))}"))
        faults += raw_faults(entry.id, entry.params)
        return None
    if entry.device is None and known.spoken and entry.kind not in known.spoken:
        faults.append(Fault(entry.id, "device", f"is missing; config/signs.yaml names none for kind {entry.kind}"))
    params = parameters(kind, entry.id, entry.params, faults)
    inputs = _inputs(entry.id, kind, entry.inputs, faults)
    faults += plausible(entry, kind, params)
    if params is not None:
        faults += _initial(entry, kind.window(params))
    if len(faults) > before:
        return None
    return Asset(
        entry.id, entry.kind, entry.site, entry.metering_point, entry.node, entry.bus, params, entry.notice,
        entry.control or kind.CONTROL, entry.tan_phi, inputs, entry.inverter_mva,
    )  # fmt: skip


def fleet_faults(assets: Sequence[Asset], kinds: Mapping[str, Any], stored_mwh: Mapping[str, float]) -> Iterator[Fault]:
    """What is wrong between assets of one kind, those that share a silo for one."""
    for name in dict.fromkeys(a.kind for a in assets):
        yield from kinds[name].fleet_faults([a for a in assets if a.kind == name], stored_mwh)


def shared_meters(assets: Iterable[Asset]) -> Iterator[Fault]:
    """A metering point measures one asset, or its rows could not be told apart."""
    owner: dict[str, str] = {}
    for asset in assets:
        other = owner.setdefault(asset.metering_point, asset.id)
        if other != asset.id:
            yield Fault(asset.id, "metering_point", f"{asset.metering_point} already measures {other}")
