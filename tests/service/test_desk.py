"""Cycles that run once, bids and awards, release, and what commands carry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from adapters.relay import Relay
from adapters.store import open_store
from tests.service.conftest import ISSUED, Make, local
from vpp.domain.command import CommandStatus, Outcome, Priority, Proposal, Setpoint, Telemetry
from vpp.domain.portfolio import Portfolio
from vpp.domain.stage import Stage
from vpp.domain.time import MINUTE, QUARTER, TimeGrid
from vpp.service.commands import HOLD_CONTINUOUS
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.knowledge import gather
from vpp.service.loop import Loop
from vpp.service.portfolio import LoadedPortfolio
from vpp.service.situation import Situation
from vpp.service.system import System

START = local("2016-07-12 11:00")


class Field:
    """Devices that do at once what they are told, and remember it."""

    def __init__(self, portfolio: Portfolio) -> None:
        self.written: list[Setpoint] = []
        self.power = {a.id: 0.0 for a in portfolio.assets}
        self.stored = {a.id: a.params.capacity_mwh / 2 for a in portfolio.assets if a.kind == "battery"}

    def write(self, setpoints: Sequence[Setpoint], now: datetime) -> list[Outcome]:
        """Acknowledges everything."""
        self.written += setpoints
        self.power |= {s.asset_id: s.value for s in setpoints if s.quantity == "power_mw"}
        return [Outcome(s.id, s.asset_id, CommandStatus.ACKED, now, s.value) for s in setpoints]

    def read(self, asset_ids: Sequence[str], now: datetime) -> Mapping[str, Telemetry]:
        """Contents stand still."""
        return {
            a: Telemetry(a, now, self.power[a], 0.0, self.stored.get(a, 1.0), False, True, 500, False, 0)
            for a in asset_ids
            if a in self.stored
        }

    def close(self) -> None:
        """Nothing to release."""


def quick(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Two hours of intraday and ten seconds for the day ahead."""
    return tuple(
        replace(s, horizon=timedelta(hours=2), tail_step=None, deadline=timedelta(seconds=20))
        if s.name == "intraday"
        else replace(s, deadline=timedelta(seconds=10))
        for s in stages
    )


def equip(system: System, now: datetime) -> Field:
    """A field and a relay to it, under a new epoch."""
    field = Field(system.portfolio)
    system.devices, system.relay = field, Relay(system.store, field)
    system.epoch = system.store.commands.next_epoch(now)
    return field


@pytest.fixture
def running(make: Make, checked: tuple[LoadedPortfolio, object]) -> Iterator[System]:
    """Off the grid, at 11:00 of the demo day."""
    system = make(START, network=False, stages=quick(checked[0].stages))
    yield system
    system.store.close()


def test_a_cycle_claimed_by_two_desks_runs_once(
    make: Make, checked: tuple[LoadedPortfolio, object], tmp_path: Path
) -> None:
    stages = quick(checked[0].stages)
    systems = [make(START, open_store(tmp_path / "one.db"), network=False, stages=stages) for _ in range(2)]
    epoch = systems[0].store.commands.next_epoch(START)
    for system in systems:
        system.epoch = epoch
    runs = [Desk(system).intraday(START) for system in systems]
    assert runs[0] is not None and runs[1] is None
    assert systems[1].store.runs.counts() == {"intraday/roll": 1}
    cycles = systems[1].store.runs.cycles("intraday")
    assert [(c.cycle_start, c.status, c.run_id) for c in cycles] == [(START, "optimal", runs[0].id)]
    for system in systems:
        system.store.close()


def test_commands_carry_their_time_epoch_and_number(running: System) -> None:
    field = equip(running, START)
    loop = Loop(Desk(running), EventClock(running))
    for k in range(3):
        loop.tick(START + k * MINUTE)
    batteries = [s for s in field.written if s.asset_id == "battery-glass"]
    assert [s.sequence for s in batteries] == [1, 2, 3]
    assert {s.epoch for s in field.written} == {running.epoch}
    assert [s.valid_until - s.valid_from for s in batteries] == [HOLD_CONTINUOUS] * 3
    assert [s.valid_from for s in batteries] == [START + k * MINUTE for k in range(3)]
    mills = [s for s in field.written if s.asset_id == "mill-1"]
    assert [(s.quantity, s.valid_from - START) for s in mills] == [("on", k * QUARTER) for k in range(3)]
    prices = [s for s in field.written if s.asset_id == "chambers"]
    assert [(s.quantity, s.valid_from - START) for s in prices] == [
        ("price_eur_per_mwh", k * QUARTER) for k in range(2)
    ]
    assert len({s.id for s in field.written}) == len(field.written)
    counts = running.store.commands.counts()
    assert counts["acked"] == counts["sent"] == len(field.written)
    running.epoch = running.store.commands.next_epoch(START + 3 * MINUTE)
    loop.tick(START + 3 * MINUTE)
    assert field.written[-1].epoch == running.epoch
    assert [s.sequence for s in field.written if s.epoch == running.epoch and s.asset_id == "battery-glass"] == [1]


def test_manual_release_sends_nothing_until_released(make: Make, checked: tuple[LoadedPortfolio, object]) -> None:
    system = make(START, network=False, release="manual", stages=quick(checked[0].stages))
    field = equip(system, START)
    loop = Loop(Desk(system), EventClock(system))
    loop.tick(START)
    loop.tick(START + MINUTE)
    assert field.written == []
    assert system.store.runs.counts() == {"intraday/roll": 1}
    run = system.store.runs.latest("intraday", "roll", released_only=False)
    assert run is not None and not run.released
    system.store.runs.release(run.id, "operator", START + MINUTE)
    loop.tick(START + 2 * MINUTE)
    assert {s.run_id for s in field.written if s.quantity != "power_mw"} == {run.id}
    assert [s.valid_from for s in field.written if s.asset_id == "chp"] == [START + 2 * MINUTE]
    system.store.close()


def test_a_day_ahead_plan_commands_nothing_either_until_it_is_released(
    make: Make, checked: tuple[LoadedPortfolio, object]
) -> None:
    system = make(ISSUED, network=False, release="manual", stages=quick(checked[0].stages))
    desk = Desk(system)
    run = desk.day_ahead(ISSUED)
    assert run is not None and not run.released
    assert desk.released(ISSUED) is None
    system.store.runs.release(run.id, "operator", ISSUED)
    released = desk.released(ISSUED)
    assert released is not None and np.array_equal(released.power_mw, run.schedule.power_mw)
    system.store.close()


def test_an_override_holds_until_it_expires(running: System) -> None:
    field = equip(running, START)
    still = Proposal("p", "battery-glass", "op", Priority.OPERATOR, START, START + MINUTE, 0.3, 0.3, reason="test")
    running.store.events.add_proposal(still)
    loop = Loop(Desk(running), EventClock(running))
    loop.tick(START)
    loop.tick(START + MINUTE)
    sent = [s.value for s in field.written if s.asset_id == "battery-glass"]
    assert sent[0] == pytest.approx(0.3)
    assert sent[1] != pytest.approx(0.3)


def test_a_silent_device_counts_with_what_it_last_said(running: System) -> None:
    field = equip(running, START)
    desk = Desk(running)
    field.power["battery-glass"] = 0.7
    desk.read(START + MINUTE)
    del field.stored["battery-glass"]
    desk.read(START + 2 * MINUTE)
    first, second = (m["demo-unit"] for m in desk.quarter.minutes.values())
    assert second == pytest.approx(first)
    assert first - sum(a.power_mw for a in running.loaded.states(START).values()) == pytest.approx(0.7)


class Sold:
    """Bid, award and re-plan of the demo day, off the grid."""

    def __init__(self, system: System) -> None:
        self.system = system
        Loop(Desk(system), EventClock(system)).sell(ISSUED)
        self.bid = system.store.market.bids()[0]
        plan = system.store.runs.latest("day_ahead", "plan")
        assert plan is not None
        self.plan = plan
        self.positions = system.store.market.positions("demo-unit", self.bid.grid.start, self.bid.grid.end)


@pytest.fixture(scope="module")
def sold(make: Make, checked: tuple[LoadedPortfolio, object]) -> Iterator[Sold]:
    """Made once; the market answers at the issue time, so that bid and plan cover the same quarters."""
    market = checked[0].market
    at_once = market.energy.model_copy(update={"award": market.energy.issue})
    system = make(
        ISSUED, network=False, stages=quick(checked[0].stages), market=market.model_copy(update={"energy": at_once})
    )
    yield Sold(system)
    system.store.close()


def test_the_curve_rises_with_the_price(sold: Sold) -> None:
    bid = sold.bid
    assert bid.grid == TimeGrid.uniform(local("2016-07-12 00:00"), timedelta(hours=1), 24)
    assert bid.price_eur_per_mwh.shape == bid.mw.shape == (5, 24)
    assert np.all(np.diff(bid.price_eur_per_mwh, axis=0) > 0)
    assert np.all(np.diff(bid.mw, axis=0) >= -1e-9)
    assert np.ptp(bid.mw) > 0.5, "a flat curve would offer no flexibility"
    assert bid.gate == local("2016-07-11 12:00")
    assert bid.issued_at < bid.gate


def test_part_of_the_bid_becomes_a_firm_position(sold: Sold) -> None:
    assert [p.start for p in sold.positions] == list(sold.bid.grid.starts)
    for t, p in enumerate(sold.positions):
        levels = sold.bid.mw[:, t] * sold.system.market.energy.share_awarded
        reached = sold.bid.price_eur_per_mwh[:, t] <= p.price_eur_per_mwh
        assert p.mw == pytest.approx(levels[max(int(reached.sum()) - 1, 0)])
        assert p.firm
    cleared = sold.system.store.market.prices("day_ahead_energy", sold.bid.grid.start, sold.bid.grid.end)
    assert len(cleared) == 96


def test_the_re_plan_honours_the_award(sold: Sold) -> None:
    """Against its position, with the errors to be expected, the re-plan is cheaper than the plan made without one."""
    assert sold.plan.purpose == "plan"
    bid_run = sold.system.store.runs.latest("day_ahead", "bid")
    assert bid_run is not None and bid_run.solution is not None and sold.plan.solution is not None
    s = gather(sold.system, "day_ahead", "plan", ISSUED)
    kept = sum(v for k, v in bid_run.solution.costs.items() if k != "energy")
    against = kept + expected_energy_eur(s, bid_run.schedule.power_mw.sum(axis=0))
    assert sold.plan.solution.objective < against - 20.0
    traded = sum(sold.plan.solution.costs[k] for k in ("energy", "deviation"))
    assert traded == pytest.approx(expected_energy_eur(s, sold.plan.schedule.power_mw.sum(axis=0)), abs=0.5)


def test_the_bid_sells_the_quantile_that_pays_best(sold: Sold) -> None:
    """The middle of the curve is the plan plus the median of its errors, as surplus and shortfall cost the same."""
    bid_run = sold.system.store.runs.latest("day_ahead", "bid")
    assert bid_run is not None
    error = gather(sold.system, "day_ahead", "plan", ISSUED).positions[0].error_mw
    assert error is not None and error.shape == (8, 152)
    expected = bid_run.schedule.power_mw.sum(axis=0) + np.median(error, axis=0)
    hourly = expected[-96:].reshape(24, 4).mean(axis=1)
    least = sold.system.market.energy.min_mw
    np.testing.assert_allclose(sold.bid.mw[2], np.where(np.abs(hourly) < least, 0.0, hourly), atol=1e-6)
    assert np.median(error, axis=0).min() < -0.2, "wind is skewed: its median lies below its mean"


def expected_energy_eur(s: Situation, net_mw: np.ndarray) -> float:
    """Sale, position and two-price deviation of a net injection (T,), as a mean over its likely errors."""
    unit, price, spread = s.positions[0], s.price_eur_per_mwh, s.deviation_factor
    assert unit.error_mw is not None
    firm = np.isfinite(unit.mw)
    off = net_mw + unit.error_mw - np.where(firm, unit.mw, 0.0)
    paid, earned = price * (1 + spread) + 0.01, price * (1 - spread) - 0.01
    deviation = (paid * np.maximum(-off, 0.0) - earned * np.maximum(off, 0.0)).mean(axis=0)
    money = np.where(firm, deviation - price * np.where(firm, unit.mw, 0.0), -price * net_mw)
    return float(money @ s.grid.hours)


def test_the_record_holds_both_runs_and_both_cycles(sold: Sold) -> None:
    assert sold.system.store.runs.counts() == {"day_ahead/bid": 1, "day_ahead/plan": 1}
    assert {c.stage for c in sold.system.store.runs.cycles()} == {"bid", "day_ahead"}
    assert all(c.run_id for c in sold.system.store.runs.cycles())


def test_issued_twice_it_is_made_once(sold: Sold) -> None:
    Loop(Desk(sold.system), EventClock(sold.system)).sell(ISSUED)
    assert sold.system.store.runs.counts() == {"day_ahead/bid": 1, "day_ahead/plan": 1}


def test_the_intraday_plan_sees_the_position(sold: Sold) -> None:
    s = gather(sold.system, "intraday", "roll", local("2016-07-12 00:00"), scenarios=0)
    assert s.positions[0].mw[:4] == pytest.approx(np.full(4, sold.positions[0].mw))
