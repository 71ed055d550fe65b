"""Values that fit their field but not the asset: signs, shares, states, a control its kind cannot follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vpp.domain.errors import Fault
from vpp.domain.portfolio import Control
from vpp.service.portfolio_files import AssetFile, InputFile

SHARES = ("rota", "occupancy")
SIGNED = ("_c",)
"""Ends of inputs that may have either sign: temperatures. All others are sizes, never negative."""
SWITCHED = ("chp", "process", "thermal_unit", "water_works")
"""Kinds that are on or off, so that off means no power."""
COMMITTED = (*SWITCHED, "ev_fleet")
"""Kinds whose plan has a commitment, which is told ahead as on or off only to those made for it."""
TOLERANCE_MW = 1e-9


def controls(kind: Any) -> tuple[Control, ...]:
    """How an asset of `kind` can be led: what the kind is made for, and what its commands can be told ahead as."""
    own: Control = kind.CONTROL
    if own == "request":
        return "request", "step"
    if own == "continuous" and kind.NAME not in COMMITTED:
        return "continuous", "step", "request"
    return (own,)


def plausible(entry: AssetFile, kind: Any, params: Any | None) -> Iterator[Fault]:
    """Faults of control, inputs and initial state; those of the power only where `params` are valid."""
    if entry.control is not None and entry.control not in (may := controls(kind)):
        yield Fault(entry.id, "control", f"{entry.control} does not fit kind {kind.NAME}, which takes {', '.join(may)}")
    for name, source in entry.inputs.items():
        if name in kind.INPUTS:
            yield from _input(entry.id, name, source)
    power, on = entry.initial.power_mw, entry.initial.on
    if kind.NAME in SWITCHED and not on and abs(power) > TOLERANCE_MW:
        yield Fault(entry.id, "initial.power_mw", f"{power:g} MW although it is off")
    reach = kind.reach_mw(params) if params is not None else None
    if reach is not None and not min(reach[0], 0.0) - TOLERANCE_MW <= power <= max(reach[1], 0.0) + TOLERANCE_MW:
        yield Fault(entry.id, "initial.power_mw", f"{power:g} MW is outside its reach {reach[0]:g} to {reach[1]:g} MW")


def _input(asset: str, name: str, source: InputFile) -> Iterator[Fault]:
    if name.endswith(SIGNED):
        return
    field = f"inputs.{name}"
    if source.scale < 0.0:
        yield Fault(asset, f"{field}.scale", f"is negative, got {source.scale:g}")
    hourly = [source.scale * value for value in source.hourly or ()]
    if name in SHARES and source.scale >= 0.0 and any(not 0.0 <= value <= 1.0 for value in hourly):
        yield Fault(asset, f"{field}.hourly", "holds a value outside 0 to 1")
    if name not in SHARES and source.scale >= 0.0 and min(hourly, default=0.0) < 0.0:
        yield Fault(asset, f"{field}.hourly", "holds a negative value")
