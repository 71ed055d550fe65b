"""Register maps of devices, read from YAML: address, type, unit, scale, sign of each field.

On the wire a number is round(value / (scale * sign)) in kW, kvar or kWh. A command's set-point is a power in kW
for quantity 0, a bare 0 or 1 for quantity 1 (on), and a price in hundredths of EUR/MWh for quantity 2.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vpp.domain.command import Quantity
from vpp.domain.errors import Fault, InputFaults

QUANTITIES: tuple[Quantity, ...] = ("power_mw", "on", "price_eur_per_mwh")
PRICE_SCALE = 0.01
FORMATS: Mapping[str, str] = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I"}
LIMITS: Mapping[str, tuple[int, int]] = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}
COMMAND = ("setpoint", "quantity", "delay_s", "revert_s", "epoch", "sequence", "digest")
TELEMETRY = ("power", "reactive", "stored", "on", "available", "minutes_in_state", "in_default",
             "epoch", "sequence", "accepted_setpoint")  # fmt: skip


class WireField(BaseModel):
    """One field: value = raw * scale * sign."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    type: Literal["int16", "uint16", "int32", "uint32"]
    unit: str | None = None
    scale: float = Field(1.0, gt=0)
    sign: Literal[1, -1] = 1

    def raw(self, value: float) -> int:
        """The number on the wire, held inside its type."""
        low, high = LIMITS[self.type]
        return min(max(round(value / (self.scale * self.sign)), low), high)


class WireBlock(BaseModel):
    """Consecutive fields from `address`, read or written at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: int = Field(ge=0, lt=65536)
    fields: tuple[WireField, ...] = Field(min_length=1)

    @cached_property
    def layout(self) -> struct.Struct:
        return struct.Struct(">" + "".join(FORMATS[f.type] for f in self.fields))

    @cached_property
    def words(self) -> struct.Struct:
        return struct.Struct(f">{self.size}H")

    @cached_property
    def size(self) -> int:
        """Registers in the block."""
        return self.layout.size // 2

    @cached_property
    def _by_name(self) -> dict[str, WireField]:
        return {f.name: f for f in self.fields}

    def field(self, name: str) -> WireField:
        """The field of that name. Raises KeyError."""
        return self._by_name[name]

    def unpack(self, registers: Sequence[int]) -> dict[str, int]:
        """Raw number of each field."""
        numbers = self.layout.unpack(self.words.pack(*registers))
        return dict(zip((f.name for f in self.fields), numbers, strict=True))

    def pack(self, raw: Mapping[str, int]) -> tuple[int, ...]:
        """Registers of raw numbers."""
        return self.words.unpack(self.layout.pack(*(raw[f.name] for f in self.fields)))


class Profile(BaseModel):
    """The register map of one type of device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    protocol: Literal["modbus_tcp"]
    word_order: Literal["big"] = "big"
    command: WireBlock
    telemetry: WireBlock

    def setpoint(self, raw: int, quantity: Quantity) -> float:
        """MW, 0 or 1, or EUR/MWh of a raw set-point."""
        if quantity == "on":
            return float(raw)
        if quantity == "price_eur_per_mwh":
            return raw * PRICE_SCALE
        field = self.command.field("setpoint")
        return raw * field.scale * field.sign / 1000.0

    def raw_setpoint(self, value: float, quantity: Quantity) -> int:
        """The raw number under which telemetry repeats a set-point."""
        if quantity == "on":
            return round(value)
        if quantity == "price_eur_per_mwh":
            return round(value / PRICE_SCALE)
        return self.telemetry.field("accepted_setpoint").raw(value * 1000.0)


def load_profile(path: Path) -> Profile:
    """The register map in the YAML file. Raises InputFaults."""
    try:
        profile = Profile.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise InputFaults([Fault(str(path), "", str(error))]) from error
    except ValidationError as error:
        raise InputFaults([Fault(str(path), ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]) from error
    faults = [
        Fault(str(path), block, f"fields are {', '.join(f.name for f in wire.fields)}, not {', '.join(names)}")
        for block, wire, names in (
            ("command", profile.command, COMMAND), ("telemetry", profile.telemetry, TELEMETRY)
        )
        if sorted(f.name for f in wire.fields) != sorted(names)
    ]  # fmt: skip
    if faults:
        raise InputFaults(faults)
    return profile
