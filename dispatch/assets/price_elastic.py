"""Price-elastic load: answers a published price with less or more consumption, part of which only moves.

Own response at step t, as a share of the reference load L, with elasticity eps < 0 around price p0:

    share(p) = clip(1 + eps * (p - p0) / p0, min_share, max_share)

so the marginal benefit of consuming is the inverse, decreasing, benefit(share) = p0 * (1 + (share - 1) / eps),
and the published price is the marginal benefit at the share wanted. Its integral is cut into SEGMENTS
linear pieces on either side of the reference; `reduced` and `added` (MW) fill them, cheapest first.

Substitution sigma: what is reduced at one instant comes back evenly over the `window_h` (W) after it, and
what is added is missing then. Integrated over steps of any length with deviation d = added - reduced:

    consumption[t] = L[t] + owed[t] + d[t] - sum_s R[t,s] d[s],
    R[t,s] = sigma / (W h[t]) * area{(x, y): x in step t, y in step s, 0 < x - y < W}
    min_share * L <= consumption <= max_share * L

Cost (term comfort) of a reduced MWh = benefit - p0 * (share of it that comes back inside the horizon), the
negative of it for an added one: consumption that comes back is worth p0, so the reference is optimal at
a flat price p0. What comes back after the horizon is taken to be bought at p0 and worth p0.

`owed` is the same sum over the moves that prices published before the horizon brought (`owed_from`), as the optional
input `owed_mw`: more for what was reduced. It is sunk. What of it does not fit between the shares is lost, as the
load's own limits have it, so no past makes the problem infeasible.

Source: own and cross elasticities of demand as in D. S. Kirschen, G. Strbac, P. Cumperayot and
D. de Paiva Mendes, "Factoring the elasticity of demand in electricity prices", IEEE Trans. Power
Systems 15(2), 2000; the quadratic benefit of consuming as in F. C. Schweppe et al., "Spot Pricing of
Electricity", Kluwer 1988.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse as sp
from pydantic import BaseModel, ConfigDict, Field

from dispatch.assets._inputs import ids, no_fleet_faults, parameter, trajectories
from dispatch.block import INF, AssetResult, Block, Columns, Context, Reader, Rows, eye, stack
from vpp.domain.portfolio import Asset, AssetState, Control
from vpp.domain.time import Array, TimeGrid

NAME = "price_elastic"
INPUTS = ("load_mw",)
CONTROL: Control = "price"
GENERATES = False
FOLLOWS: Mapping[str, float] = {"load_mw": -1.0}
NEVER_OFF = ""
fleet_faults = no_fleet_faults
OWED = "owed_mw"
SEGMENTS = 6
CONSUMED, MOVED, REDUCED, ADDED = range(4)


class Params(BaseModel):
    """Shares are of the reference load; `response_sigma` is the standard deviation of the response's random factor."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_share: float = Field(ge=0.0, le=1.0)
    max_share: float = Field(default=1.5, ge=1.0)
    elasticity: float = Field(lt=0.0)
    reference_price_eur_per_mwh: float = Field(gt=0.0)
    substitution: float = Field(default=0.0, ge=0.0, le=1.0)
    window_h: float = Field(default=2.0, gt=0.0, le=24.0)
    response_sigma: float = Field(default=0.0, ge=0.0)

    def share(self, price_eur_per_mwh: Array) -> Array:
        """Own response to a price, same shape, before anything comes back."""
        relative = price_eur_per_mwh / self.reference_price_eur_per_mwh - 1.0
        share: Array = np.clip(1.0 + self.elasticity * relative, self.min_share, self.max_share)
        return share

    def benefit(self, share: Array) -> Array:
        """Marginal benefit at a share of the reference load, money per MWh; the inverse of `share`."""
        value: Array = self.reference_price_eur_per_mwh * (1.0 + (share - 1.0) / self.elasticity)
        return value


def block(fleet: Sequence[Asset], context: Context) -> Block:
    """Columns consumed and moved (n, T), reduced and added (n * SEGMENTS, T), MW.

    The two sums stand in columns of their own, so that no other row repeats the band of what comes
    back. Raises DataGap where a load is missing.
    """
    load, grid = np.maximum(trajectories(fleet, context, "load_mw"), 0.0), context.grid
    owed = np.stack([_owed(a.params, context.inputs[a.id], row) for a, row in zip(fleet, load, strict=True)])
    n, steps = load.shape
    size, back = n * steps, _rebound(fleet, grid)
    returned = (np.tile(grid.hours, n) @ back).reshape(n, steps) / grid.hours
    low, high = (parameter(fleet, name) * load for name in ("min_share", "max_share"))
    columns = (
        Columns("consumed", (n, steps), low.ravel(), high.ravel(), term="comfort"),
        Columns("moved", (n, steps), -INF, INF, term="comfort"),
        _segments("reduced", fleet, load, grid, "min_share", returned),
        _segments("added", fleet, load, grid, "max_share", returned),
    )
    sizes, one = [c.size for c in columns], eye(size)
    collect = sp.csr_array(sp.kron(sp.kron(sp.eye_array(n), np.ones((1, SEGMENTS))), sp.eye_array(steps)))
    moved = stack(sizes, {MOVED: one, REDUCED: collect, ADDED: sp.csr_array(-collect)}, size)
    consumed = stack(sizes, {CONSUMED: one, MOVED: sp.csr_array(back - one)}, size)
    base = (load + owed).ravel()
    rows = (Rows("moved", 0.0, 0.0, own=moved), Rows("consumption", base, base, own=consumed))
    power = stack(sizes, {CONSUMED: sp.csr_array(-one)}, size)
    return Block(NAME, columns, rows, ids(fleet), power, read=_reader(fleet, load))


def default_mw(asset: Asset, state: AssetState | None, inputs: Mapping[str, Array], grid: TimeGrid) -> Array:
    """The reference load, and what comes back of earlier moves, as injection, (T,)."""
    load = np.maximum(np.asarray(inputs["load_mw"], dtype=float), 0.0)
    default: Array = -(load + _owed(asset.params, inputs, load))
    return default


def window(params: Params) -> tuple[float, float] | None:
    """It stores nothing."""
    return None


def store(asset: Asset) -> tuple[str, float] | None:
    """It has none."""
    return None


def reach_mw(params: Params) -> tuple[float, float] | None:
    """It takes no power command."""
    return None


def merit_mw(
    asset: Asset, default: Array, inputs: Mapping[str, Array], grid: TimeGrid, price_eur_per_mwh: Array
) -> Array:
    """What it answers to the price itself, (T,)."""
    return -expected_response(asset.params, inputs["load_mw"], price_eur_per_mwh, grid.hours, inputs.get(OWED, 0.0))


def extremes(asset: Asset, inputs: Mapping[str, Array]) -> tuple[Array, Array]:
    """(lower, upper) injections (T,) when the load answers fully: most consumption, least consumption.

    What comes back of earlier moves, those before the grid as well, is inside: the shares limit the sum.
    """
    load = np.maximum(np.asarray(inputs["load_mw"], dtype=float), 0.0)
    return -asset.params.max_share * load, -asset.params.min_share * load


def owed_from(params: Params, hours_before: Array, moved_mw: Array, hours: Array) -> Array:
    """Consumption (T,), MW, that moves (S,) in the steps just before a grid of `hours` bring back in it."""
    kernel = _returning(np.concatenate([hours_before, hours]), params.window_h)
    owed: Array = -params.substitution * (kernel[len(moved_mw) :, : len(moved_mw)] @ moved_mw)
    return owed


def _owed(params: Params, inputs: Mapping[str, Array], load: Array) -> Array:
    """(T,) what is owed from before the grid, as far as it fits between the shares of the load."""
    owed = np.broadcast_to(np.asarray(inputs.get(OWED, 0.0), dtype=float), load.shape)
    return np.asarray(np.clip(owed, (params.min_share - 1.0) * load, (params.max_share - 1.0) * load))


def expected_response(
    asset_params: Params, load_mw: Array, price_eur_per_mwh: Array, hours: Array | float = 0.25,
    owed_mw: Array | float = 0.0,
) -> Array:  # fmt: skip
    """Consumption (T,), MW, at published prices (T,), with what comes back; `hours` is the length of the steps.

    The mean response: no random factor. `owed_mw` (T,) is what earlier moves bring back.
    """
    load = np.maximum(np.asarray(load_mw, dtype=float), 0.0)
    length = np.broadcast_to(np.asarray(hours, dtype=float), load.shape)
    deviation = load * (asset_params.share(np.asarray(price_eur_per_mwh, dtype=float)) - 1.0)
    back = asset_params.substitution * (_returning(length, asset_params.window_h) @ deviation)
    owed = _owed(asset_params, {OWED: np.asarray(owed_mw)}, load)
    low, high = asset_params.min_share * load, asset_params.max_share * load
    consumed: Array = np.clip(load + owed + deviation - back, low, high)
    return consumed


def _segments(label: str, fleet: Sequence[Asset], load: Array, grid: TimeGrid, limit: str, returned: Array) -> Columns:
    """(n * SEGMENTS, T) pieces from the reference to `limit`; each costs the benefit at its middle, less what returns.

    `returned` (n, T) is the share of energy moved away in a step that comes back inside the horizon.
    """
    n, steps = load.shape
    distance = parameter(fleet, limit) - 1.0
    price, eps = parameter(fleet, "reference_price_eur_per_mwh"), parameter(fleet, "elasticity")
    middle = distance * (np.arange(SEGMENTS) + 0.5) / SEGMENTS
    worth = price[:, :, None] * ((1.0 + middle / eps)[:, :, None] - returned[:, None, :])
    cost = (-1.0 if limit == "max_share" else 1.0) * worth * grid.hours
    upper = np.repeat((np.abs(distance) / SEGMENTS * load)[:, None, :], SEGMENTS, axis=1)
    return Columns(label, (n * SEGMENTS, steps), 0.0, upper.ravel(), cost.ravel(), term="comfort")


def _returning(hours: Array, window_h: float) -> Array:
    """(T, T) share of a unit of power moved away in step s (column) that is felt as power in step t (row)."""
    edge = np.concatenate([[0.0], np.cumsum(hours)])
    ahead = edge[:, None] - edge[None, :]
    ramp = np.square(np.maximum(ahead, 0.0)) / 2.0 - np.square(np.maximum(ahead - window_h, 0.0)) / 2.0
    area = ramp[1:, :-1] - ramp[1:, 1:] - ramp[:-1, :-1] + ramp[:-1, 1:]
    share: Array = area / (window_h * hours[:, None])
    return share


def _rebound(fleet: Sequence[Asset], grid: TimeGrid) -> sp.csr_array:
    """(n*T, n*T) power that comes back per power reduced; one kernel for all loads of the same window."""
    n, steps = len(fleet), grid.n
    share, window_h = parameter(fleet, "substitution").ravel(), parameter(fleet, "window_h").ravel()
    matrix = sp.csr_array((n * steps, n * steps))
    for window in np.unique(window_h[share > 0.0]):
        kernel = _returning(grid.hours, float(window))
        kernel[np.abs(kernel) < 1e-12] = 0.0
        mine = sp.diags_array(np.where(window_h == window, share, 0.0))
        matrix = matrix + sp.csr_array(sp.kron(mine, sp.csr_array(kernel)))
    return sp.csr_array(matrix)


def _reader(fleet: Sequence[Asset], load: Array) -> Reader:
    n, steps = load.shape
    names = ids(fleet)

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        own = x[n * steps : 2 * n * steps].reshape(n, steps)
        moved = np.divide(own, load, out=np.zeros_like(load), where=load > 1e-9)
        return {
            name: AssetResult(decisions={"price_eur_per_mwh": fleet[i].params.benefit(1.0 + moved[i])})
            for i, name in enumerate(names)
        }

    return read
