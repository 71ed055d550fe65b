"""Device profiles: register maps as data, and the codec they define.

A field's value is raw * scale * sign. 32-bit fields take two registers, high word first unless the
profile's word order is little. The profile's sign turns the wire's convention into ours: injection
positive.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vpp.domain.errors import Fault, InputFaults

WORDS: Mapping[str, int] = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2}
CODES: Mapping[str, str] = {"int16": "h", "uint16": "H", "int32": "i", "uint32": "I"}
COMMAND_FIELDS = ("setpoint", "quantity", "delay_s", "revert_s", "epoch", "sequence", "digest")
TELEMETRY_FIELDS = (
    "power", "reactive", "stored", "on", "available", "minutes_in_state", "in_default", "epoch", "sequence",
    "accepted_setpoint",
)  # fmt: skip
M = TypeVar("M", bound=BaseModel)


class NotRepresentable(ValueError):
    """A value that the field's register type cannot hold."""


class Strict(BaseModel):
    """Unknown fields, NaN and infinity are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RegisterField(Strict):
    """One number on the wire."""

    name: str = Field(min_length=1)
    type: Literal["int16", "uint16", "int32", "uint32"]
    unit: str | None = None
    scale: float = Field(1.0, gt=0)
    sign: Literal[1, -1] = 1

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest raw number."""
        bits = 16 * WORDS[self.type]
        return (0, 2**bits - 1) if self.type.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    def raw(self, value: float, signed: bool = True) -> int:
        """Nearest raw number of `value`. Raises NotRepresentable for NaN, infinity or out of range."""
        if not math.isfinite(value):
            raise NotRepresentable(f"{self.name}: {value} is no number")
        number = round(value / (self.scale * (self.sign if signed else 1)))
        low, high = self.limits
        if not low <= number <= high:
            raise NotRepresentable(f"{self.name}: {value:g} {self.unit or 'units'} does not fit {self.type}")
        return number

    def value(self, raw: int, signed: bool = True) -> float:
        """What the raw number means."""
        return raw * self.scale * (self.sign if signed else 1)


class RegisterBlock(Strict):
    """Fields in consecutive registers from `address`, moved in one request."""

    address: int = Field(ge=0, le=65535)
    fields: tuple[RegisterField, ...] = Field(min_length=1)

    @cached_property
    def by_name(self) -> dict[str, RegisterField]:
        return {f.name: f for f in self.fields}

    @cached_property
    def count(self) -> int:
        """Number of registers."""
        return sum(WORDS[f.type] for f in self.fields)

    @cached_property
    def _layout(self) -> tuple[struct.Struct, struct.Struct]:
        return struct.Struct(">" + "".join(CODES[f.type] for f in self.fields)), struct.Struct(f">{self.count}H")

    @cached_property
    def _swapped(self) -> tuple[int, ...]:
        order: list[int] = []
        for f in self.fields:
            first, words = len(order), WORDS[f.type]
            order += range(first + words - 1, first - 1, -1)
        return tuple(order)

    def encode(self, raw: Mapping[str, int], word_order: str = "big") -> list[int]:
        """Registers of the raw numbers by field name. Raises NotRepresentable."""
        fields, registers = self._layout
        try:
            found = list(registers.unpack(fields.pack(*(raw[f.name] for f in self.fields))))
        except struct.error as error:
            raise NotRepresentable(str(error)) from error
        return found if word_order == "big" else [found[i] for i in self._swapped]

    def decode(self, registers: Sequence[int], word_order: str = "big") -> dict[str, int]:
        """Raw numbers by field name. Raises ValueError where the number of registers is wrong."""
        if len(registers) != self.count:
            raise ValueError(f"{len(registers)} registers where {self.count} were expected")
        fields, words = self._layout
        ordered = registers if word_order == "big" else [registers[i] for i in self._swapped]
        return dict(zip(self.by_name, fields.unpack(words.pack(*ordered)), strict=True))


class Profile(Strict):
    """One type of device."""

    profile: str = Field(min_length=1)
    protocol: Literal["modbus_tcp"]
    word_order: Literal["big", "little"] = "big"
    command: RegisterBlock
    telemetry: RegisterBlock

    @model_validator(mode="after")
    def _has_every_field_once(self) -> Profile:
        for block, wanted in ((self.command, COMMAND_FIELDS), (self.telemetry, TELEMETRY_FIELDS)):
            names = sorted(f.name for f in block.fields)
            if names != sorted(wanted):
                raise ValueError(f"fields are {', '.join(names)}; wanted, each once: {', '.join(sorted(wanted))}")
        return self


class Sign(Strict):
    """The profile an asset kind speaks, and the sign of a positive reading on its wire."""

    profile: str
    sign: Literal[1, -1]


class SignTable(Strict):
    """By asset kind."""

    signs: dict[str, Sign]


def load_profile(path: Path) -> Profile:
    """The profile in the YAML file. Raises InputFaults with every fault found."""
    profile = _load(path, Profile)
    if profile.profile != path.stem:
        raise InputFaults([Fault(str(path), "profile", f"is {profile.profile}, not the file's name")])
    return profile


def load_profiles(directory: Path) -> dict[str, Profile]:
    """Every profile of the directory by name. Raises InputFaults with the faults of all of them."""
    found: dict[str, Profile] = {}
    faults: list[Fault] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            found[path.stem] = load_profile(path)
        except InputFaults as error:
            faults += error.faults
    if faults:
        raise InputFaults(faults)
    return found


def load_signs(path: Path) -> dict[str, Sign]:
    """The sign table. Raises InputFaults."""
    return _load(path, SignTable).signs


def _load(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise InputFaults([Fault(str(path), "", str(error))]) from error
    except ValidationError as error:
        raise InputFaults([Fault(str(path), ".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]) from error
