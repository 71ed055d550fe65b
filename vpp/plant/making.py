"""What a kind of device is to the plant: a module that offers these names, plus one line in `vpp.plant.kinds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from vpp.plant.device import Device, Inputs, State


class Randomness(BaseModel):
    """`price_taker_sigma` replaces each price-taker's own; noise is relative to the quarter's mean."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    price_taker_sigma: float | None = Field(None, ge=0)
    request_failure: float = Field(0.02, ge=0, le=1)
    request_share_low: float = Field(0.4, ge=0, le=1)
    load_noise: float = Field(0.01, ge=0)
    generation_noise: float = Field(0.03, ge=0)


class Shared(Protocol):
    """Something several devices share, a silo for one."""

    def end_minute(self, inputs: Inputs) -> None:
        """Close a minute in which every device has stepped, with the inputs of the device that came first."""


S = TypeVar("S", bound=Shared)


@dataclass
class Commons:
    """What devices share by name, each with the position of the device that came first."""

    made: dict[str, tuple[Shared, int]] = field(default_factory=dict)

    def share(self, name: str, at: int, make: Callable[[], S]) -> S:
        """What stands under `name`; the device `at` makes it where it is the first to ask."""
        if name not in self.made:
            self.made[name] = (make(), at)
        return cast(S, self.made[name][0])


@dataclass(frozen=True)
class Making:
    """One device about to be made: the `at`-th of the plant, in its initial `state`; `zone` is its time zone."""

    id: str
    at: int
    params: Mapping[str, Any]
    tan_phi: float
    state: State
    seed: int
    zone: str
    randomness: Randomness
    commons: Commons


class DeviceKind(Protocol):
    """A module of `vpp.plant.devices`; `INPUTS` must be given, and where it `STORES` an initial state too."""

    Params: type[BaseModel]
    INPUTS: tuple[str, ...]
    STORES: bool

    def build(self, making: Making) -> Device:
        """The device. Raises pydantic's ValidationError for bad parameters."""
