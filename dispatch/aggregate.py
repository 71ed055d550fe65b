"""Exact aggregation: identical assets stand in the problem as one, and get their own plans back.

**Stores.** The feasible set of a battery is a convex set that scales: with power, capacity, content and widths of
the end value times s, its plans are s P. A sum of such plans is (s_1 + ... + s_k) P, since P is convex, and a plan
of the sum gives member i the share s_i / (s_1 + ... + s_k) of it. Costs are linear, so shares cost what the sum
costs; the fee on consumption, max(0, -p), scales likewise.

**On/off machines.** For k identical machines the minimum-time inequalities bound the numbers `on`, `start` and
`stop` by k instead of 1. A schedule of numbers is a schedule of machines: on a start the one that has stopped
longest starts, on a stop the one that has run longest stops. A machine inside its minimum time is then never
touched while the inequalities hold, and because starts go round, no machine starts more often than the k-th
part of all starts, rounded up: the limit of starts in 24 h holds too, earlier ones being equal.
One that would stop while another starts
keeps running instead, which costs at most as much.

Sources: B. Knueven, J. Ostrowski, J.-P. Watson, "Exploiting identical generators in unit commitment", IEEE
Transactions on Power Systems 33 (4), 2018; for sums of convex sets R. Schneider, "Convex Bodies: The
Brunn-Minkowski Theory", 2nd ed., Cambridge 2014, section 1.1.

What is outside the block must not tell the members apart: `alike` names what they must share (bus, site, unit),
and a limit on one asset, an objective that is not linear in power, or reserve forbids aggregation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import AssetResult, Block, Context, EndValue, Kind, Reader
from dispatch.sparse import at_each_step
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array

DIGITS = 12
"""Significant digits to which the ratios of two batteries agree that count as scaled copies."""


@dataclass(frozen=True)
class Classes:
    """K classes of n assets: `of` (n,) is the class of each, `share` (n,) its part of the class's injection.

    `stand_ins` (K) are what enters the problem, `context` what is known of them.
    """

    of: NDArray[np.int64]
    share: Array
    stand_ins: tuple[Asset, ...]
    context: Context

    def spread(self, steps: int) -> sp.csr_array:
        """(n*T, K*T) map from the injections of the classes to those of the members."""
        at = np.arange(len(self.of)), self.of
        member = sp.csr_array((self.share, at), shape=(len(self.of), len(self.stand_ins)))
        return at_each_step(member, np.ones(steps))


Alike = Callable[[Asset], Hashable]
Members = list[Asset]


def block(kind: Kind, fleet: Sequence[Asset], context: Context, alike: Alike) -> Block:
    """The block of `fleet` with one stand-in for the assets that are `alike` inside and outside.

    Its assets, their injections and its results are those of the whole fleet; where nothing is alike, or the
    kind has no exact aggregate, it is the kind's own block. Raises what the kind's block raises.
    """
    merge = MERGES.get(kind.NAME)
    if merge is None:
        return kind.block(fleet, context)
    groups = _groups(fleet, context, merge.key, alike)
    if len(groups) == len(fleet):
        return kind.block(fleet, context)
    classes = _classes(fleet, context, groups, merge)
    small = kind.block(classes.stand_ins, classes.context)
    if merge.convex and any(c.integer for c in small.columns):
        return kind.block(fleet, context)
    spread, steps = classes.spread(context.grid.n), context.grid.n
    offset = np.broadcast_to(np.asarray(small.power_offset, dtype=float), (len(groups) * steps,))
    return replace(
        small,
        assets=tuple(a.id for a in fleet),
        power=None if small.power is None else sp.csr_array(spread @ small.power),
        power_offset=spread @ offset,
        read=_reader(fleet, classes, small.read, merge, context),
        headroom=None,
        hinted=None,
    )


@dataclass(frozen=True)
class Merge:
    """How assets of a kind merge: what must agree, the size of one, their stand-in, and each member's own result.

    `convex`: exact only while the block has no integers.
    """

    key: Callable[[Asset, Context], Hashable]
    size: Callable[[Asset], float]
    stand_in: Callable[[Members, Context], tuple[Asset, AssetState, EndValue | None, int]]
    members: Callable[[Members, Array, AssetResult, Context], list[AssetResult]]
    convex: bool


def _groups(
    fleet: Sequence[Asset], context: Context, key: Callable[[Asset, Context], Hashable], alike: Alike
) -> list[list[int]]:
    """Positions of the members of each class, in the order of the first of each."""
    found: dict[Hashable, list[int]] = {}
    for i, asset in enumerate(fleet):
        known = asset.id in context.states
        found.setdefault((alike(asset), key(asset, context)) if known else asset.id, []).append(i)
    return list(found.values())


def _classes(fleet: Sequence[Asset], context: Context, groups: Sequence[Sequence[int]], merge: Merge) -> Classes:
    of, share = np.empty(len(fleet), dtype=np.int64), np.ones(len(fleet))
    stand_ins: list[Asset] = []
    states, ends, units = dict(context.states), dict(context.end_value), dict(context.units)
    for k, group in enumerate(groups):
        members = [fleet[i] for i in group]
        of[list(group)] = k
        if len(members) == 1:
            stand_ins.append(members[0])
            continue
        sizes = np.array([merge.size(a) for a in members])
        share[list(group)] = sizes / sizes.sum()
        asset, state, end, count = merge.stand_in(members, context)
        stand_ins.append(asset)
        states[asset.id], units[asset.id] = state, count
        if end is not None:
            ends[asset.id] = end
    return Classes(of, share, tuple(stand_ins), replace(context, states=states, end_value=ends, units=units))


def _reader(fleet: Sequence[Asset], classes: Classes, read: Reader, merge: Merge, context: Context) -> Reader:
    order = np.argsort(classes.of, kind="stable")
    groups = [part.tolist() for part in np.split(order, np.cumsum(np.bincount(classes.of))[:-1])]

    def read_members(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        found = read(x, duals)
        results: dict[str, AssetResult] = {}
        for asset, at in zip(classes.stand_ins, groups, strict=True):
            members, result = [fleet[i] for i in at], found[asset.id]
            own = [result] if len(at) == 1 else merge.members(members, classes.share[at], result, context)
            results.update(zip([a.id for a in members], own, strict=True))
        return results

    return read_members


def _agreed(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _ends(asset: Asset, context: Context, unit: float) -> Hashable:
    end = context.end_value.get(asset.id)
    if end is None:
        return None
    return tuple(_agreed(w / unit) for w in np.ravel(end.width_mwh)), tuple(np.ravel(end.value).tolist())


def _battery_key(asset: Asset, context: Context) -> Hashable:
    """Everything that does not grow with the capacity, and what does, per MWh of it."""
    q, state = asset.params, context.states[asset.id]
    shape = q.model_copy(update={"power_mw": _agreed(q.power_mw / q.capacity_mwh), "capacity_mwh": 1.0})
    content = _agreed(min(max(state.stored_mwh, 0.0), q.capacity_mwh) / q.capacity_mwh)
    return shape, content, state.available, _ends(asset, context, q.capacity_mwh)


def _battery(members: Members, context: Context) -> tuple[Asset, AssetState, EndValue | None, int]:
    """One battery as large as all of them."""
    first, capacity = members[0], sum(a.params.capacity_mwh for a in members)
    scale, state = capacity / first.params.capacity_mwh, context.states[first.id]
    params = first.params.model_copy(update={"power_mw": first.params.power_mw * scale, "capacity_mwh": capacity})
    end = context.end_value.get(first.id)
    grown = None if end is None else EndValue(np.asarray(end.width_mwh) * scale, end.value)
    content = min(max(state.stored_mwh, 0.0), first.params.capacity_mwh)
    return replace(first, params=params), replace(state, stored_mwh=content * scale), grown, 1


def _battery_members(members: Members, share: Array, result: AssetResult, context: Context) -> list[AssetResult]:
    if result.stored_mwh is None:
        return [result for _ in members]
    return [replace(result, stored_mwh=part * result.stored_mwh) for part in share]


def _mill_key(asset: Asset, context: Context) -> Hashable:
    """All of it: parameters with the silo, state, commitment; time in a state counts up to the minimum time."""
    q, state, fixed = asset.params, context.states[asset.id], context.committed.get(asset.id)
    needed = 60.0 * (q.min_run_h if state.on else q.min_stop_h)
    since = min(float(state.minutes_in_state), needed)
    content = _agreed(state.stored_mwh)
    commitment = None if fixed is None else fixed.tobytes()
    return q, state.on, since, state.started, content, state.available, commitment, _ends(asset, context, 1.0)


def _mills(members: Members, context: Context) -> tuple[Asset, AssetState, EndValue | None, int]:
    """One of them, counted as often as there are."""
    first = members[0]
    return first, context.states[first.id], context.end_value.get(first.id), len(members)


def _mill_members(members: Members, share: Array, result: AssetResult, context: Context) -> list[AssetResult]:
    """Each mill's own state and power; what is told of the silo by its first mill stays with the first."""
    if result.commitment is None:
        raise ValueError(f"{members[0].id}: a number of running machines is missing")
    running = take_turns(result.commitment, len(members), context.states[members[0].id].on)
    silo = {k: v for k, v in result.decisions.items() if k not in ("missed_t", "spilled_t")}
    return [
        replace(result, commitment=on, power_mw=-a.params.power_mw * on, decisions=result.decisions if i == 0 else silo)
        for i, (a, on) in enumerate(zip(members, running, strict=True))
    ]


def take_turns(number_on: Array, machines: int, on_before: bool) -> Array:
    """(machines, T) states of identical machines of which `number_on` (T,) run, all of them on or off before.

    The one that has stopped longest starts first, the one that has run longest stops first. Raises ValueError
    for a number that is not one of 0, 1, ..., machines.
    """
    number = np.rint(np.asarray(number_on, dtype=float)).astype(np.int64)
    if np.abs(number - number_on).max(initial=0.0) > 1e-4 or number.min() < 0 or number.max() > machines:
        raise ValueError(f"{number_on} are not numbers of {machines} machines")
    running = list(range(machines)) if on_before else []
    stopped = [] if on_before else list(range(machines))
    states = np.zeros((machines, number.size))
    for t, wanted in enumerate(number.tolist()):
        change = wanted - len(running)
        if change >= 0:
            running, stopped = running + stopped[:change], stopped[change:]
        else:
            running, stopped = running[-change:], stopped + running[:-change]
        states[running, t] = 1.0
    return states


MERGES: dict[str, Merge] = {
    "battery": Merge(_battery_key, lambda a: float(a.params.capacity_mwh), _battery, _battery_members, convex=True),
    "process": Merge(_mill_key, lambda a: 1.0, _mills, _mill_members, convex=False),
}
