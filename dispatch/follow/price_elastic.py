"""Price-elastic load: the price whose answer is the wish."""

from __future__ import annotations

import numpy as np

from dispatch.follow.tools import EPS, clip
from dispatch.substitution import Rebound
from dispatch.wish import Path, Wish
from vpp.domain.time import Array

SHRINKS, SHRINK = 20, 0.95


def follow(wish: Wish) -> Path:
    """The own response whose consumption, with what comes back of earlier ones, is the wish; its price is published.

    Where a falling load leaves no room for what comes back, the responses it comes from shrink; what is owed from
    before the path comes back whatever they do.
    """
    q, load, grid = wish.asset.params, np.maximum(wish.inputs["load_mw"], 0.0), wish.grid
    least, most = (q.min_share - 1.0) * load, (q.max_share - 1.0) * load
    at, room = np.concatenate([[0.0], np.cumsum(grid.hours)]), np.ones(grid.n)
    owed = np.clip(wish.inputs.get("owed_mw", np.zeros(grid.n)), least, most)
    for _ in range(SHRINKS):
        moved, change = _moves(wish, load, owed, (least * room, most * room))
        limit = np.where(change > 0.0, most, least)
        beyond = np.abs(change) > np.abs(limit) + EPS
        if not beyond.any():
            break
        t = int(np.argmax(beyond))
        room[(at[1:] > at[t] - q.window_h) & (at[:-1] <= at[t])] *= (
            SHRINK * (limit[t] - owed[t]) / (change[t] - owed[t])
        )
    part = float(np.min((limit - owed)[beyond] / (change - owed)[beyond])) if beyond.any() else 1.0
    share = np.divide(part * moved, load, out=np.zeros_like(load), where=load > EPS)
    price = q.reference_price_eur_per_mwh * (1.0 + share / q.elasticity)
    return Path(-(load + owed + part * (change - owed)), decisions={"price_eur_per_mwh": price})


def _moves(wish: Wish, load: Array, before: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
    """Own moves (T,) inside `bounds` and the changes of consumption (T,) they make with what is owed from before, as
    wished where they can."""
    q, wanted, (least, most) = wish.asset.params, -wish.wanted_mw, bounds
    back = Rebound(wish.grid.hours, q.substitution, q.window_h, before)
    moved, change = np.zeros(len(load)), np.zeros(len(load))
    for t in range(len(load)):
        owed, gain = back.owed(), 1.0 - back.own
        if np.isfinite(wanted[t]):
            low, high = (q.min_share - 1.0) * load[t], (q.max_share - 1.0) * load[t]
            moved[t] = clip((clip(wanted[t] - load[t], low, high) + owed) / gain, least[t], most[t])
        change[t] = moved[t] * gain - owed
        back.add(float(moved[t]))
    return moved, change
