"""From a flexibility request to an offer: what the group can give beyond its prognosis, and what that costs.

The offer is the deviation of a plan that gives as much of the request as physics and network allow, less the share kept
back for what the forecast misses, and no more than the headroom ledger has left beside what is sold already. Its price
is what that plan costs more than the plan without it. What other open offers of the point would take counts as taken:
all of them may be ordered.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.uftp.writing import new_id
from dispatch.block import Block
from dispatch.one_way import one_way_plan
from dispatch.problem import with_block
from dispatch.requested import FLEXIBILITY, ROOM, given_mw, requested_power
from vpp.domain.flex_trade import FlexOffer, FlexOrder, FlexRequest, Prognosis, TradeStatus, at, total_mw
from vpp.domain.ledger import Claim, Ledger
from vpp.domain.portfolio import Portfolio
from vpp.domain.schedule import Schedule, Solution
from vpp.domain.stage import DAY_AHEAD, INTRADAY
from vpp.domain.time import QUARTER, Array, TimeGrid, floor_to
from vpp.service.assemble import exposure_of, problem_of
from vpp.service.headroom import ORDERS, ledger_of
from vpp.service.knowledge import gather
from vpp.service.situation import Situation
from vpp.service.system import System
from vpp.service.uftp_config import OfferTerms, UftpConfig

REBOUND = timedelta(hours=2)
REL_GAP, ROUNDS = 0.005, 8
CENT, MOVED_MW, MOST_MW = Decimal("0.01"), 1e-3, 1e4
LIVE = (TradeStatus.OPEN, TradeStatus.ACCEPTED)


@dataclass(frozen=True)
class Answerable:
    """What a request asks for that can still be given, (n,) over its day; `level_mw` is what is counted from."""

    level_mw: Array
    sign: Array
    most_mw: Array
    least_mw: Array


@dataclass(frozen=True)
class Given:
    """The deviation `mw` (n,) of a plan, what it costs more than the plan without, and the notice it needs."""

    mw: Array
    cost_eur: float
    notice: timedelta


def answerable(request: FlexRequest, level_mw: Array, now: datetime) -> Answerable:
    """ISPs that begin before the next plan can take effect are left out."""
    first = floor_to(now, QUARTER) + QUARTER
    soon = np.array([t < first for t in request.grid.starts])
    sign = np.where(soon, 0.0, request.direction)
    far = np.where(sign > 0.0, request.high_mw, -request.low_mw)
    near = np.where(sign > 0.0, request.low_mw, -request.high_mw)
    most, least = (np.where(sign != 0.0, np.clip(v, 0.0, MOST_MW), 0.0) for v in (far, near))
    return Answerable(level_mw, sign, most, least)


def situation_for(system: System, end: datetime, now: datetime) -> Situation:
    """What is known for a plan in quarters until `end`."""
    near = end <= now + system.stage(INTRADAY).horizon
    return gather(system, INTRADAY if near else DAY_AHEAD, "offer", floor_to(now, QUARTER), scenarios=0)


def live_offers(system: System, point: str, grid: TimeGrid, now: datetime) -> list[FlexOffer]:
    """Offers that may still be ordered."""
    offers = system.store.uftp.trades(FlexOffer, grid.start, grid.end, *LIVE, point=point)
    return [o for o in offers if o.grid == grid and o.expires_at > now]


def make_offer(
    system: System, config: UftpConfig, request: FlexRequest, prognosis: Prognosis, now: datetime,
    lock: AbstractContextManager[Any],
) -> FlexOffer | None:  # fmt: skip
    """None where nothing of the request can be given. Raises NotSolved, DataGap.

    `lock` is held while the situation is gathered, not while its plans are made. The offer ends when the next plan
    could no longer tell those whose plans it changes, each with its own notice.
    """
    grid, terms = request.grid, config.file.offers
    orders = at(system.store.uftp.trades(FlexOrder, grid.start, grid.end), request.congestion_point, grid)
    offers = live_offers(system, request.congestion_point, grid, now)
    level = prognosis.bare_mw + total_mw([*orders, *offers], grid)
    wish = answerable(request, level, now)
    if not wish.sign.any():
        return None
    assets = tuple(a.id for a in config.groups[request.congestion_point])
    last = grid.edges[int(np.flatnonzero(wish.sign)[-1]) + 1]
    with lock:
        s = situation_for(system, last + REBOUND, now)
    found = _most(s, assets, request, wish)
    if found is None:
        return None
    mw = _whole(_unsold(s, assets, prognosis, offers, grid, terms.share * found.mw), wish, terms)
    if not np.isfinite(mw).any():
        return None
    begins = grid.starts[int(np.flatnonzero(np.isfinite(mw))[0])]
    expires = min(now + terms.valid_for, begins - QUARTER - found.notice, request.expires_at)
    if expires <= now:
        return None
    return FlexOffer(
        new_id(), request.peer, request.conversation, request.id, request.congestion_point, prognosis.id, assets, grid,
        mw, _price(found, mw, grid, terms), config.currency, expires, request.contract,
    )  # fmt: skip


def _most(s: Situation, assets: Sequence[str], request: FlexRequest, wish: Answerable) -> Given | None:
    """What a secure plan gives of a request; None where the request leaves no plan secure, or asks for nothing."""
    day, everyone = request.grid, [a.id for a in s.portfolio.assets]
    inside = np.array([day.start <= t < day.end for t in s.grid.starts])
    level, low, high = (where_known(s.grid, day, v) for v in (wish.level_mw, request.low_mw, request.high_mw))
    sign, most = (np.where(inside, np.nan_to_num(s.grid.sample(day, v)), 0.0) for v in (wish.sign, wish.most_mw))
    sign = np.where(np.abs(sign) > 1.0 - 1e-9, np.round(sign), 0.0)
    if not sign.any():
        return None
    block = requested_power(assets, everyone, s.grid, level, sign, most, low, high)
    plain, flexible = _plan(s, None), _plan(s, block)
    if flexible.status == "violated" and plain.status != "violated":
        return None
    given = given_mw(flexible.schedule, assets, level, sign, most)
    extra = flexible.costs.get(FLEXIBILITY, 0.0) + flexible.costs.get(ROOM, 0.0)
    cost = flexible.objective - extra - plain.objective
    notice = notice_of(s.portfolio, plain.schedule, flexible.schedule, sign != 0.0)
    return Given(np.nan_to_num(day.sample(s.grid, given)), cost, notice)


def notice_of(portfolio: Portfolio, plain: Schedule, flexible: Schedule, asked: NDArray[np.bool_]) -> timedelta:
    """The longest notice of those whose plans differ in a step (T,) that is asked for."""
    change = np.abs(flexible.power_mw - plain.power_mw)[:, asked].max(axis=1)
    moved = [asset for asset, mw in zip(plain.asset_ids, change, strict=True) if mw > MOVED_MW]
    return max((portfolio.asset(asset).notice for asset in moved), default=timedelta())


def _plan(s: Situation, block: Block | None) -> Solution:
    problem = problem_of(s)
    return one_way_plan(
        problem if block is None else with_block(problem, block), s.grid_side.network if s.grid_side else None,
        exposure_of(s), deadline_s=s.stage.deadline.total_seconds(), rel_gap=REL_GAP, max_rounds=ROUNDS,
    ).solution  # fmt: skip


def _unsold(
    s: Situation, assets: tuple[str, ...], prognosis: Prognosis, offers: Sequence[FlexOffer], day: TimeGrid, mw: Array
) -> Array:
    """`mw` without what the assets hold for other products and orders."""
    ledger = ledger_of(s)
    claim = claim_on(ledger, "offer", assets, day, mw, prognosis.bare_mw + total_mw(offers, day))
    bounds = ledger.left_mw(claim), ledger.least_mw(claim)
    most, least = (np.nan_to_num(where_known(day, s.grid, v)) for v in bounds)
    return np.clip(mw, np.minimum(least, 0.0), np.maximum(most, 0.0))


def claim_on(
    ledger: Ledger, name: str, assets: tuple[str, ...], day: TimeGrid, mw: Array, from_mw: Array
) -> Claim:
    """A deviation as a claim on its assets; NaN, nothing, where it is 0."""
    asked = where_known(ledger.grid, day, np.where(np.nan_to_num(mw) != 0.0, mw, np.nan))
    return Claim(name, ORDERS, assets, asked, from_mw=where_known(ledger.grid, day, from_mw))


def where_known(grid: TimeGrid, source: TimeGrid, values: Array) -> Array:
    """Values of `source` over `grid`, NaN in every step that a gap touches, and only there."""
    known = np.isfinite(values)
    wholly = np.nan_to_num(grid.sample(source, known.astype(float))) > 1.0 - 1e-9
    return np.where(wholly, grid.sample(source, np.where(known, values, 0.0)), np.nan)


def _whole(mw: Array, wish: Answerable, terms: OfferTerms) -> Array:
    """Whole steps of power, NaN where that is nothing or less than the least that is of use."""
    step = terms.step_kw / 1e3
    floored = np.sign(mw) * np.floor(np.abs(mw) / step + 1e-9) * step
    useful = (np.abs(floored) > step / 2) & (np.abs(floored) >= wish.least_mw - step / 2)
    found: Array = np.where(useful, floored, np.nan)
    return found


def _price(given: Given, mw: Array, grid: TimeGrid, terms: OfferTerms) -> Decimal:
    """Currency for the whole offer, in whole cents."""
    energy, whole = (float(np.nansum(np.abs(v) * grid.hours)) for v in (mw, given.mw))
    asked = max(given.cost_eur, 0.0) * energy / max(whole, 1e-9) * (1.0 + terms.margin)
    least = float(terms.least_eur_per_mwh) * energy
    return Decimal(repr(round(float(max(asked, least)), 6))).quantize(CENT, ROUND_UP)
