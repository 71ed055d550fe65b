"""What the service does in each cycle: gather, run, arbitrate, record and command in one transaction.

A cycle exists once: (stage, cycle start) is a unique row, claimed before anything is done. Commands
leave only from released schedules that passed the independent check or came down the ladder by name.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from dispatch.bid import price_quantity_curve
from dispatch.exposure import Exposure, bus_injection
from dispatch.products.energy import best_error
from dispatch.products.energy import block_name as energy_name
from dispatch.secure import Secured
from vpp.domain.command import Setpoint, Telemetry
from vpp.domain.errors import NotSolved
from vpp.domain.market import Bid, Position
from vpp.domain.network import TARGET_SHARE, Certificate
from vpp.domain.schedule import DispatchRun, Schedule, Solution
from vpp.domain.stage import DAY_AHEAD, INTRADAY, REAL_TIME
from vpp.domain.time import QUARTER, Array, TimeGrid, local_midnight, rfc3339
from vpp.service.arbitrate import arbitrate, unkept
from vpp.service.assemble import exposure_of
from vpp.service.capacity import capacity_bids
from vpp.service.cascade import Rolled, committing, plan_of, run_stage
from vpp.service.commands import announced, continuous
from vpp.service.contracts import RESERVE_BID
from vpp.service.headroom import claim_positions, ledger_of
from vpp.service.knowledge import gather
from vpp.service.received import exchange_bounds, roofs_mw
from vpp.service.situation import Situation, UnitPosition
from vpp.service.system import System
from vpp.service.tracking import QuarterMeter, Tracker, observe

BID, PLAN, ROLL, TRACK = "bid", "plan", "roll", "track"
CAPACITY = "capacity"
BID_SPREAD = 0.6
BID_DEADLINE_S = 15.0


@dataclass
class Desk:
    """One running service's stages; holds what is kept between cycles and nothing else."""

    system: System
    tracker: Tracker = field(default_factory=Tracker)
    quarter: QuarterMeter = field(default_factory=QuarterMeter)
    first_roll: bool = True
    rolled: Rolled = field(default_factory=Rolled)
    last_net: dict[str, float] = field(default_factory=dict)
    unkept: frozenset[str] = frozenset()

    def claim(self, name: str, cycle_start: datetime, now: datetime) -> bool:
        """True where this process may run the cycle."""
        return self.system.store.runs.claim(name, cycle_start, now)

    def bid(self, now: datetime) -> list[Bid]:
        """Plan without a position, and offer each unit's price-quantity curve for the next local day."""
        if not self.claim(BID, now, now):
            return []
        situation = gather(self.system, DAY_AHEAD, BID, now)
        kept: list[Secured] = []

        def solve(s: Situation, exposure: Exposure | None) -> Solution:
            kept.append(plan_of(s, exposure))
            return kept[-1].solution

        run = run_stage(situation, _id(), solve)
        secured = kept[0] if run.level == "optimal" else None
        bids = [self._curve(situation, run, secured, unit) for unit in range(len(situation.positions))]
        for bid in bids:
            self.system.store.market.save_bid(bid)
        self._record(run, [], BID, now, situation)
        return bids

    def reserve_bid(self, issue: datetime, now: datetime) -> list[Bid]:
        """Capacity bids for the next local day, from a plan that may sell what has its gate still open at `now`."""
        if not self.claim(CAPACITY, issue, now):
            return []
        situation = gather(self.system, DAY_AHEAD, RESERVE_BID, now)
        kept: list[Secured] = []

        def solve(s: Situation, exposure: Exposure | None) -> Solution:
            kept.append(plan_of(s, exposure))
            return kept[-1].solution

        run = run_stage(situation, _id(), solve)
        bids = list(capacity_bids(self.system, situation, kept[0], run.id)) if run.level == "optimal" else []
        for bid in bids:
            self.system.store.market.save_bid(bid)
        self._record(run, [], CAPACITY, issue, situation)
        return bids

    def offered(self, now: datetime) -> list[Bid]:
        """The newest energy bid of every unit for the next local day that has not been awarded yet."""
        zone, product = self.system.portfolio.zone, self.system.market.energy.product
        day = _local_day(now, zone) + timedelta(days=1)
        start, end = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
        found: dict[str, Bid] = {}
        for bid in self.system.store.market.bids(start=start, end=end):
            known = found.get(bid.unit)
            if bid.product == product and bid.issued_at <= now and (known is None or known.issued_at < bid.issued_at):
                found[bid.unit] = bid
        market = self.system.store.market
        return [b for unit, b in found.items() if not market.positions(unit, start, end, product)]

    def claim_positions(self, positions: Sequence[Position], now: datetime) -> None:
        """Hold `positions` against the headroom that is left. Raises SoldTwice, naming what was sold before."""
        if positions:
            situation = gather(self.system, DAY_AHEAD, PLAN, now, scenarios=0)
            claim_positions(situation, positions)

    def _curve(self, s: Situation, run: DispatchRun, secured: Secured | None, number: int) -> Bid:
        """The curve around the plan; the plan alone where no curve could be had in time."""
        unit = s.positions[number]
        levels = self._levels(s)
        rows = [s.portfolio.index[a] for a in unit.assets]
        planned = run.schedule.power_mw[rows].sum(axis=0)
        sold = _tomorrow(s)
        price, mw = s.price_eur_per_mwh + levels[:, None], np.tile(planned, (len(levels), 1))
        if secured is not None:
            with suppress(NotSolved):
                price, mw = price_quantity_curve(
                    secured.problem, secured.x, energy_name(unit.unit), s.price_eur_per_mwh, levels, sold,
                    deadline_s=BID_DEADLINE_S,
                )  # fmt: skip
        first = int(np.argmax(sold))
        gate = self.system.market.gate_at(_local_day(s.grid.starts[first], s.portfolio.zone), s.portfolio.zone)
        product = self.system.market.energy
        quarters = s.grid.part(first, s.grid.n)
        grid = TimeGrid.between(quarters.start, quarters.end, product.interval)
        low, high = ledger_of(s).bounds_mw(unit.assets)
        least, most = exchange_bounds(s, unit.assets)
        mw = np.clip(mw + self._hedge(s, unit), np.maximum(low, least), np.minimum(high, most))
        prices, offered = (grid.sample(quarters, v[:, first:]) for v in (price, mw))
        offered = np.where(np.abs(offered) < product.min_mw, 0.0, offered)
        return Bid(f"{run.id}:{unit.unit}", unit.unit, product.product, gate, s.now, grid, prices, offered)

    def _hedge(self, s: Situation, unit: UnitPosition) -> Array:
        """(T,) MW that selling in advance should add to the plan, because what will be metered is uncertain."""
        if unit.error_mw is None:
            return np.zeros(s.grid.n)
        return best_error(unit.error_mw, s.price_eur_per_mwh, s.deviation_factor)

    def _levels(self, s: Situation) -> Array:
        """Ascending price moves around the expected price, zero among them."""
        count = self.system.market.energy.price_levels // 2
        half = BID_SPREAD * float(np.mean(np.abs(s.price_eur_per_mwh)))
        return np.linspace(-half, half, 2 * count + 1)

    def day_ahead(self, now: datetime, secure: bool = True) -> DispatchRun | None:
        """The plan for the next local day, on the positions that are firm by now."""
        if not self.claim(DAY_AHEAD, now, now):
            return None
        situation = gather(self.system, DAY_AHEAD, PLAN, now)
        run = run_stage(situation, _id(), committing(secure), secure=secure)
        run = replace(run, released=self.system.loaded.release == "auto")
        return self._record(run, [], DAY_AHEAD, now, situation)

    def intraday(self, now: datetime) -> DispatchRun | None:
        """Roll the plan, and announce what assets with notice will do."""
        if not self.claim(INTRADAY, now, now):
            return None
        situation = gather(self.system, INTRADAY, ROLL, now)
        run = run_stage(situation, _id(), committing(rolled=self.rolled))
        run = replace(run, released=self.system.loaded.release == "auto")
        setpoints = self._announce(run.schedule, run.id, now)
        recorded = self._record(run, setpoints, INTRADAY, now, situation)
        self._say_unkept(situation, run.schedule)
        self.first_roll = False
        return recorded

    def _say_unkept(self, s: Situation, schedule: Schedule) -> None:
        """An alarm for each asset that newly cannot keep a limit it was given; it is then not delivered."""
        missed = unkept(s.limits, schedule)
        for asset_id in sorted(missed.keys() - self.unkept):
            start, mw, low, high = missed[asset_id]
            text = f"{asset_id} cannot keep [{low:g}, {high:g}] MW at {rfc3339(start)}: {mw:.4g} MW is planned"
            self.system.store.alarms.raise_("limit", text, s.now)
        self.unkept = frozenset(missed)

    def _announce(self, schedule: Schedule, run_id: str, now: datetime) -> list[Setpoint]:
        proposals = self.system.store.events.active_proposals(now, now + timedelta(hours=2))
        windows = {t: arbitrate(proposals, t) for t in (now + k * QUARTER for k in range(8))}
        return announced(
            schedule, self.system.portfolio.assets, windows, now, run_id, self.system.epoch, self.first_roll
        )

    def released(self, now: datetime) -> Schedule | None:
        """The intraday schedule that may command at `now`: the last one released, if it still covers it."""
        run = self.system.store.runs.latest(INTRADAY, ROLL)
        if run is None:
            run = self.system.store.runs.latest(DAY_AHEAD, PLAN)
        return run.schedule if run and run.schedule.grid.start <= now < run.schedule.grid.end else None

    def real_time(self, now: datetime) -> DispatchRun | None:
        """Read the field, hold the quarter's position, command what follows by the minute."""
        readings = self.read(now)
        upper = self.released(now)
        if upper is None or not self.claim(REAL_TIME, now, now):
            return None
        situation = observe(self.system, now, readings, self.quarter, upper)
        run = run_stage(situation, _id(), self.tracker.solver(upper), reference_steps=slice(0, 1))
        self._follow_taps(situation, run.schedule)
        available = {a: v["available_mw"] for a, v in situation.inputs.items() if "available_mw" in v}
        windows = arbitrate(self.system.store.events.active_proposals(now), now)
        setpoints = continuous(
            run.schedule, self.system.portfolio.assets, available, windows, now, run.id, self.system.epoch,
            roofs_mw(situation, run.schedule),
        )  # fmt: skip
        return self._record(run, setpoints, REAL_TIME, now, situation)

    def _follow_taps(self, s: Situation, schedule: Schedule) -> None:
        """Where the transformers' controllers are after the minute that begins now."""
        exposure = exposure_of(s)
        if s.grid_side is None or exposure is None:
            return
        p, q = bus_injection(exposure, schedule.power_mw)
        flow = s.grid_side.network.flow(s.grid.part(0, 1), p[:1, :1], q[:1, :1])
        self.system.taps_moved(tuple(map(int, flow.taps[0, 0])))

    def read(self, now: datetime) -> Mapping[str, Telemetry]:
        """Telemetry of every asset, kept as the newest state; the minute that ended joins the running quarter."""
        if self.system.devices is None:
            return {}
        readings = self.system.devices.read([a.id for a in self.system.portfolio.assets], now)
        self.system.store.meters.state_write(list(readings.values()), now)
        if readings:
            self.quarter.add(now, self._net(readings, now))
        return readings

    def _net(self, readings: Mapping[str, Telemetry], now: datetime) -> dict[str, float]:
        """Net power of each unit; a silent asset counts with its last known power."""
        power = {a: r.power_mw for a, r in readings.items()}
        if len(power) < len(self.system.portfolio.assets):
            power = {a: s.power_mw for a, s in self.system.states(now).items()} | power
        found = {}
        for unit in self.system.portfolio.trading_units:
            members = [a.id for a in self.system.portfolio.assets if a.site in unit.sites]
            found[unit.id] = sum(power[a] for a in members)
        return found

    def meter(self, start: datetime, end: datetime) -> int:
        """Take the meter rows of [start, end) into the record and into the series; their number."""
        if self.system.meters is None:
            return 0
        rows = self.system.meters(start, end)
        self.system.store.meters.write(rows)
        self.system.book.append(rows)
        return len(rows)

    def command(self, now: datetime) -> None:
        """Send what is due."""
        if self.system.relay is not None:
            self.system.relay.pump(now)

    def _record(
        self, run: DispatchRun, setpoints: Sequence[Setpoint], cycle: str, now: datetime, s: Situation
    ) -> DispatchRun:
        self.system.store.runs.record(run, setpoints)
        if s.forecast.origin is not None:
            self.system.store.forecasts.used(run.id, s.forecast.origin, self.system.book.cut)
        self.system.store.runs.finish(cycle, now, run.id, run.level)
        if run.certificate is not None and run.certificate.verdict == "violated" and run.purpose != BID:
            self.system.store.alarms.raise_("violated", f"{run.stage} {run.id}: {_named(run.certificate)}", now)
        elif run.level != "optimal" or run.reason:
            self.system.store.alarms.raise_("ladder", f"{run.stage} {run.id} took {run.level}: {run.reason}", now)
        elif run.certificate is not None and run.certificate.misses_target and run.purpose == PLAN:
            self.system.store.alarms.raise_("scenarios", f"{run.stage} {run.id}: {_counted(run.certificate)}", now)
        return run


def _named(certificate: Certificate) -> str:
    """Every violation by element, step and case."""
    return "; ".join(
        f"{v.element} step {v.step} {v.value:.4g} {v.unit} (limit {v.limit:.4g}, {v.case})"
        for v in certificate.violations
    )


def _counted(certificate: Certificate) -> str:
    """The share of clean scenarios beside its target, and the worst violation in any."""
    worst = certificate.worst_scenario
    where = f"; worst {worst.element} step {worst.step} {worst.value:.4g} {worst.unit}" if worst is not None else ""
    of = f"{certificate.share_clean:.1%} of {certificate.scenarios} scenarios without violation"
    return f"{of}, target {TARGET_SHARE:.0%}{where}"


def _id() -> str:
    return uuid.uuid4().hex


def _local_day(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


def _tomorrow(s: Situation) -> NDArray[np.bool_]:
    """Steps of the next local day."""
    zone = s.portfolio.zone
    midnight = local_midnight(_local_day(s.now, zone) + timedelta(days=1), zone)
    return np.array([t >= midnight for t in s.grid.starts])
