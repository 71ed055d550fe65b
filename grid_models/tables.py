"""Network tables as immutable arrays: what the engine of our own is built from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from vpp.domain.time import Array

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Complex = NDArray[np.complex128]


class _Frozen:
    """Makes every array field read-only."""

    def __post_init__(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)


@dataclass(frozen=True)
class Buses(_Frozen):
    """(B,) arrays: bus `number`, nominal voltage, voltage band (NaN: none), in service, position in degrees.

    Longitude and latitude are NaN where unknown.
    """

    number: Ints
    vn_kv: Array
    min_vm_pu: Array
    max_vm_pu: Array
    in_service: Bools
    longitude: Array
    latitude: Array


@dataclass(frozen=True)
class Lines(_Frozen):
    """(L,) arrays; buses are positions. Impedance in ohm and admittance in siemens of the whole line.

    `rating_ka` is the current at 100 %, `max_loading_pct` the limit.
    """

    number: Ints
    from_bus: Ints
    to_bus: Ints
    r_ohm: Array
    x_ohm: Array
    g_s: Array
    b_s: Array
    rating_ka: Array
    max_loading_pct: Array
    in_service: Bools


@dataclass(frozen=True)
class Trafos(_Frozen):
    """(X,) arrays of two-winding transformers; buses are positions.

    `sn_mva`, `pfe_mw` are per parallel unit. `tap_side` is +1 for a tap on the high-voltage side,
    -1 on the low-voltage side. `controlled` transformers hold the voltage at `control_bus` at
    `set_point_pu`; `control_sign` is +1 where a higher tap lowers it.
    """

    number: Ints
    hv_bus: Ints
    lv_bus: Ints
    sn_mva: Array
    vn_hv_kv: Array
    vn_lv_kv: Array
    vk_percent: Array
    vkr_percent: Array
    pfe_mw: Array
    i0_percent: Array
    shift_degree: Array
    parallel: Array
    df: Array
    max_loading_pct: Array
    in_service: Bools
    tap_side: Ints
    tap_neutral: Ints
    tap_min: Ints
    tap_max: Ints
    tap_pos: Ints
    tap_step_percent: Array
    controlled: Bools
    control_bus: Ints
    control_sign: Ints
    set_point_pu: Array


@dataclass(frozen=True)
class Switches(_Frozen):
    """(W,) arrays: `kind` 0 joins bus and bus `element`, 1 joins bus and line, 2 bus and transformer.

    `bus` and `element` are positions; `number` is the switch's own number.
    """

    number: Ints
    kind: Ints
    bus: Ints
    element: Ints
    closed: Bools


@dataclass(frozen=True)
class NetTables:
    """A network with one slack of complex voltage `slack_v` at bus position `slack_bus`."""

    buses: Buses
    lines: Lines
    trafos: Trafos
    switches: Switches
    slack_bus: int
    slack_v: complex
    tap_dead_band_pu: float

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the rated elements: lines, then transformers."""
        lines = tuple(f"line {n}" for n in self.lines.number)
        return lines + tuple(f"trafo {n}" for n in self.trafos.number)
