"""Who owes what in a demand-response call, and how the optimisation sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.block import EndValue
from dispatch.problem import cost_terms
from dispatch.solvers.highs_door import Living
from tests.service.conftest import Make
from vpp.domain.flex_trade import FlexOrder, TradeStatus
from vpp.domain.market import Acceptance, Event, EventStatus, FlexibilityOffer
from vpp.domain.schedule import Schedule
from vpp.domain.time import MINUTE, QUARTER, Array, TimeGrid, rfc3339
from vpp.service.assemble import problem_of
from vpp.service.knowledge import gather
from vpp.service.orders import GAP, calls_over, event_grid, kept_for_orders, orders_of, shortfalls, with_measured_gap
from vpp.service.situation import Call
from vpp.service.system import System

START = datetime(2016, 7, 12, 15, 30, tzinfo=UTC)
EVENT = Event(
    "e1", 1, "relief", "feeder-9", START - timedelta(hours=2), START, START + 6 * QUARTER, 1.0, Decimal(240),
    Decimal(180), START - timedelta(hours=1), EventStatus.ORDERED,
)  # fmt: skip
SITES = {"data-centre": ("cooling",), "cold-store": ("chambers",), GAP: ("battery-plastics", "battery-logistics")}
BASE = {"data-centre": -0.7, "cold-store": -0.5, GAP: 0.0}


def offer(site: str, event: Event = EVENT) -> FlexibilityOffer:
    """0.6 MW from each group."""
    grid = event_grid(event)
    one = np.ones(grid.n)
    return FlexibilityOffer(
        f"{event.id}:{site}", event.id, site, SITES[site], grid, 0.6 * one, 0.5 * one, event.price_eur_per_mwh,
        BASE[site] * one, "ten_in_ten_adjusted", TimeGrid.uniform(event.end, QUARTER, 1), np.zeros(1), 0,
    )  # fmt: skip


def answer(site: str, mw: float, event: Event = EVENT, stopped: datetime | None = None) -> Acceptance:
    return Acceptance(event.id, site, event.called_at, np.full(6, mw), stopped)


def owed(answers: list[Acceptance]) -> dict[str, Array]:
    return {o.participant: o.owed_mw for o in orders_of(EVENT, [offer(s) for s in SITES], answers)}


def test_storage_owes_what_sites_did_not_accept() -> None:
    found = owed([answer("data-centre", 0.4), answer("cold-store", 0.25)])
    assert found["data-centre"].tolist() == [0.4] * 6
    assert found[GAP] == pytest.approx(np.full(6, 0.35))


def test_a_stop_at_18_10_moves_the_rest_to_the_storage_from_that_quarter_on() -> None:
    """17:30-19:00 local; the quarter 18:00-18:15 holds the stop and counts as not delivered."""
    stop = START + timedelta(minutes=40)
    found = owed([answer("data-centre", 0.4), answer("cold-store", 0.25, stopped=stop)])
    assert found["cold-store"].tolist() == [0.25, 0.25, 0.0, 0.0, 0.0, 0.0]
    assert found[GAP] == pytest.approx([0.35, 0.35, 0.6, 0.6, 0.6, 0.6])
    accepted = orders_of(EVENT, [offer(s) for s in SITES], [answer("cold-store", 0.25, stopped=stop)])[0].accepted_mw
    assert accepted.tolist() == [0.25] * 6, "what was accepted stays the yardstick of the statement"


def test_an_answer_taken_back_in_time_was_never_an_order() -> None:
    early = answer("cold-store", 0.25, stopped=EVENT.accept_by)
    late = answer("cold-store", 0.25, stopped=EVENT.accept_by + MINUTE)
    offers = [offer(s) for s in SITES]
    assert [o.participant for o in orders_of(EVENT, offers, [early])] == [GAP]
    assert orders_of(EVENT, offers, [early])[0].accepted_mw.tolist() == [1.0] * 6
    ordered = orders_of(EVENT, offers, [late])[0]
    assert ordered.participant == "cold-store"
    assert (ordered.accepted_mw.tolist(), ordered.owed_mw.tolist()) == ([0.25] * 6, [0.0] * 6)


@given(st.lists(st.floats(0.0, 0.9), min_size=2, max_size=2), st.integers(0, 90))
def test_together_the_participants_owe_the_event(shares: list[float], minutes: int) -> None:
    stop = START + timedelta(minutes=minutes)
    found = owed([answer("data-centre", shares[0]), answer("cold-store", shares[1], stopped=stop)])
    total = np.sum(list(found.values()), axis=0)
    assert np.all(total >= EVENT.mw - 1e-9)
    assert np.all(found[GAP] >= 0.0)


def stored(system: System, event: Event = EVENT, accepted: Mapping[str, float] | None = None) -> None:
    """The event with its offers and answers in the record."""
    system.store.events.save(event)
    for site in SITES:
        system.store.events.save_offer(offer(site, event))
    for site, mw in (accepted or {"data-centre": 0.4}).items():
        system.store.events.save_acceptance(answer(site, mw, event))


def test_calls_follow_the_event_over_any_grid(system: System) -> None:
    stored(system)
    grid = TimeGrid.uniform(START - 2 * MINUTE, MINUTE, 15)
    calls = {c.id: c for c in calls_over(system.store, system.portfolio, grid, grid.start)}
    assert calls["e1:data-centre"].ordered_mw == pytest.approx([0.0, 0.0] + [0.4] * 13)
    assert calls["e1:data-centre"].baseline_mw[2:] == pytest.approx(np.full(13, -0.7))
    assert calls["e1:data-centre"].missed_eur_per_mwh == 420.0


@pytest.mark.parametrize("status", [EventStatus.REQUESTED, EventStatus.CANCELLED, EventStatus.SETTLED])
def test_only_open_orders_are_owed(system: System, status: EventStatus) -> None:
    stored(system, replace(EVENT, status=status))
    assert calls_over(system.store, system.portfolio, TimeGrid.uniform(START, QUARTER, 6), START) == ()


def test_storage_fills_what_sites_are_measured_not_to_give(system: System) -> None:
    """Sites accepted all of it, so storage owes nothing by the order; one of them gives half."""
    stored(system, accepted={"data-centre": 0.6, "cold-store": 0.4})
    grid = TimeGrid.uniform(START, MINUTE, 15)
    calls = calls_over(system.store, system.portfolio, grid, START)
    power = {"cooling": -0.1, "chambers": -0.3, "battery-plastics": 0.0, "battery-logistics": 0.0}
    after = {c.id: c for c in with_measured_gap(calls, EVENT, power, grid)}
    assert after[f"e1:{GAP}"].ordered_mw == pytest.approx(np.full(15, 0.2))


def test_two_calls_keep_their_gaps_apart(system: System) -> None:
    other = replace(EVENT, id="e2", mw=0.5)
    stored(system)
    stored(system, other, {"cold-store": 0.5})
    grid = TimeGrid.uniform(START, MINUTE, 15)
    calls = calls_over(system.store, system.portfolio, grid, START)
    power = {"cooling": -0.7, "chambers": -1.0, "battery-plastics": 0.0, "battery-logistics": 0.0}
    after = {c.id: c for c in with_measured_gap(calls, EVENT, power, grid)}
    assert after[f"e1:{GAP}"].ordered_mw == pytest.approx(np.full(15, 1.0))
    assert after[f"e2:{GAP}"].ordered_mw == pytest.approx(np.zeros(15))


def test_an_order_binds_only_inside_its_event(make: Make) -> None:
    """A site that consumes all day and easily keeps below its baseline in the event pays no penalty."""
    now = START - 4 * QUARTER
    s = gather(make(now, network=False), "intraday", "roll", now, scenarios=0)
    ordered = np.array([0.1 if EVENT.start <= t < EVENT.end else 0.0 for t in s.grid.starts])
    call = Call("e1:data-centre", ("cooling",), np.where(ordered > 0, -1.1, 0.0), ordered, 420.0)
    penalties = []
    for calls in ((), (call,)):
        problem = problem_of(replace(s, calls=calls))
        penalties.append(cost_terms(problem, Living(problem).solve_lp(20.0).x).get("penalties", 0.0))
    assert ordered.sum() == pytest.approx(0.6)
    assert penalties[1] == pytest.approx(penalties[0], abs=1e-6)


def test_what_is_missed_costs_price_and_penalty(make: Make) -> None:
    """Nobody can give 5 MW with 1.2 MW of cooling: the shortfall is priced per MWh."""
    now = START - 4 * QUARTER
    s = gather(make(now, network=False), "intraday", "roll", now, scenarios=0)
    ordered = np.array([5.0 if EVENT.start <= t < EVENT.end else 0.0 for t in s.grid.starts])
    call = Call("e1:data-centre", ("cooling",), np.zeros(s.grid.n), ordered, 420.0)
    problem = problem_of(replace(s, calls=(call,)))
    paid = cost_terms(problem, Living(problem).solve_lp(20.0).x)["penalties"]
    assert 420.0 * 5.0 * 1.5 <= paid <= 420.0 * 6.2 * 1.5


def test_flexibility_orders_of_a_point_are_one_call_a_direction(system: System) -> None:
    """0.4 MW more in four quarters, 1 MW less in the last of them and the next: together +0.4, -0.6 and -1."""
    grid = TimeGrid.local_day(START.date(), "Europe/Berlin")
    first, k = grid.index_of(START), np.arange(grid.n)
    bare = -2.0 - 0.01 * k
    up = np.where((k >= first) & (k < first + 4), 0.4, np.nan)
    down = np.where((k >= first + 3) & (k < first + 5), -1.0, np.nan)
    orders = [
        FlexOrder(name, "dso", "o", "p", "feeder-9", ("cooling", "mill-1"), grid, bare, bare, mw, Decimal(price), "EUR",
                  Decimal("180.00"), name, START)
        for name, mw, price in (("a", up, "40.00"), ("b", down, "600.00"))
    ]  # fmt: skip
    system.store.uftp.put(START, [], [(o, TradeStatus.ACCEPTED) for o in orders])
    quarters = TimeGrid.uniform(START - QUARTER, QUARTER, 8)
    more, less = calls_over(system.store, system.portfolio, quarters, START)
    assert (more.direction, less.direction) == ("up", "down")
    assert more.ordered_mw == pytest.approx([0, 0.4, 0.4, 0.4, 0, 0, 0, 0])
    assert less.ordered_mw == pytest.approx([0, 0, 0, 0, 0.6, 1.0, 0, 0])
    assert more.baseline_mw[1:4] == pytest.approx(bare[first : first + 3])
    assert less.baseline_mw[4:6] == pytest.approx(bare[first + 3 : first + 5])
    assert more.missed_eur_per_mwh == pytest.approx(180.0 + 600.0 / 0.5), "the dearest order sets the price"
    hours = TimeGrid.uniform(START, timedelta(hours=1), 2)
    assert calls_over(system.store, system.portfolio, hours, START) == (), "no hour is filled by what is ordered"
    minutes = TimeGrid.uniform(START + 3 * QUARTER - MINUTE, MINUTE, 15)
    by_minute = {c.direction: c.ordered_mw for c in calls_over(system.store, system.portfolio, minutes, minutes.start)}
    assert by_minute["up"] == pytest.approx([0.4] + [0.0] * 14)
    assert by_minute["down"] == pytest.approx([0.0] + [0.6] * 14)
    assert calls_over(system.store, system.portfolio, TimeGrid.uniform(grid.end, QUARTER, 4), grid.end) == ()


def test_a_plan_that_lacks_a_part_of_an_order_is_named_by_its_worst_step() -> None:
    grid, quarters = TimeGrid.local_day(START.date(), "Europe/Berlin"), TimeGrid.uniform(START, QUARTER, 4)
    first, k, bare = grid.index_of(START), np.arange(grid.n), np.full(grid.n, -2.0)
    mw = np.select([k == first, k == first + 1, k == first + 2], [0.4, 0.4, -1.0], np.nan)
    order = FlexOrder("a", "dso", "o", "p", "feeder-9", ("mill-1",), grid, bare, bare, mw, Decimal("40.00"), "EUR",
                      Decimal("180.00"), "a", START)  # fmt: skip

    def lacks(*power: float) -> list[str]:
        plan = Schedule(("mill-1", "mill-2"), quarters, np.array([power, [9.0] * 4]), np.zeros((2, 4)))
        return list(shortfalls([order], plan, START))

    name = f"uftp:feeder-9:{grid.start:%Y%m%d}"
    assert lacks(-1.6, 0.0, -3.0, 5.0) == [], "kept, or more than kept"
    assert lacks(-1.7, -1.85, -2.8, 0.0) == [
        f"{name}:up lacks 0.250 of 0.400 MW at {rfc3339(START + QUARTER)}",
        f"{name}:down lacks 0.200 of 1.000 MW at {rfc3339(START + 2 * QUARTER)}",
    ]


def test_batteries_keep_what_later_orders_need(system: System) -> None:
    """A plan of an hour; the minutes end a quarter after its start, an order begins half an hour after it."""
    grid, quarters = TimeGrid.local_day(START.date(), "Europe/Berlin"), TimeGrid.uniform(START, QUARTER, 4)
    names = ("battery-plastics", "cooling", "mill-1")
    plan = Schedule(names, quarters, np.zeros((3, 4)), np.zeros((3, 4)))
    values = {name: EndValue(np.array([0.4, 1e6]), np.array([72.0, 68.0])) for name in names}
    values["battery-glass"] = values["cooling"]

    def kept(mw: float, end: datetime, assets: tuple[str, ...] = names) -> dict[str, list[float]]:
        asked = np.where(np.arange(grid.n) == grid.index_of(START) + 2, mw, np.nan)
        bare = np.full(grid.n, -2.0)
        order = FlexOrder("a", "dso", "o", "p", "feeder-9", assets, grid, bare, bare, asked, Decimal("1.00"), "EUR",
                          Decimal("796.00"), "a", START)  # fmt: skip
        found = kept_for_orders(values, [order], system.portfolio, plan, end)
        assert all(v.width_mwh.tolist() == [0.4, 1e6] for v in found.values())
        return {name: v.value.tolist() for name, v in found.items() if v.value.tolist() != [72.0, 68.0]}

    assert kept(1.0, START + QUARTER) == {"battery-plastics": [400.0, 68.0]}, "half of 796 and 1 for a quarter of a MWh"
    assert kept(-1.0, START + QUARTER) == {"battery-plastics": [72.0, -400.0]}
    assert kept(1.0, START + 3 * QUARTER) == {}, "the order has begun"
    assert kept(1.0, START + QUARTER, ("mill-1",)) == {}, "another group's"
