"""The only scheduler: which cycles are due at a moment, in which order, on whatever clock drives it.

Live, APScheduler ticks it every minute; in simulation the same `tick` is called on the simulated clock.
Order inside a minute: meter, events, learning, capacity, bid, award, day-ahead, intraday, real time, send.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from adapters.simulated_market import award, cleared_price
from vpp.domain.errors import SoldTwice
from vpp.domain.market import Bid, Position
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import MINUTE, QUARTER, TimeGrid, floor_to, local_time
from vpp.service.capacity import awarded_capacity, reserve_issues
from vpp.service.desk import BID, CAPACITY, Desk
from vpp.service.event_clock import EventClock
from vpp.service.learning import Learning

LIMIT_MISSED = 100_000


@dataclass
class Loop:
    """Ticks the stages; `wall_s` collects the wall seconds of every run by stage.

    `last` is the moment of the last tick, by this process or by the one before it: a quarter or an issue
    time that began since then is due, even where the tick itself comes late.
    """

    desk: Desk
    events: EventClock
    learning: Learning | None = None
    wall_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    last: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Everything that is due by the minute that begins at `now`."""
        before = self.last if self.last is not None else self._ticked_before(now)
        quarter = floor_to(now, QUARTER)
        if quarter > before:
            self.desk.meter(min(floor_to(before, QUARTER), quarter - QUARTER), quarter)
            self.desk.system.name_faults(quarter)
        self.events.tick(now)
        if self.learning is not None:
            self.learning.tick(before, now)
        for at in reserve_issues(self.desk.system, now):
            if before < at <= now:
                self.sell_reserve(at, now)
        issue, award_at = self._issue(now), self._award_at(now)
        if before < issue <= now:
            self.offer(issue, gate_open=now <= self._gate(now))
        if before < award_at <= now:
            self.close(award_at)
        if quarter > before:
            with self._timed(INTRADAY):
                self.desk.intraday(quarter)
        with self._timed(REAL_TIME):
            self.desk.real_time(now)
        self.desk.command(now)
        self.last = now

    def resume(self) -> None:
        """Cycles that a dead process left open: what sells or plans a day is due again, the others are missed."""
        runs = self.desk.system.store.runs
        for cycle in runs.cycles(unfinished_only=True):
            if cycle.stage in (CAPACITY, BID, DAY_AHEAD):
                runs.reopen(cycle.stage, cycle.cycle_start)
            else:
                runs.finish(cycle.stage, cycle.cycle_start, None, "missed")

    def _ticked_before(self, now: datetime) -> datetime:
        """The last minute that an earlier process ran on this record; the minute before `now` on a new one."""
        cycles = self.desk.system.store.runs.cycles(REAL_TIME)
        ran = (c.cycle_start for c in cycles if c.status != "missed" and c.cycle_start < now)
        return max(ran, default=now - MINUTE)

    def sell(self, issue: datetime) -> None:
        """Everything that is sold and planned for the next day: capacity, the bid of `issue`, the award, the plan."""
        for at in reserve_issues(self.desk.system, issue):
            self.sell_reserve(at, at)
        self.offer(issue)
        self.close(self._award_at(issue))

    def sell_reserve(self, issue: datetime, now: datetime) -> None:
        """Capacity bids of `issue` whose gate is open at `now`, and what the example market awards of them."""
        bids = self.desk.reserve_bid(issue, now)
        for bid in bids:
            self._firm(bid, awarded_capacity(self.desk.system, bid), issue)

    def offer(self, issue: datetime, gate_open: bool = True) -> None:
        """Bid while the gate is open."""
        if gate_open:
            with self._timed(BID):
                self.desk.bid(issue)

    def close(self, now: datetime) -> None:
        """The example market's award of what was offered for tomorrow, and the plan on it."""
        for bid in self.desk.offered(now):
            self._award(bid, now)
        with self._timed(DAY_AHEAD):
            self.desk.day_ahead(now)
        if self.learning is not None:
            self.learning.keep(now)

    def _firm(self, bid: Bid, positions: Sequence[Position], now: datetime) -> None:
        """Enter positions that the headroom allows; one that was sold already is refused by name, with an alarm."""
        system = self.desk.system
        try:
            self.desk.claim_positions(positions, now)
        except SoldTwice as why:
            system.store.alarms.raise_("headroom", f"award of {bid.id} refused: {why}", now)
            return
        system.store.market.save_positions(positions)

    def _award(self, bid: Bid, now: datetime) -> None:
        system = self.desk.system
        zone, market = system.portfolio.zone, system.market
        day = bid.grid.start.astimezone(ZoneInfo(zone)).date()
        quarters = TimeGrid.between(bid.grid.start, bid.grid.end, QUARTER)
        expected = market.expected_price(quarters, zone)
        price = cleared_price(expected, quarters, market.day_ahead_price.relative_sigma, system.seed, day)
        system.store.market.save_prices(market.energy.product, quarters, price, now)
        system.store.market.save_positions(award(bid, bid.grid.sample(quarters, price), market.energy.share_awarded))

    def _issue(self, now: datetime) -> datetime:
        """When today's plan for tomorrow is issued."""
        zone = self.desk.system.portfolio.zone
        return local_time(now.astimezone(ZoneInfo(zone)).date(), self.desk.system.loaded.issue, zone)

    def _award_at(self, now: datetime) -> datetime:
        """When today's market answers the bid for tomorrow."""
        zone = self.desk.system.portfolio.zone
        today = now.astimezone(ZoneInfo(zone)).date()
        return self.desk.system.market.award_at(today + timedelta(days=1), zone)

    def _gate(self, now: datetime) -> datetime:
        """When the market for tomorrow closes."""
        zone = self.desk.system.portfolio.zone
        tomorrow = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
        return self.desk.system.market.gate_at(tomorrow, zone)

    def missed(self, last: datetime, now: datetime) -> int:
        """Record the cycles in (last, now) that nobody ran; their number. The running quarter can still be planned."""
        count = 0
        at = last + MINUTE
        while at < now and count < LIMIT_MISSED:
            over = at == floor_to(at, QUARTER) and at < floor_to(now, QUARTER)
            stages = (REAL_TIME, INTRADAY) if over else (REAL_TIME,)
            for stage in stages:
                if self.desk.claim(stage, at, now):
                    self.desk.system.store.runs.finish(stage, at, None, "missed")
                    count += 1
            at += MINUTE
        return count

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.wall_s[stage].append(time.perf_counter() - began)
