"""Reserve: capacity held up or down, with the energy to deliver it and the power to recover from a delivery.

With r[c,i,g] (MW) what asset i holds of contract c in the contract's delivery interval g, its direction d and the
room of `dispatch.headroom` (power, energy, takes_back) in that direction, opposite o:

    sum_i r[c,i,g] + short[c,g] = firm[c,g]       or      = sold[c,g] <= most        while the gate is open
    sum_c r[c,i,g(t)] / activation_c <= ramp[i,t],   r = whole[i] y,  y in {0, 1}  for one that gives all or nothing
    sum_c r[c,i,g(t)] + sum_c' spare[c',i,t]  <=  power_d[i,t]             c of direction d, c' of direction o
    sum_c sustain_c r[c,i,g(t)]               <=  energy_d[i,u]            both edges u of every step t of g
    sum_c,g hours(c, g, u) r[c,i,g]           <=  energy_d[i,u]            the same for a call that ends at u, of which
                                                                           it ran hours(c, g, u) in interval g
    spare[c,i,t] >= takes_back sustain / recovery r[c,i,g]                 t within sustain + recovery of g

In a battery's content the energy line is r sustain / eta_d above the floor (up); r sustain eta_c below the ceiling
(down) where a call only adds charging, and r sustain / eta_d because it may also replace discharging. Where the
plan may leave that window (it began outside, or the battery tapers) a binary says whether anything is sold, and then
the content is inside. A call may start at any time of g and lasts `sustain_h` at most, no longer than what is sold;
then the store takes back what it gave at the constant power `spare` over `recovery_h`, on top of its plan and inside
what power is left beside all reserve sold; a store that meets its floor (or ceiling) meanwhile stops discharging
(charging) and is back sooner. Nothing is called again before that.

Wasting energy makes room as well, so a store runs one way at a time while it is bound (a binary). Where no integer
is allowed (real time), machines, and stores outside their window, hold nothing.

A machine that gives all or nothing (a mill) is sold only while it runs and may stop, rests `rest_h` after a call,
so it is sold in no second interval that begins before, and has no power left to catch up with: its product store
holds what is missing, for the longer of sustain and rest, until the recovery is over; the next plans make it up.

Behind limits received from a grid operator a call keeps them as well (`_reserve_behind`).

cost = penalty h short - price h sold. The room is that of the expected forecast, as every plan is. Sources:
Commission Regulations (EU) 2017/1485, Art. 156 to 161 (reserves of units with limited energy) and 2017/2195,
Art. 25 and 32 (standard products and procurement of capacity); numbers are data.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from dispatch.block import AssetResult, Block, Reader
from dispatch.product import Contract, ContractTerms, Trade
from dispatch.products._reserve_behind import rows_behind
from dispatch.products._reserve_layout import (
    Intervals,
    Layout,
    Numbers,
    Offer,
    Side,
    intervals_of,
    rooms_of,
    two_ways_of,
)
from dispatch.products._reserve_rows import rows
from vpp.domain.time import Array

NAME = "reserve"
KNOWN = ("interval", "price_eur_per_mw_h", "firm_mw")
DAY_MIN, QUARTER_MIN = 1440, 15
Direction = Literal["up", "down", "symmetric"]


class Terms(ContractTerms):
    """A capacity product of day D. `issue`, `gate` and `award` are local times of D-1; symmetric is both directions.

    Sold in multiples of `step_mw`, at least `min_mw`, for whole intervals of `interval_min`; fully activated within
    `activation_min`, for at most `sustain_h`; afterwards the provider has `recovery_h`. What is firm and not held
    costs `penalty_eur_per_mw_h`; no bid asks more than `price_cap_eur_per_mw_h`. The market expects the hourly
    price; `share_awarded` of an offer that is cheap enough is awarded.
    """

    direction: Direction
    issue: time
    gate: time
    award: time
    interval_min: int = Field(ge=QUARTER_MIN, le=DAY_MIN)
    min_mw: float = Field(gt=0.0)
    step_mw: float = Field(gt=0.0)
    most_mw: float = Field(gt=0.0)
    activation_min: float = Field(gt=0.0)
    sustain_h: float = Field(gt=0.0, le=24.0)
    recovery_h: float = Field(gt=0.0, le=48.0)
    hourly_eur_per_mw_h: Annotated[tuple[float, ...], Field(min_length=24, max_length=24)]
    price_cap_eur_per_mw_h: float = Field(gt=0.0)
    price_levels: int = Field(default=5, ge=2, le=50)
    penalty_eur_per_mw_h: float = Field(gt=0.0)
    share_awarded: float = Field(default=1.0, ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _consistent(self) -> Terms:
        faults = []
        if self.interval_min % QUARTER_MIN or DAY_MIN % self.interval_min:
            faults.append(f"interval_min {self.interval_min} is no multiple of 15 that divides a day")
        if self.issue > self.gate:
            faults.append("issue lies after the gate")
        if self.award < self.issue:
            faults.append("award lies before the issue")
        if self.min_mw > self.most_mw:
            faults.append(f"min_mw {self.min_mw} is above most_mw {self.most_mw}")
        if max(self.hourly_eur_per_mw_h) > self.price_cap_eur_per_mw_h:
            faults.append("hourly_eur_per_mw_h is above price_cap_eur_per_mw_h")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def sides(self) -> tuple[Side, ...]:
        """The directions it is held in."""
        return ("up", "down") if self.direction == "symmetric" else (self.direction,)


BLOCK = "reserve"


def decision(contract: str, side: Side) -> str:
    """Name of an asset's share (T,), MW, among its decisions."""
    return f"reserve_{side}_mw:{contract}"


def sold_label(contract: str) -> str:
    """Column group of the block in which `contract` is sold, one column a delivery interval."""
    return f"sold_mw {contract}"


def blocks(trade: Trade) -> list[Block]:
    """One block for all contracts, because they share the same room; none where nothing can be sold or is firm."""
    where = {asset: (b.name, at) for b in trade.kinds if b.headroom is not None for at, asset in enumerate(b.assets)}
    offers = [o for c in trade.of(NAME) for o in _offers(c, trade, where)]
    if not offers:
        return []
    two_ways = two_ways_of(trade.kinds) if trade.integers else {}
    layout = Layout(offers, rooms_of(trade.kinds), two_ways, trade.grid, trade.integers)
    stated = (*rows(layout), *rows_behind(layout, trade))
    return [Block(BLOCK, layout.columns, stated, read=_reader(layout))]


def _offers(c: Contract, trade: Trade, where: Mapping[str, tuple[str, int]]) -> list[Offer]:
    q: Terms = c.terms
    interval, price, firm = (c.trajectory(name, trade.grid.n) for name in KNOWN)
    intervals = intervals_of(trade.grid, interval, price, firm)
    if not intervals.count:
        return []
    providers = tuple((*where[a], a) for a in c.assets if a in where)
    numbers = Numbers(c.id, q.most_mw, q.activation_min, q.sustain_h, q.recovery_h, q.penalty_eur_per_mw_h)
    return [Offer(numbers, side, intervals, providers) for side in q.sides]


def _reader(layout: Layout) -> Reader:
    def read(x: Array, duals: Mapping[str, Array]) -> dict[str, AssetResult]:
        found: dict[str, dict[str, Array]] = {}
        for o in layout.offers:
            v, contract = o.intervals, o.numbers.contract
            sold, short = (
                over_steps(x[layout.start[label] + np.arange(v.count)], v)
                for label in (sold_label(contract), o.label("short_mw"))
            )
            found.setdefault(contract, {}).update({"sold_mw": sold, f"short_{o.side}_mw": short})
            for i, (_, _, asset) in enumerate(o.providers):
                held = over_steps(x[layout.held(o, i, np.arange(v.count))], v)
                found.setdefault(asset, {})[decision(contract, o.side)] = held
        return {name: AssetResult(decisions=rows) for name, rows in found.items()}

    return read


def over_steps(per_interval: Array, intervals: Intervals) -> Array:
    """(G,) values as (T,), zero outside every interval; a solver's negative zeros become zeros."""
    values: Array = np.append(np.maximum(per_interval, 0.0), 0.0)[intervals.of_step]
    return values
