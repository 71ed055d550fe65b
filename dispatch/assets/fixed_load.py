"""Fixed load: consumption nobody controls, p[t] = -load[t].

It is a decision-free participant of the balance, as inelastic demand is in D. S. Kirschen and
G. Strbac, "Fundamentals of Power System Economics", 2nd ed., Wiley 2018, ch. 2. The load is a fixed
column, so every door may exchange its values without rebuilding the problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from dispatch.assets._inputs import ids, no_fleet_faults, trajectories
from dispatch.block import Block, Columns, Context, eye
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "fixed_load"
INPUTS = ("load_mw",)
CONTROL: Control = "none"
GENERATES = False
FOLLOWS: Mapping[str, float] = {"load_mw": -1.0}
NEVER_OFF = ""
fleet_faults = no_fleet_faults


class Params(BaseModel):
    """`peak_mw` is the most the site has been seen to take; it describes the load and does not cut it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    peak_mw: float = Field(ge=0.0)


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """One fixed column load (n, T), MW. Raises DataGap where a load is missing: a gap is not zero."""
    load = trajectories(fleet, context, "load_mw")
    columns = (Columns("load", load.shape, load.ravel(), load.ravel()),)
    return Block(NAME, columns, (), ids(fleet), sp.csr_array(-eye(load.size)))


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """The load as injection, (T,)."""
    return -np.asarray(inputs["load_mw"], dtype=float)


def window(params: Params) -> tuple[float, float] | None:
    """It stores nothing."""
    return None


def store(asset: Asset) -> tuple[str, float] | None:
    """It has none."""
    return None


def reach_mw(params: Params) -> tuple[float, float] | None:
    """It takes no power command."""
    return None


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """What it does anyway, (T,)."""
    return default
