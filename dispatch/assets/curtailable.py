"""Curtailable generation: PV and wind may give less than what sun or wind offer, never more.

    p[t] + curtailed[t] = limit[t],    p, curtailed >= 0
    limit = min(available, capacity_mw, s_rating_mva / sqrt(1 + tan_phi^2))
    cost = curtailment_cost * h * curtailed

Source: renewable dispatch below availability as in J. M. Morales et al., "Integrating Renewables in
Electricity Markets", Springer 2014, ch. 3; the last term is the inverter's circle p^2 + q^2 <= S^2 at
the asset's fixed q = tan_phi * p. A high-wind cut-out and cloud ramps are part of `available_mw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dispatch.assets._inputs import available, ids, no_fleet_faults, trajectories
from dispatch.block import Block, Columns, Context, Rows, eye, stack
from dispatch.headroom import Headroom, room, scaled
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "curtailable"
INPUTS = ("available_mw",)
CONTROL: Control = "continuous"
GENERATES = True
FOLLOWS: Mapping[str, float] = {"available_mw": 1.0}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
POWER, CURTAILED = range(2)


class Params(BaseModel):
    """`capacity_mw` is the most the plant feeds in; `s_rating_mva` rates its inverters."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    capacity_mw: float = Field(ge=0.0)
    kind_of: Literal["pv", "wind"]
    curtailment_cost_eur_per_mwh: float = Field(default=0.0, ge=0.0)
    s_rating_mva: float = Field(ge=0.0)


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Columns power and curtailed, both (n, T) in MW. A plant out of service gives nothing.

    Raises DataGap where an availability is missing.
    """
    n, steps = len(fleet), context.grid.n
    limit = available(fleet, context) * _limit(fleet, trajectories(fleet, context, "available_mw"))
    hourly = np.array([[a.params.curtailment_cost_eur_per_mwh] for a in fleet]).reshape(n, 1)
    columns = (
        Columns("power", (n, steps), 0.0, limit.ravel()),
        Columns("curtailed", (n, steps), cost=(hourly * context.grid.hours).ravel(), term="penalties"),
    )
    sizes, one = [c.size for c in columns], eye(n * steps)
    sum_rows = Rows("limit", limit.ravel(), limit.ravel(), own=stack(sizes, {POWER: one, CURTAILED: one}, n * steps))
    power = stack(sizes, {POWER: one}, n * steps)
    return Block(NAME, columns, (sum_rows,), ids(fleet), power, headroom=partial(_headroom, sizes, n))


def _headroom(sizes: Sequence[int], n: int) -> Headroom:
    """Up: what is curtailed; down: what is injected."""
    up, down = (room(scaled(sizes, {g: np.ones(1)}, sizes[POWER]), n) for g in (CURTAILED, POWER))
    return Headroom(up, down)


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Everything that is available, (T,); nothing when out of service."""
    in_service = state is None or state.available
    offered = np.asarray(inputs["available_mw"], dtype=float)[None, :]
    given: Array = in_service * _limit((asset,), offered)[0]
    return given


def window(params: Params) -> tuple[float, float] | None:
    """It stores nothing."""
    return None


def store(asset: Asset) -> tuple[str, float] | None:
    """It has none."""
    return None


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Nothing to the rating."""
    return 0.0, params.capacity_mw


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """All that is available where the price covers what curtailing would cost, (T,)."""
    paying = price_eur_per_mwh > -asset.params.curtailment_cost_eur_per_mwh
    return np.asarray(np.where(paying, inputs["available_mw"], 0.0), dtype=float)


def _limit(fleet: Sequence[Asset], offered_mw: Array) -> Array:
    """(n, T) of what is offered, no more than the rating and the inverter allow."""
    most = [[min(a.params.capacity_mw, a.params.s_rating_mva / float(np.hypot(1.0, a.tan_phi)))] for a in fleet]
    return np.clip(offered_mw, 0.0, np.array(most).reshape(-1, 1))
