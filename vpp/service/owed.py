"""What price-takers are still owed: consumption that earlier published prices moved and that comes back from now on.

A price-taker that was reduced consumes part of it in the hours after (`price_elastic`), whatever is published then.
What was published is in the record of commands that devices acknowledged; the load it moved is the metered one, and
where no meter has told it yet, the load expected now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from dispatch.assets.price_elastic import NAME, OWED, owed_from
from vpp.domain.command import Setpoint
from vpp.domain.portfolio import Asset
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.inputs import by_local_hour
from vpp.service.system import System

Inputs = Mapping[str, Mapping[str, Array]]


def with_owed(system: System, grid: TimeGrid, now: datetime, inputs: Inputs) -> dict[str, dict[str, Array]]:
    """`inputs` over `grid` with `owed_mw` for every price-taker to which something comes back."""
    found = {asset_id: dict(given) for asset_id, given in inputs.items()}
    takers = [a for a in system.portfolio.assets if a.kind == NAME and a.params.substitution > 0.0]
    if not takers:
        return found
    longest = max(timedelta(hours=a.params.window_h) for a in takers)
    sent = system.store.commands.acknowledged(
        [a.id for a in takers], "price_eur_per_mwh", grid.start - longest - QUARTER, grid.start
    )
    for asset in takers:
        orders = [s for s in sent if s.asset_id == asset.id]
        if not orders:
            continue
        before = _before(grid.start, timedelta(hours=asset.params.window_h))
        load = _load_mw(system, asset, before, now, found[asset.id]["load_mw"])
        owed = owed_from(asset.params, before.hours, load * _moved_share(asset, orders, before), grid.hours)
        if np.abs(owed).max() > 0.0:
            found[asset.id][OWED] = owed
    return found


def _before(start: datetime, window: timedelta) -> TimeGrid:
    """The minutes before `start` in whole quarters, at least `window` long."""
    first = floor_to(start - window, QUARTER)
    minutes = [15] * ((start - first) // QUARTER)
    rest = (start - floor_to(start, QUARTER)) // timedelta(minutes=1)
    return TimeGrid(first, (*minutes, *([rest] if rest else [])))


def _moved_share(asset: Asset, orders: Sequence[Setpoint], before: TimeGrid) -> Array:
    """(T,) own response to the price that held in each step, as a share of the load; none where none held."""
    moved = np.zeros(before.n)
    for t, start in enumerate(before.starts):
        held = [s for s in orders if s.valid_from <= start < s.valid_until]
        if held:
            price = max(held, key=lambda s: (s.valid_from, s.epoch, s.sequence)).value
            moved[t] = float(asset.params.share(np.array([price]))[0]) - 1.0
    return moved


def _load_mw(system: System, asset: Asset, before: TimeGrid, now: datetime, expected: Array) -> Array:
    """(T,) the reference load of the steps before, as far as it is known at `now`."""
    given = asset.inputs["load_mw"]
    if given.series is None:
        return np.maximum(given.scale * by_local_hour(given.hourly, before, system.portfolio.zone), 0.0)
    known, book = np.full(before.n, np.nan), system.history(now)
    if given.series in book.series:
        series = book.until_known(given.series)
        at = np.array([(start - series.start) // QUARTER for start in before.starts])
        inside = (at >= 0) & (at < len(series.values))
        known[inside] = given.scale * series.values[at[inside]]
    return np.maximum(np.where(np.isfinite(known), known, float(expected[0])), 0.0)
