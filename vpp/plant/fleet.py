"""From the spec to living devices."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.plant.device import Device, State
from vpp.plant.kinds import DEVICES
from vpp.plant.making import Commons, Making, Shared
from vpp.plant.spec import Spec, StateSpec


@dataclass(frozen=True)
class Fleet:
    """Devices in the order of the spec; what they share, each with the position of the device whose inputs drive it."""

    devices: tuple[Device, ...]
    shared: tuple[tuple[Shared, int], ...]


def build_fleet(spec: Spec) -> Fleet:
    """The devices of `spec` in their initial states.

    Raises pydantic's ValidationError for bad parameters and ValueError for a kind without a device.
    """
    commons, devices = Commons(), []
    for at, asset in enumerate(spec.assets):
        if asset.kind not in DEVICES:
            raise ValueError(f"{asset.id}: unknown kind {asset.kind!r}")
        state = State(**spec.initial.get(asset.id, StateSpec()).model_dump())
        making = Making(
            asset.id, at, asset.params, asset.tan_phi, state, spec.seed, spec.zone, spec.randomness, commons
        )
        devices.append(DEVICES[asset.kind].build(making))
    return Fleet(tuple(devices), tuple(commons.made.values()))
