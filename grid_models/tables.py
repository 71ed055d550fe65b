"""Network tables as immutable arrays: what the engine of our own is built from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vpp.domain.time import Array

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Complex = NDArray[np.complex128]
Sparse = csr_array[np.complex128, tuple[int, int]]


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

    `rating_ka` is the current at 100 %, `max_loading_pct` the limit, and `emergency_loading_pct` the
    limit after an outage, for `emergency_minutes`.
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
    emergency_loading_pct: Array
    emergency_minutes: Array
    in_service: Bools


@dataclass(frozen=True)
class Trafos(_Frozen):
    """(X,) arrays of two-winding transformers; buses are positions.

    `sn_mva`, `pfe_mw` are per parallel unit. `tap_side` is +1 for a tap on the high-voltage side,
    -1 on the low-voltage side; `tap_step_degree` is the angle of its step, and `tap_ideal` says that it
    turns the voltage and leaves the magnitude. `controlled` transformers hold the voltage at
    `control_bus` at `set_point_pu` within `dead_band_pu` on either side; `control_sign` is +1 where a
    higher tap lowers it. Limits as for lines.
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
    emergency_loading_pct: Array
    emergency_minutes: Array
    in_service: Bools
    tap_side: Ints
    tap_neutral: Ints
    tap_min: Ints
    tap_max: Ints
    tap_pos: Ints
    tap_step_percent: Array
    tap_step_degree: Array
    tap_ideal: Bools
    controlled: Bools
    control_bus: Ints
    control_sign: Ints
    set_point_pu: Array
    dead_band_pu: Array


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
class Sources(_Frozen):
    """(S,) grids of infinite strength: complex voltage `v` in pu at bus position `bus`, whatever they feed."""

    name: tuple[str, ...]
    bus: Ints
    v: Complex


@dataclass(frozen=True)
class Machines(_Frozen):
    """(G,) generators that hold the voltage `vm_pu` of their bus with whatever reactive power it takes.

    Active power comes with the injections of the bus. Reactive limits are not enforced, as in a power
    flow with `enforce_q_lims=False`, pandapower's default.
    """

    name: tuple[str, ...]
    bus: Ints
    vm_pu: Array


@dataclass(frozen=True)
class Shunts(_Frozen):
    """(H,) admittances to earth at bus positions, per unit on 1 MVA and nominal voltage."""

    bus: Ints
    y: Complex


@dataclass(frozen=True)
class Impedances(_Frozen):
    """(Z,) two-ports without a rating between bus positions, per unit on 1 MVA and nominal voltages."""

    from_bus: Ints
    to_bus: Ints
    ff: Complex
    ft: Complex
    tf: Complex
    tt: Complex


@dataclass(frozen=True)
class NetTables:
    """A network. Sources, machines, shunts and impedances are those in service.

    `tap_delay_minutes` is how long a voltage lies outside its dead band before a tap moves.
    """

    buses: Buses
    lines: Lines
    trafos: Trafos
    switches: Switches
    sources: Sources
    machines: Machines
    shunts: Shunts
    impedances: Impedances
    tap_delay_minutes: float

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the rated elements: lines, then transformers."""
        lines = tuple(f"line {n}" for n in self.lines.number)
        return lines + tuple(f"trafo {n}" for n in self.trafos.number)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of every name, type, shape and value: two models with one digest are one model."""
        sha = hashlib.sha256()
        _feed(sha, self)
        return sha.hexdigest()


def _feed(sha: Any, table: Any) -> None:
    for f in fields(table):
        value = getattr(table, f.name)
        if isinstance(value, np.ndarray):
            sha.update(f"{f.name}:{value.dtype.str}{value.shape};".encode() + np.ascontiguousarray(value).tobytes())
        elif isinstance(value, _Frozen):
            sha.update(f"{f.name}(".encode())
            _feed(sha, value)
        else:
            sha.update(f"{f.name}={value!r};".encode())
