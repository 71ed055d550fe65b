"""EV depot: the wished net power, as far as every car still leaves with what it needs.

Backwards through the steps, each class is charged as late as it can be; where the feeder is short, the class with
the least time per energy still to come is served first (least laxity, seen from the end). That gives the content
each class needs at the end of every step. Forwards, what a class lacks of it is charged whatever is wished,
and the rest of a wish to charge goes to the first to leave. Cars feed back no more than leaves them that content.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dispatch.assets._stays import Stay, first_contents, stays_of
from dispatch.follow.tools import EPS
from dispatch.wish import Path, Wish
from vpp.domain.time import Array

FED_MW = 1e-6


def follow(wish: Wish) -> Path:
    """Net power and the share of every class in it."""
    q, hours = wish.asset.params, wish.grid.hours
    stays = stays_of(q, wish.grid)
    overlap = np.array([s.overlap(wish.grid) for s in stays]).reshape(len(stays), wish.grid.n) * wish.state.available
    most_in = overlap * np.array([[s.charge_mw] for s in stays]).reshape(-1, 1)
    most_out = overlap * np.array([[s.discharge_mw] for s in stays]).reshape(-1, 1)
    content = first_contents(q, stays, wish.state.stored_mwh)
    later = [s.charge_mw * q.charge_efficiency * max(0.0, s.end_h - float(hours.sum())) for s in stays]
    per_mw = q.charge_efficiency * hours
    needed = _needed(stays, content, most_in * per_mw, q.feeder_mw * per_mw, np.array(later))
    order = sorted(range(len(stays)), key=lambda i: stays[i].end_h)
    full, level = np.array([s.full_mwh for s in stays]), np.zeros_like(overlap)
    drawn, fed = np.zeros_like(overlap), np.zeros_like(overlap)
    least = np.broadcast_to(np.asarray(wish.lower_mw, dtype=float), hours.shape)
    for t, h in enumerate(hours):
        room = np.minimum(most_in[:, t], np.maximum(full - content, 0.0) / per_mw[t])
        due = np.minimum(room, np.maximum(needed[:, t] - content, 0.0) / per_mw[t])
        bound = min(q.feeder_mw, max(0.0, -least[t]))
        if due.sum() > EPS or wish.wanted_mw[t] <= 0.0:
            drawn[:, t] = _shared(due, order, bound)
            extra = _shared(room - drawn[:, t], order, min(bound, -wish.wanted_mw[t]) - float(drawn[:, t].sum()))
            drawn[:, t] += extra
        else:
            spare = np.maximum(content - needed[:, t], 0.0) * q.discharge_efficiency / h
            fed[:, t] = _shared(np.minimum(most_out[:, t], spare), order[::-1], min(q.feeder_mw, wish.wanted_mw[t]))
        content = content + per_mw[t] * drawn[:, t] - h * fed[:, t] / q.discharge_efficiency
        level[:, t] = content
    return _path(wish, stays, drawn, fed, level)


def _shared(most: Array, order: Sequence[int], total: float) -> Array:
    """`total` given to the classes in `order`, each up to its `most`."""
    given, left = np.zeros(len(most)), max(total, 0.0)
    for i in order:
        given[i] = min(max(float(most[i]), 0.0), left)
        left -= given[i]
    return given


def _needed(stays: Sequence[Stay], first: Array, most_mwh: Array, feeder_mwh: Array, later_mwh: Array) -> Array:
    """(I, T) content each class needs at the end of each step.

    `first` (I,) is what it begins with, `most_mwh` (I, T) and `feeder_mwh` (T,) what can enter the cars in a
    step, `later_mwh` (I,) what can after the grid. What must still be charged has the feeder before what was lent.
    """
    count, steps = most_mwh.shape
    needed, before = np.zeros((count, steps)), np.cumsum(most_mwh, axis=1)
    level = np.maximum([s.full_mwh for s in stays] - later_mwh, 0.0)
    for t in range(steps - 1, -1, -1):
        needed[:, t] = level
        owed = np.maximum(level - first, 0.0)
        time_left = np.divide(before[:, t], owed, out=np.full(count, np.inf), where=owed > EPS)
        order, most = [int(i) for i in np.argsort(time_left, kind="stable")], most_mwh[:, t]
        given = _shared(np.minimum(most, owed), order, float(feeder_mwh[t]))
        given += _shared(np.minimum(most, level) - given, order, float(feeder_mwh[t] - given.sum()))
        level = level - given
    return needed


def _path(wish: Wish, stays: Sequence[Stay], drawn: Array, fed: Array, level: Array) -> Path:
    edge = np.cumsum(wish.grid.hours)
    decisions, stored = {"unmet_mwh": np.zeros(wish.grid.n)}, np.zeros(wish.grid.n)
    for i, stay in enumerate(stays):
        decisions[f"charge_mw {stay.name}"] = drawn[i]
        if stay.discharge_mw > 0.0:
            decisions[f"discharge_mw {stay.name}"] = fed[i]
        plugged = (edge > stay.begin_h + EPS) & (edge < stay.end_h - EPS)
        stored += np.where(plugged, level[i], 0.0)
        if stay.end_h <= edge[-1] + EPS:
            last = int(np.searchsorted(edge, stay.end_h - EPS))
            decisions["unmet_mwh"][last] += max(0.0, stay.full_mwh - level[i, last])
    total = fed.sum(axis=0)
    return Path(total - drawn.sum(axis=0), (total > FED_MW).astype(float), stored, decisions)
