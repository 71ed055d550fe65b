"""Why an asset does what it does at a step of a plan, and when it would do something else.

Power follows from reduced costs: with z the reduced cost of a column that injects g per unit, at the
prices of the plan and its commitment, the column would move at the price

    price[t] + z / (g h[t]).

On/off follows from one asset alone (`one_asset`) with the room that the others leave: it is forced the
other way at the step. Where that is impossible, or dearer only because of a limit (without the limit the
other way would be cheaper), this limit is the reason; otherwise the price is. The mean price of the
run at which it would change is

    P = mean price over the changed run + (cost forced - cost planned) / (energy of the run, signed),

exact where power has one level, an estimate elsewhere. Marginal values: F. C. Schweppe et al., Spot
Pricing of Electricity, Kluwer 1988; there are no exact duals of on/off, R. P. O'Neill et al., Efficient
market-clearing prices in markets with nonconvexities, Eur. J. Oper. Res. 164 (2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dispatch.block import Context
from dispatch.couplings import NOTHING_EUR
from dispatch.one_asset import Answer, OneAsset, one_asset
from dispatch.problem import groups
from vpp.domain.portfolio import Asset
from vpp.domain.prices import Coupling, Prices
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array

WORTH_EUR = 0.01
MOVED_MW = 1e-6
AT_BOUND = 1e-6
EXCEEDED = 1e-3


@dataclass(frozen=True)
class Binding:
    """A limit that binds: `part` is "own" or what it belongs to, `shadow_price` in `unit`, negative where more
    room would save; `step` where it binds, which for a store may be later; `case` of a network limit.
    """

    part: str
    name: str
    step: int
    shadow_price: float
    unit: str
    case: str = ""


@dataclass(frozen=True)
class Change:
    """The next better action: what it `would` do below or above a price of `price_eur_per_mwh`.

    For on/off ("start", "stop") the run is the steps [first, last), the price its mean, now
    `mean_eur_per_mwh`, without what the limits over several assets add; `extra_cost_eur` is what it would cost
    more as things are, [`instead`, `instead_until`) the nearest steps that it would give up or take in exchange.
    """

    would: str
    side: str
    price_eur_per_mwh: float
    power_mw: float | None = None
    first: int | None = None
    last: int | None = None
    mean_eur_per_mwh: float | None = None
    extra_cost_eur: float | None = None
    instead: int | None = None
    instead_until: int | None = None


@dataclass(frozen=True)
class Explanation:
    """`reason` is "price", "own", "known", "marginal", "uncontrolled", "gap", or the part of a limit named `limit`.

    `exceeded` are (name, step, amount) of limits over several assets that the other way would exceed, `worth_eur`
    what the other way would save without the limit.
    """

    asset: str
    step: int
    power_mw: float
    on: bool | None
    price_eur_per_mwh: float
    parts_eur_per_mwh: dict[str, float]
    reason: str
    limit: str = ""
    bindings: tuple[Binding, ...] = ()
    changes: tuple[Change, ...] = ()
    exceeded: tuple[tuple[str, int, float], ...] = ()
    worth_eur: float | None = None


def explain(
    asset: Asset, t: int, fleet: Sequence[Asset], context: Context, schedule: Schedule, prices: Prices
) -> Explanation:
    """Why `asset` does what it does at step `t` of `schedule`. Raises NotSolved where its own plan cannot be redone."""
    parts = {p: float(row[t]) for p, row in prices.parts(asset.id).items()}
    priced = one_asset(asset, fleet, context, schedule, prices, room=False).as_planned()
    answer = priced.solve()
    told = Explanation(
        asset.id, t, float(schedule.power_of(asset.id)[t]),
        None if asset.id not in schedule.commitment else bool(schedule.commitment[asset.id][t] > 0.5),
        sum(parts.values()), parts, "uncontrolled",
    )  # fmt: skip
    if answer is None:
        return replace(told, reason="gap")
    bindings = [*_own_bindings(priced, answer, t), *_shared_bindings(asset.id, t, prices.couplings, context)]
    told = replace(told, bindings=tuple(bindings))
    if told.on is not None and priced.switches:
        told = _switch(told, one_asset(asset, fleet, context, schedule, prices, room=True), t, context, prices)
        if not told.on:
            return told
    changes, free = _levels(priced, answer, t, told.price_eur_per_mwh)
    if told.on is not None and priced.switches:
        return replace(told, changes=(*told.changes, *changes))
    if free or not changes:
        return replace(told, reason="marginal" if free else "uncontrolled", changes=changes)
    part = _held_by(told, changes, {c.part for c in prices.couplings})
    limit = max((b for b in bindings if b.part == part), key=lambda b: abs(b.shadow_price), default=None)
    return replace(told, reason=part, limit=limit.name if limit else "", changes=changes)


def _held_by(told: Explanation, changes: Sequence[Change], shared: set[str]) -> str:
    """The part of the price without which the asset would do something else; "price" where there is none."""
    for part, worth in sorted(told.parts_eur_per_mwh.items(), key=lambda item: -abs(item[1])):
        price = told.price_eur_per_mwh - worth
        if part in shared and any(
            price > c.price_eur_per_mwh if c.side == "above" else price < c.price_eur_per_mwh for c in changes
        ):
            return part
    return "price"


def _reduced(one: OneAsset, answer: Answer) -> Array:
    """Reduced costs (columns,): c - A' y."""
    assert answer.raw.row_duals is not None
    z: Array = one.problem.cost - one.problem.matrix.T @ answer.raw.row_duals
    return z


def _levels(one: OneAsset, answer: Answer, t: int, price: float) -> tuple[tuple[Change, ...], bool]:
    """Prices at which columns that make power at `t` would move, nearest first, and whether one moves at this price."""
    z, problem = _reduced(one, answer), one.problem
    at = one.row * problem.grid.n + t
    part = slice(problem.power.indptr[at], problem.power.indptr[at + 1])
    changes, free = [], False
    for j, gain in zip(problem.power.indices[part], problem.power.data[part], strict=True):
        low, high = problem.lower[j], problem.upper[j]
        if high - low < AT_BOUND or problem.integer[j] or (one.on is not None and j in one.on):
            continue
        worth = z[j] / (gain * problem.grid.hours[t])
        if abs(z[j]) / problem.grid.hours[t] < WORTH_EUR:
            free = True
            continue
        would = f"{'more' if z[j] > 0.0 else 'less'} {_name_of(one, int(j))}"
        changes.append(Change(would, "above" if worth > 0 else "below", price + float(worth)))
    changes.sort(key=lambda c: abs(c.price_eur_per_mwh - price))
    return tuple(changes), free


def _name_of(one: OneAsset, column: int) -> str:
    return next(g.label for g, start in groups(one.block, 0) if start <= column < start + g.size)


def _own_bindings(one: OneAsset, answer: Answer, t: int) -> Iterator[Binding]:
    """Bounds and inequalities of the asset that bind at `t`, and the first store limit at or after it."""
    z, steps, hours = _reduced(one, answer), one.problem.grid.n, one.problem.grid.hours
    duals = answer.raw.row_duals
    assert duals is not None
    stores, moves = dict(one.windows()), set(one.problem.power.indices.tolist())
    for group, start in groups(one.block, 0):
        if not group.size or group.shape[1] != steps or (one.on is not None and start == one.on[0] - one.row * steps):
            continue
        own = start + (one.row if group.shape[0] == len(one.block.assets) else 0) * steps
        for step in range(t, steps) if group.label in stores else (t,):
            j = own + step
            counts = j in moves or group.label in stores or z[j] < 0.0
            open_ = one.problem.upper[j] - one.problem.lower[j] > AT_BOUND
            if counts and open_ and abs(z[j]) / hours[step] > WORTH_EUR:
                full = z[j] < 0.0
                name = f"{group.label} {'full' if full else 'empty'}" if group.label in stores else (
                    f"{group.label} at its {'most' if full else 'least'}"
                )  # fmt: skip
                per = 1.0 if group.label in stores else hours[step]
                yield Binding("own", name, step, float(-abs(z[j]) / per), "EUR/MWh")
                break
    columns = _columns_at(one, t)
    for label, rows in one.labels().items():
        touching = abs(one.problem.matrix[rows]) @ columns > 0.0
        worst = float(np.abs(duals[rows][touching]).max(initial=0.0))
        if worst > WORTH_EUR:
            yield Binding("own", label, t, -worst, "EUR")


def _columns_at(one: OneAsset, t: int) -> Array:
    """(columns,) a one at the asset's columns of step `t`."""
    steps, found = one.problem.grid.n, np.zeros(one.problem.columns)
    for group, start in groups(one.block, 0):
        if group.size and group.shape[1] == steps:
            found[start + (one.row if group.shape[0] == len(one.block.assets) else 0) * steps + t] = 1.0
    return found


def _shared_bindings(asset: str, t: int, couplings: Sequence[Coupling], context: Context) -> Iterator[Binding]:
    for c in couplings:
        if c.step == t and abs(c.dual_eur) > NOTHING_EUR and (asset in c.effect or asset in c.effect_on):
            hours = float(context.grid.hours[t])
            worth = c.dual_eur / hours if asset in c.effect else c.dual_eur
            yield Binding(c.part, c.name, t, -abs(worth), "EUR/MWh" if asset in c.effect else "EUR", c.case)


def _switch(told: Explanation, one: OneAsset, t: int, context: Context, prices: Prices) -> Explanation:
    """The reason why it is on or off, with the change that would be next."""
    on = bool(told.on)
    if not (one.movers(t) if one.on is None else one.open(one.on[t : t + 1])).size:
        reason, limit = _known(one, t, on, context)
        return replace(told, reason=reason, limit=limit)
    planned, other = one.as_planned().solve(), one.switched(t, not on).solve()
    if planned is None:
        return replace(told, reason="gap")
    change = () if other is None else (_run(told, one, planned, other, t, prices),)
    if other is not None and _pays(other, one.switched(t, on).solve()):
        return replace(told, reason="gap", changes=change)
    possible = other is not None
    for name, freed in _freed(one):
        forced, stays = freed.switched(t, not on).solve(), freed.switched(t, on).solve()
        possible = possible or forced is not None
        if forced is not None and stays is not None and _pays(forced, stays):
            exceeded = tuple(_exceeded(one, forced, t))
            return replace(
                told, reason=_part_of(name, one), limit=_narrowed(name, one, exceeded), exceeded=exceeded,
                worth_eur=stays.cost_eur - forced.cost_eur, changes=change,
            )  # fmt: skip
    return replace(told, reason="price" if possible else "gap", changes=change)


def _pays(forced: Answer, stays: Answer | None) -> bool:
    """Whether the other way is certainly cheaper than anything that stays as planned at the step."""
    return stays is not None and forced.cost_eur < stays.bound_eur - WORTH_EUR


def _known(one: OneAsset, t: int, on: bool, context: Context) -> tuple[str, str]:
    """Why its on/off is no decision of this plan."""
    asset = one.asset.id
    state, committed = context.states[asset], context.committed.get(asset)
    if not state.available:
        return "known", "out of service"
    if committed is not None and committed[t] == int(on):
        return "known", "announced"
    if one.on is None:
        return "own", "running task" if on else "windows"
    return "own", "min_up" if on else "min_down"


def _freed(one: OneAsset) -> Iterator[tuple[str, OneAsset]]:
    """The asset without one of its limits, in turn: those it shares first, then its own."""
    labels, shared = one.labels(), {c.part for c in one.couplings}
    for name in sorted(labels, key=lambda n: n not in shared):
        yield name, one.without(labels[name])
    for label, columns in one.windows():
        yield f"{label} full", one.wider(columns, below=False)
        yield f"{label} empty", one.wider(columns, below=True)


def _part_of(name: str, one: OneAsset) -> str:
    return name if name in {c.part for c in one.couplings} else "own"


def _narrowed(name: str, one: OneAsset, exceeded: Sequence[tuple[str, int, float]]) -> str:
    """A part's first exceeded limit; an own limit is its own name."""
    if _part_of(name, one) == "own" or not exceeded:
        return name
    return exceeded[0][0]


def _exceeded(one: OneAsset, forced: Answer, t: int) -> Iterator[tuple[str, int, float]]:
    """Limits over several assets that a variant would exceed, each at `t` or else at its worst step, in its units."""
    worst: dict[str, tuple[int, float]] = {}
    for c in one.couplings:
        change = c.effect.get(one.asset.id, 0.0) * (forced.power_mw[c.step] - one.planned_mw[c.step])
        if forced.on is not None and one.planned_on is not None:
            change += c.effect_on.get(one.asset.id, 0.0) * (forced.on[c.step] - one.planned_on[c.step])
        past = float(c.sense * change - c.slack)
        step, before = worst.get(c.name, (-1, EXCEEDED))
        if past > EXCEEDED and step != t and (c.step == t or past > before):
            worst[c.name] = c.step, past
    for name, (step, past) in sorted(worst.items(), key=lambda item: (item[1][0] != t, -item[1][1])):
        yield name, step, past


def _run(told: Explanation, one: OneAsset, planned: Answer, other: Answer, t: int, prices: Prices) -> Change:
    """The run that the other way would add or drop around `t`, and the mean price at which it would pay."""
    hours = one.problem.grid.hours
    delta = other.power_mw - planned.power_mw
    sign = np.sign(delta[t]) or 1.0
    same = sign * delta > MOVED_MW
    first, last = t, t + 1
    while first > 0 and same[first - 1]:
        first -= 1
    while last < len(delta) and same[last]:
        last += 1
    energy = float(hours[first:last] @ delta[first:last])
    price = prices.of(one.asset.id, len(delta), {c.part for c in prices.couplings})
    mean = float((hours * delta * price)[first:last].sum() / energy) if abs(energy) > MOVED_MW else float(price[t])
    extra = other.cost_eur - planned.cost_eur
    wanted = mean + extra / energy if abs(energy) > MOVED_MW else float("nan")
    instead, until = _nearest_run(-sign * delta > MOVED_MW, t)
    return Change(
        "stop" if told.on else "start", "above" if wanted > mean else "below", wanted,
        float(other.power_mw[t]), first, last, mean, extra, instead, until,
    )  # fmt: skip


def _nearest_run(marked: NDArray[np.bool_], t: int) -> tuple[int | None, int | None]:
    """[first, last) of the consecutive marked steps nearest to `t`; None where nothing is marked."""
    at = np.flatnonzero(marked)
    if not at.size:
        return None, None
    first = last = int(at[np.argmin(np.abs(at - t))])
    while first > 0 and marked[first - 1]:
        first -= 1
    while last < len(marked) and marked[last]:
        last += 1
    return first, last
