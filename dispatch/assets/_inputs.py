"""Arrays out of a fleet: one row per asset, in the order of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dispatch.block import Context
from vpp.domain.errors import DataGap, Fault
from vpp.domain.portfolio import Asset
from vpp.domain.time import Array


def ids(fleet: Sequence[Asset]) -> tuple[str, ...]:
    """The asset ids of `fleet`."""
    return tuple(asset.id for asset in fleet)


def parameter(fleet: Sequence[Asset], name: str) -> Array:
    """(n, 1) values of one parameter, ready to broadcast over steps."""
    return np.array([getattr(asset.params, name) for asset in fleet], dtype=float).reshape(-1, 1)


def trajectories(fleet: Sequence[Asset], context: Context, name: str) -> Array:
    """(n, T) values of one input. Raises DataGap where an asset has none or a value is not finite."""
    values = np.empty((len(fleet), context.grid.n))
    for row, asset in zip(values, fleet, strict=True):
        source = context.inputs.get(asset.id, {}).get(name)
        if source is None:
            raise DataGap(f"{asset.id}/{name}: missing")
        row[:] = source
    if not np.isfinite(values).all():
        bad, step = np.argwhere(~np.isfinite(values))[0]
        raise DataGap(f"{fleet[bad].id}/{name}: no value at step {step}")
    return values


def stored(fleet: Sequence[Asset], context: Context) -> Array:
    """(n, 1) stored energy at the start, MWh. Raises DataGap where an asset has no state."""
    missing = [asset.id for asset in fleet if asset.id not in context.states]
    if missing:
        raise DataGap(f"{missing[0]}/state: missing")
    return np.array([context.states[asset.id].stored_mwh for asset in fleet], dtype=float).reshape(-1, 1)


def available(fleet: Sequence[Asset], context: Context) -> Array:
    """(n, 1) 1 for an asset in service, 0 for one whose last state says it is not; unknown counts as in service."""
    states = (context.states.get(asset.id) for asset in fleet)
    return np.array([s is None or s.available for s in states], dtype=float).reshape(-1, 1)


def no_fleet_faults(assets: Sequence[Asset], stored_mwh: Mapping[str, float]) -> Iterable[Fault]:
    """`fleet_faults` of a kind whose assets share nothing."""
    return ()
