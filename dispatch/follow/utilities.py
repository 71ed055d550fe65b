"""Utilities: the wished load of a plant as far as its band, its machines and the common fill of its stores allow.

The fill moves by the energy that is taken beyond the need; a machine that cannot do its part of it leaves a
slack in its own store, and machines move away from their stores' needs only to keep the plant's band. Out of
service the plant takes what keeps its fill.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dispatch.follow.tools import clip, keep
from dispatch.wish import Path, Wish
from vpp.domain.time import Array


@dataclass(frozen=True)
class _Machines:
    """Each utility's part of the fill and of the need, and its least and most power, (M,)."""

    part: Array
    share: Array
    least: Array
    most: Array

    @classmethod
    def of(cls, wish: Wish) -> _Machines:
        units = wish.asset.params.utilities
        rows = [(u.store_mwh, u.share, u.min_power_mw, u.max_power_mw) for u in units]
        store, share, least, most = np.array(rows, dtype=float).T
        return cls(store / store.sum(), share, least, most)

    def powers(self, flow: Array, low_mw: float, high_mw: float) -> Array:
        """Powers (M,) as near to `flow` (M,) as machines can, that add up to something in [low_mw, high_mw]."""
        found = np.clip(flow, self.least, self.most)
        for u in range(len(found)):
            total = float(found.sum())
            missing = max(low_mw - total, 0.0) - max(total - high_mw, 0.0)
            found[u] = clip(found[u] + missing, self.least[u], self.most[u])
        return found


def follow(wish: Wish) -> Path:
    q, grid, machines = wish.asset.params, wish.grid, _Machines.of(wish)
    process, needed = (np.maximum(np.asarray(wish.inputs[k], dtype=float), 0.0) for k in ("process_mw", "utilities_mw"))
    content = untouched = max(wish.state.stored_mwh, 0.0)
    low, high = _band(wish, machines, process, needed)
    shape = (len(q.utilities), grid.n)
    power, slack, stored = np.zeros(shape), np.zeros(shape), np.zeros(grid.n)
    for t, (h, left) in enumerate(zip(grid.hours, keep(q.loss_per_h, grid.hours), strict=True)):
        kept, untouched, demand = content * left, untouched * left, machines.share * needed[t]
        gain = clip(-wish.wanted_mw[t], low[t], high[t]) - process[t] - needed[t]
        possible = (machines.least - demand) / machines.part, (machines.most - demand) / machines.part
        gain = clip(gain, float(possible[0].max()), float(possible[1].min()))
        gain = clip(gain, -kept / h, (max(q.store_mwh, untouched) - kept) / h)
        flow = demand + machines.part * gain
        power[:, t] = machines.powers(flow, low[t] - process[t], high[t] - process[t])
        slack[:, t] = h * (flow - power[:, t])
        content = stored[t] = kept + h * gain
    told: dict[str, Array] = {}
    for u, utility in enumerate(q.utilities):
        told[f"{utility.name}_mw"] = power[u]
        told[f"{utility.name}_lacking_mwh"] = np.maximum(slack[u], 0.0)
        told[f"{utility.name}_wasted_mwh"] = np.maximum(-slack[u], 0.0)
    return Path(-(process + power.sum(axis=0)), stored_mwh=stored, decisions=told)


def _band(wish: Wish, machines: _Machines, process: Array, needed: Array) -> tuple[Array, Array]:
    """(T,) least and most load of the plant; out of service both are what keeps its fill."""
    q, reference = wish.asset.params, process + needed
    least, most = process + machines.least.sum(), process + machines.most.sum()
    low = np.clip((1.0 - q.band_share) * reference, least, most)
    high = np.clip((1.0 + q.band_share) * reference, least, most)
    if not wish.state.available:
        lost = q.loss_per_h * clip(wish.state.stored_mwh, 0.0, q.store_mwh)
        held = machines.share[:, None] * needed + machines.part[:, None] * lost
        kept = np.clip(held, machines.least[:, None], machines.most[:, None]).sum(axis=0)
        low = high = np.clip(process + kept, low, high)
    return low, high
