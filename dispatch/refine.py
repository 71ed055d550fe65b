"""Better cuts for a plan that breaks nothing: where their linearisation is off at the plan itself.

A cut from far away misstates what its element carries near the limit. Too lax a one shows as a violation, or eats into
the margin; too strict a one shows nowhere and costs money: voltages rise ever more slowly with injection, so the cut
of a deep violation asks for too much. At a plan with prices on its cuts the error is known, to first order

    worth = sum over cuts of price * |value - aim|,      value of the element, aim = limit less margin

and where it matters, everything near its limit is linearised anew: cuts that are too strict are replaced, the new ones
join those that are too lax. This is successive linear programming over the elements that bind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dispatch.cut_pool import SMALL, CutPool, Key
from vpp.domain.network import Asked, Cut, Flow
from vpp.domain.time import Array

CLOSE_PCT, CLOSE_VOLTAGE_PCT = 3.0, 1.0
OFF_PCT = 0.02
PART_OF_SPENT, LEAST_PART = 5e-4, 0.01


@dataclass(frozen=True)
class Better:
    """New cuts with their margins, the places in the pool that they replace, and what these changes are worth, EUR."""

    cuts: tuple[Cut, ...]
    replaced: frozenset[int]
    worth_eur: float


def allowed_eur(of_gap_eur: float, spent_eur: float) -> float:
    """What errors may be worth: a part of the gap, and where a plan is continuous a small share of what cuts cost it.

    That is `spent_eur`, infinite for plans with integers.
    """
    return min(of_gap_eur, max(PART_OF_SPENT * spent_eur, LEAST_PART * of_gap_eur))


def priced(pool: CutPool, row_duals: Array) -> dict[int, float]:
    """The cuts with a price, EUR per MW of their excess, by their place in the pool."""
    at = [(i, abs(float(row_duals[row]))) for i, row in enumerate(pool.rows) if row < len(row_duals)]
    return {i: price for i, price in at if price > SMALL and i not in pool.replaced}


def close(pool: CutPool, flow: Flow, prices: Mapping[int, float]) -> dict[int, float]:
    """By how much `flow` is past each cut that has a price or is close to binding, %, by its place in the pool."""
    found = {}
    for i, cut in enumerate(pool.cuts):
        if i not in pool.replaced:
            past = _past(cut, flow)
            near = CLOSE_VOLTAGE_PCT if cut.element.startswith("bus") else CLOSE_PCT
            if i in prices or past > -near:
                found[i] = past
    return found


def asked(cuts: Sequence[Cut]) -> Asked:
    """The elements of `cuts` by (case, step)."""
    found: dict[tuple[int, int], set[str]] = {}
    for cut in cuts:
        found.setdefault((cut.case, cut.step), set()).add(cut.element)
    return found


def better(
    pool: CutPool, flow: Flow, known: Mapping[int, float], prices: Mapping[int, float], per_mw: Mapping[int, float],
    fresh: Mapping[Key, Cut],
) -> Better:  # fmt: skip
    """What to make of `known` cuts (see `close`), whose elements are linearised anew in `fresh`.

    `per_mw` is what the row of each priced cut was divided by.
    """
    worth, replaced, lax = dict[Key, float](), set[int](), dict[Key, float]()
    aims: dict[Key, tuple[float, Cut]] = {}
    for i, past in known.items():
        cut, key = pool.cuts[i], pool.key(pool.cuts[i])
        if key not in fresh:
            continue
        true, same = aims.setdefault(key, pool.aimed(fresh[key], flow))[0], _same_side(cut, fresh[key])
        if past > true + OFF_PCT:
            replaced.add(i)
        if i in prices and (same or i in replaced):
            worth[key] = worth.get(key, 0.0) + prices[i] * abs(true if same else past - true) / per_mw[i]
        if same:
            lax[key] = max(lax.get(key, -np.inf), past if i not in replaced else -np.inf)
    added = {key for key, most in lax.items() if most < aims[key][0] - OFF_PCT}
    changed = added | {pool.key(pool.cuts[i]) for i in replaced}
    return Better(
        tuple(aims[key][1] for key in sorted(added)), frozenset(replaced), sum(worth.get(k, 0.0) for k in changed)
    )


def too_strict(pool: CutPool, flow: Flow, fresh: Sequence[Cut]) -> set[int]:
    """Places in the pool of cuts that ask for more than the `fresh` ones of their elements, which hold at `flow`.

    An element has one value: what its fresh cut says on the side that it is on, no cut of either side may exceed.
    """
    by_key = {pool.key(c): c for c in fresh}
    return {
        i
        for i, cut in enumerate(pool.cuts)
        if i not in pool.replaced and (new := by_key.get(pool.key(cut))) is not None
        if _past(cut, flow) > _past(new, flow) + OFF_PCT
    }


def _past(cut: Cut, flow: Flow) -> float:
    return float(cut.dp @ flow.p_mw[cut.case, cut.step] + cut.dq @ flow.q_mvar[cut.case, cut.step]) - cut.limit


def _same_side(one: Cut, other: Cut) -> bool:
    """Whether two cuts of an element push the plan the same way; else they bound its two directions, or both bands."""
    return float(one.dp @ other.dp + one.dq @ other.dq) > 0.0
