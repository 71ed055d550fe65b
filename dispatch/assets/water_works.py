"""Water works: one line of it, blowers that aerate a basin or pumps that fill one, with the longest pause it bears.

A line drives something that drains: oxygen that sludge breathes, water that a town draws. Both are counted in
the electricity that makes them, so `need` (MW) is the power that just keeps the content x (MWh). A works is a
site with one asset a line, as each has its own meter. With on/off state on, power p, step length h (hours):

    min on <= p <= max on,    injection = -p,    on, start, stop as in `_commitment`, `recovery_h` the minimum run
    x[t] = (1 - loss h) x[t-1] + h (p - need) + lacking - wasted,       0 <= x <= capacity
    a stop needs a recovered content:    x[t-1] >= recovered_share * capacity * stop[t]
    no pause is longer than L:           sum of on[s] over s in W >= 1 for every run W of steps longer than L

so a pause is a store of oxygen and of time: it ends after L at the latest, the line then runs for
`recovery_h` at least, and does not pause again before the content has recovered. The pause before the plan
counts. `lacking` and `wasted` (MWh a step) are slacks at PENALTY_EUR_PER_MWH, and a pause made longer by a
commitment from above costs the same for the line's full power.

Source: aeration as flexible load as in C. Schaefer, M. Hobus and T. G. Schmitt, "Energetic flexibility on
wastewater treatment plants", Water Science and Technology 76 (5), 2017; pumping into a store as in G. Bonvin
et al., "A convex mathematical program for pump scheduling in a class of branched water networks", Applied
Energy 185, 2017; the limit on pauses is a cover of the windows longer than L, as for minimum times in
D. Rajan and S. Takriti, IBM Research Report RC23628, 2005. A line out of service is off.

It sells no reserve: a call that pauses a line uses up the pause that its plan may need next, and one that runs a
paused line starts its minimum run, so what is left to give depends on calls before it and not on the plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dispatch.assets import _commitment, _store
from dispatch.assets._commitment import EPS_MIN, Machines
from dispatch.assets._inputs import available, ids, no_fleet_faults, parameter, stored, trajectories
from dispatch.assets._merit import shifted
from dispatch.assets._store import diagonal
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, previous, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "water_works"
INPUTS = ("need_mw",)
CONTROL: Control = "continuous"
GENERATES = False
FOLLOWS: Mapping[str, float] = {}
NEVER_OFF = "a line of a water works must come back from its pause"
fleet_faults = no_fleet_faults
PENALTY_EUR_PER_MWH = 1000.0
ON, START, STOP, POWER, CONTENT, LACKING, WASTED, OVERDUE, END = range(9)


class Params(BaseModel):
    """One line; `capacity_mwh` is the electricity that would fill its basin (with oxygen, or with water)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_power_mw: float = Field(gt=0)
    min_power_mw: float = Field(gt=0)
    capacity_mwh: float = Field(gt=0)
    loss_per_h: float = Field(default=0.0, ge=0, lt=1)
    longest_pause_h: float | None = Field(default=None, gt=0, le=48)
    recovery_h: float = Field(default=0.0, ge=0, le=24)
    recovered_share: float = Field(default=0.0, ge=0, le=1)
    start_cost_eur: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Params:
        if self.min_power_mw > self.max_power_mw:
            raise ValueError(f"min_power_mw {self.min_power_mw} is above max_power_mw {self.max_power_mw}")
        return self


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """The physics of `fleet` over `context.grid`. Raises DataGap for a missing state or need."""
    need, grid = trajectories(fleet, context, "need_mw"), context.grid
    m = _commitment.machines(fleet, context, parameter(fleet, "recovery_h"), np.zeros((len(fleet), 1)))
    keep = _store.keep_share(parameter(fleet, "loss_per_h"), grid)
    initial = np.maximum(stored(fleet, context), 0.0)
    lower, upper = _store.window(initial, keep, np.zeros_like(initial), parameter(fleet, "capacity_mwh"))
    end = _store.end_value_columns("end", _store.ends_of(ids(fleet), context), grid.n, np.zeros(len(fleet)))
    lower = _store.hard_end(end, lower, np.minimum(initial, upper[:, -1:]))
    hours, most = np.broadcast_to(grid.hours, need.shape), parameter(fleet, "max_power_mw")
    bound_by_others = ((m.known == 0).any(axis=1, keepdims=True) & (available(fleet, context) > 0.0)).astype(float)
    late = PENALTY_EUR_PER_MWH * most * hours
    columns = (
        *_commitment.columns(m, parameter(fleet, "start_cost_eur")),
        Columns("power", need.shape, 0.0, np.broadcast_to(most, need.shape).ravel()),
        Columns("content", need.shape, lower.ravel(), upper.ravel(), term="stored_energy"),
        Columns("lacking", need.shape, 0.0, INF, PENALTY_EUR_PER_MWH, term="penalties"),
        Columns("wasted", need.shape, 0.0, INF, PENALTY_EUR_PER_MWH, term="penalties"),
        Columns("overdue", need.shape, 0.0, np.repeat(bound_by_others, grid.n), late.ravel(), term="penalties"),
        end.columns,
    )
    sizes, one = [c.size for c in columns], eye(need.size)
    gains = {POWER: diagonal(hours), LACKING: one, WASTED: sp.csr_array(-one)}
    rows = [*_commitment.rows(m, sizes, ON), *_power_rows(fleet, need.shape, sizes)]
    rows.append(_store.balance_rows("balance", sizes, CONTENT, gains, initial, keep, -need * hours))
    rows += [_recovered_rows(fleet, m, initial, sizes), *_pause_rows(fleet, context, m, sizes)]
    rows += _store.end_value_rows("end_value", sizes, CONTENT, END, end)
    power = stack(sizes, {POWER: sp.csr_array(-one)}, need.size)
    return Block(NAME, columns, tuple(rows), ids(fleet), power, read=_reader(fleet, sizes, need.shape))


def _power_rows(fleet: Sequence[Asset], shape: tuple[int, int], sizes: Sequence[int]) -> list[Rows]:
    size = shape[0] * shape[1]
    least, most = (diagonal(np.broadcast_to(-parameter(fleet, f"{k}_power_mw"), shape)) for k in ("min", "max"))
    one = eye(size)
    return [
        Rows("least_power", 0.0, INF, stack(sizes, {ON: least, POWER: one}, size)),
        Rows("most_power", -INF, 0.0, stack(sizes, {ON: most, POWER: one}, size)),
    ]


def _recovered_rows(fleet: Sequence[Asset], m: Machines, initial: Array, sizes: Sequence[int]) -> Rows:
    """A stop needs a recovered content, but for one that is ordered or forced."""
    level = np.broadcast_to(parameter(fleet, "recovered_share") * parameter(fleet, "capacity_mwh"), m.shape)
    lower = np.zeros(m.shape)
    lower[:, 0] = -initial[:, 0]
    lower[m.known == 0] = -INF
    own = stack(sizes, {CONTENT: previous(*m.shape), STOP: diagonal(-level)}, m.known.size)
    return Rows("recovered", lower.ravel(), INF, own)


def _pause_rows(fleet: Sequence[Asset], context: Context, m: Machines, sizes: Sequence[int]) -> list[Rows]:
    """One row for each step at which a pause would become too long; none where nothing is left to decide."""
    grid, n = context.grid, len(fleet)
    longest = np.array([np.inf if a.params.longest_pause_h is None else 60.0 * a.params.longest_pause_h for a in fleet])
    longest = np.where((m.known >= 0).all(axis=1), np.inf, longest)
    states = [context.states[a.id] for a in fleet]
    paused = np.array([-1.0 if s.on else float(s.minutes_in_state) for s in states])
    begin = np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)])
    over = begin + np.asarray(grid.minutes, dtype=float)
    first = np.searchsorted(begin, over[None, :] - longest[:, None] - EPS_MIN, side="left") - 1
    too_long = over[None, :] + paused[:, None] > longest[:, None] + EPS_MIN
    from_before = (first < 0) & (paused[:, None] >= 0.0) & too_long
    asset, last = np.nonzero((first >= 0) | from_before)
    if not asset.size:
        return []
    begun = np.maximum(first[asset, last], 0)
    count = last - begun + 1
    row = np.repeat(np.arange(asset.size), count)
    within = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count)
    column = np.repeat(asset * grid.n + begun, count) + within
    size = n * grid.n
    covered = sp.csr_array((np.ones(row.size), (row, column)), shape=(asset.size, size))
    at = (np.arange(asset.size), asset * grid.n + last)
    overdue = sp.csr_array((np.ones(asset.size), at), shape=(asset.size, size))
    return [Rows("longest_pause", 1.0, INF, stack(sizes, {ON: covered, OVERDUE: overdue}, asset.size))]


def _reader(fleet: Sequence[Asset], sizes: Sequence[int], shape: tuple[int, int]) -> Reader:
    cuts, names = np.cumsum(sizes)[:END], ids(fleet)

    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        groups = [part.reshape(shape) for part in np.split(x, cuts)[:END]]
        values = _store.marginal_value(duals, "balance", *shape)
        return {
            name: AssetResult(
                _commitment.as_commitment(groups[ON][i]),
                groups[CONTENT][i],
                values[i],
                {"lacking_mwh": groups[LACKING][i], "wasted_mwh": groups[WASTED][i]},
            )
            for i, name in enumerate(names)
        }

    return read


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """Injection (T,) of a line that keeps its content, and pauses where even its least power overfills the basin.

    An unknown state counts as a half-full basin; a line out of service stays off.
    """
    p: Params = asset.params
    content = p.capacity_mwh / 2.0 if state is None else max(state.stored_mwh, 0.0)
    power = np.zeros(grid.n)
    if state is not None and not state.available:
        return power
    for t, (h, need) in enumerate(zip(grid.hours, np.asarray(inputs["need_mw"], dtype=float), strict=True)):
        kept = content * max(0.0, 1.0 - p.loss_per_h * h)
        wanted = min(max(need + (content - kept) / h, p.min_power_mw), p.max_power_mw)
        running = kept + h * (wanted - need) <= p.capacity_mwh + 1e-9 or wanted > p.min_power_mw
        power[t] = -wanted if running else 0.0
        content = min(max(kept + h * (-power[t] - need), 0.0), max(p.capacity_mwh, kept))
    return power


def window(params: Params) -> tuple[float, float] | None:
    """The basin, MWh."""
    return 0.0, params.capacity_mwh


def store(asset: Asset) -> tuple[str, float] | None:
    """The basin, MWh."""
    return asset.id, float(asset.params.capacity_mwh)


def reach_mw(params: Params) -> tuple[float, float] | None:
    """Full power or a pause."""
    return -params.max_power_mw, 0.0


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """Full power in the cheapest quarter of the steps, a pause in the dearest, else the default, (T,)."""
    return shifted(default, price_eur_per_mwh, 0.0, asset.params.max_power_mw)
