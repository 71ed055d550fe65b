"""What the assets of a block can give beyond their set-point, as linear functions of the block's columns.

A kind states it once beside its physics, so that no product needs to know a kind:

    power[i,t]   MW beyond the set-point in this direction in step t (rating, availability, what runs now), one
                 function a limit
    energy[i,u]  MWh at the terminals that can be given on top of the plan, at each of the T + 1 edges u of
                 the grid; `stores` is False for assets without a store, whose edges bind nothing
    ramp         MW per minute beside the plan's own movement, in step t
    takes_back   MWh at the terminals that undo one MWh given (1 / round trip for a battery)
    whole        MW of a machine that gives all or nothing (0: continuous), then rests for `rest_h` hours
    relief       MWh of that energy which the plan may use and reserve may not (a store outside its window, a
                 battery in its taper), 0 for none; an asset with relief sells at most `most` MW, or nothing

Up is more injection, less consumption; down the opposite. A block without a `Headroom` gives nothing.
Source of the capacity and energy conditions: capacity of units with limited energy reservoirs as in
Commission Regulation (EU) 2017/1485 (system operation guideline), Art. 156 and 158 to 161.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vpp.domain.time import Array

NO_RELIEF_MWH = 1e-9


@dataclass(frozen=True)
class Linear:
    """`matrix` @ x + `offset` over the columns x of one block."""

    matrix: sp.csr_array
    offset: Array


@dataclass(frozen=True)
class Room:
    """One direction of n assets over T steps: `power_mw` and `ramp_mw_per_min` have n*T rows, `energy_mwh` n*(T+1);
    the others are (n,).

    Infinite offsets bind nothing.
    """

    power_mw: tuple[Linear, ...]
    energy_mwh: Linear
    stores: NDArray[np.bool_]
    takes_back: Array
    ramp_mw_per_min: Linear
    whole_mw: Array
    rest_h: Array
    relief_mwh: Array
    most_mw: Array


@dataclass(frozen=True)
class TwoWays:
    """Two flows (n*T,) of which a device can run one at a time, at most `rated_mw` (n,)."""

    inward_mw: Linear
    outward_mw: Linear
    rated_mw: Array


@dataclass(frozen=True)
class Headroom:
    """Both directions; a direction that is None gives nothing. Assets are those of the block, in its order.

    `two_ways` names what reserve may tempt a plan to do at once: wasting energy makes room, too.
    """

    up: Room | None = None
    down: Room | None = None
    two_ways: TwoWays | None = None


def scaled(sizes: Sequence[int], parts: dict[int, Array], rows: int, offset: Array | float = 0.0) -> Linear:
    """sum over groups g of values * x_g + offset, row by row: every part holds `rows` factors, or zero for none.

    Group g of the block must have `rows` columns.
    """
    bands = [
        sp.csr_array(sp.diags_array(np.broadcast_to(np.ravel(parts[g]), (rows,)).astype(float)))
        if g in parts
        else sp.csr_array((rows, size))
        for g, size in enumerate(sizes)
    ]
    level = np.broadcast_to(np.ravel(offset), (rows,)).astype(float)
    return Linear(sp.csr_array(sp.hstack(bands, format="csr")), level)


def at_edges(of: Linear, initial: Array, n: int) -> Linear:
    """A function of contents at the n*T interval ends, as one of the n*(T+1) edges; `initial` (n,) is the first's."""
    steps = len(of.offset) // n
    lift = sp.csr_array(sp.kron(sp.eye_array(n), sp.eye_array(steps + 1, steps, k=-1)))
    offset = np.concatenate([np.reshape(initial, (n, 1)), of.offset.reshape(n, steps)], axis=1)
    return Linear(sp.csr_array(lift @ of.matrix), offset.ravel())


def room(
    power: Linear, n: int, *, energy: Linear | None = None, stores: NDArray[np.bool_] | bool = True,
    takes_back: Array | float = 1.0, ramp_mw_per_min: Linear | None = None,
    whole_mw: Array | float = 0.0, rest_h: Array | float = 0.0, relief_mwh: Array | float = 0.0,
    most_mw: Array | float = np.inf, beside: Sequence[Linear] = (),
) -> Room:  # fmt: skip
    """A direction of n assets; without `energy` none of them stores, with it those of `stores` (n,) do.

    `beside` are further power limits.
    """
    rows = n * (len(power.offset) // n + 1)
    none, at_once = (
        Linear(sp.csr_array((size, power.matrix.shape[1])), np.full(size, np.inf)) for size in (rows, len(power.offset))
    )

    def each(value: Array | float) -> Array:
        return np.broadcast_to(np.ravel(value), (n,)).astype(float)

    relief = each(relief_mwh)
    storing = np.broadcast_to(np.ravel(stores), (n,)) & (energy is not None)
    return Room(
        (power, *beside), none if energy is None else energy, storing, each(takes_back),
        at_once if ramp_mw_per_min is None else ramp_mw_per_min, each(whole_mw), each(rest_h),
        np.where(relief > NO_RELIEF_MWH, relief, 0.0), each(most_mw),
    )  # fmt: skip
