"""From the spec to living devices."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.plant.device import Device, State
from vpp.plant.devices import battery, chp, cooling, fixed, generation, mill, price_taker
from vpp.plant.spec import AssetSpec, Spec, StateSpec


@dataclass(frozen=True)
class Fleet:
    """Devices in the order of the spec; of each silo the position of the mill whose shipments empty it."""

    devices: tuple[Device, ...]
    silos: tuple[tuple[mill.Silo, int], ...]


def build_fleet(spec: Spec) -> Fleet:
    """The devices of `spec` in their initial states. Raises pydantic's ValidationError for bad parameters."""
    silos: dict[str, tuple[mill.Silo, int]] = {}
    devices = tuple(_device(spec, i, asset, silos) for i, asset in enumerate(spec.assets))
    return Fleet(devices, tuple(silos.values()))


def _device(spec: Spec, at: int, asset: AssetSpec, silos: dict[str, tuple[mill.Silo, int]]) -> Device:
    state = State(**spec.initial.get(asset.id, StateSpec()).model_dump())
    match asset.kind:
        case "battery":
            return battery.Battery(battery.Params.model_validate(asset.params), state)
        case "curtailable":
            return generation.Generation(generation.Params.model_validate(asset.params), state, asset.tan_phi)
        case "fixed_load":
            return fixed.Fixed(fixed.Params.model_validate(asset.params), state)
        case "price_elastic":
            return _price_taker(spec, asset, state)
        case "chp":
            return chp.Chp(chp.Params.model_validate(asset.params), state)
        case "thermal_store":
            return cooling.Cooling(cooling.Params.model_validate(asset.params), state)
        case "process":
            params = mill.Params.model_validate(asset.params)
            silo, _ = silos.setdefault(params.silo.id, (mill.Silo(params.silo), at))
            random = spec.randomness
            crew = mill.Crew(spec.seed, f"crew:{asset.id}", random.request_failure, random.request_share_low)
            return mill.Mill(params, state, silo, crew)
    raise ValueError(f"{asset.id}: unknown kind {asset.kind!r}")


def _price_taker(spec: Spec, asset: AssetSpec, state: State) -> Device:
    params = price_taker.Params.model_validate(asset.params)
    sigma = spec.randomness.price_taker_sigma
    if sigma is not None:
        params = params.model_copy(update={"response_sigma": sigma})
    return price_taker.PriceTaker(params, state, spec.seed, f"response:{asset.id}")
