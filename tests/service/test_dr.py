"""One demand-response call from the call to the cent, on a meter history written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
import pytest

from tests.service.conftest import Make, local
from vpp.domain.command import MeterRow
from vpp.domain.market import EventStatus
from vpp.domain.time import QUARTER, TimeGrid, rfc3339, utc
from vpp.service.cascade import committing, run_stage
from vpp.service.dr import CONTRACT_METHOD, make_offers
from vpp.service.event_clock import EventClock
from vpp.service.knowledge import gather
from vpp.service.orders import GAP, calls_over, event_grid
from vpp.service.statements import plain, report, statement
from vpp.service.system import System

CALLED, START, END = (local(f"2016-07-12 {t}") for t in ("15:00", "17:30", "19:00"))
STOP = local("2016-07-12 18:10")
USUAL_MW = {
    "cooling": -0.75, "chambers": -0.5, "extruders": -0.6, "mill-1": 0.0, "mill-2": -0.5, "mill-3": -0.1,
    "battery-cold-store": 0.0, "battery-plastics": 0.0, "battery-logistics": 0.0,
}  # fmt: skip
DURING_MW = {"cooling": -0.45, "chambers": -0.41, "battery-cold-store": 0.1, "battery-plastics": 0.2}
FILLERS = ["battery-cold-store", "battery-plastics", "battery-logistics"]


def usual(asset: str, at: datetime) -> float:
    """A pattern that differs by day and by quarter."""
    return USUAL_MW[asset] * (1.0 + 0.01 * (at.day % 7) + 0.002 * at.hour)


def metered(asset: str, at: datetime) -> float:
    """The event's evening: some answer, the plastics works only until its stop."""
    if not START <= at < END:
        return usual(asset, at) * (1.1 if at.date() == date(2016, 7, 12) and asset == "chambers" else 1.0)
    if asset == "extruders":
        return -0.3 if at < STOP - timedelta(minutes=10) else usual(asset, at)
    if asset == "battery-logistics":
        return 0.05 if at < STOP else 0.3
    return DURING_MW.get(asset, usual(asset, at))


def write_meters(system: System, start: datetime, end: datetime, without: tuple[str, ...] = ()) -> None:
    """Quarter-hour rows of every participant's meter."""
    grid = TimeGrid.between(start, end, QUARTER)
    system.store.meters.write(
        [
            MeterRow(system.portfolio.asset(a).metering_point, t, 15, metered(a, t), t + QUARTER)
            for a in USUAL_MW
            if a not in without
            for t in grid.starts
        ]
    )


@pytest.fixture(scope="module")
def call(make: Make) -> Iterator[tuple[System, EventClock, dict[str, Any]]]:
    """The demo's call off the grid, played from 15:00 to 19:15; what was seen on the way."""
    system = make(CALLED, network=False)
    clock = EventClock(system, system.loaded.events)
    seen: dict[str, Any] = {}
    write_meters(system, CALLED - timedelta(days=30), CALLED)
    plan = run_stage(gather(system, "intraday", "roll", CALLED, scenarios=0), "plan", committing())
    system.store.runs.record(plan, [])
    clock.tick(CALLED)
    seen["offers"] = {o.site: o for o in system.store.events.offers("dr-demo")}
    seen["offered"] = system.store.events.get("dr-demo").status
    clock.tick(local("2016-07-12 15:30"))
    seen["ordered"] = system.store.events.get("dr-demo").status
    seen["answers"] = {a.site: a for a in system.store.events.acceptances("dr-demo")}
    clock.tick(START)
    seen["active"] = system.store.events.get("dr-demo").status
    grid = event_grid(system.store.events.get("dr-demo"))
    seen["before"] = {c.id: c for c in calls_over(system.store, system.portfolio, grid, START)}
    clock.tick(STOP)
    seen["after"] = {c.id: c for c in calls_over(system.store, system.portfolio, grid, STOP)}
    write_meters(system, CALLED, END, without=("cooling",))
    clock.tick(END)
    clock.tick(END + QUARTER)
    seen["waits"] = system.store.events.get("dr-demo").status, [a.code for a in system.store.alarms.list()]
    write_meters(system, CALLED, END)
    clock.tick(END + 2 * QUARTER)
    seen["settled"] = system.store.events.get("dr-demo").status
    yield system, clock, seen
    system.store.close()


def test_an_offer_names_baseline_p90_price_and_rebound(call: tuple[System, EventClock, dict[str, Any]]) -> None:
    _, _, seen = call
    offers = seen["offers"]
    assert set(offers) == {"cement-works", "data-centre", "cold-store", "plastics-works", GAP}
    assert seen["offered"] is EventStatus.OFFERED
    for offer in offers.values():
        assert offer.baseline_method == CONTRACT_METHOD
        assert offer.baseline_mw.shape == offer.mw.shape == offer.p90_mw.shape == (6,)
        assert offer.price_eur_per_mwh == Decimal("240.00")
        assert np.all((offer.p90_mw >= 0.0) & (offer.p90_mw <= offer.mw) & (offer.mw <= 1.0))
        assert offer.rebound_grid.start == END
        assert len(offer.rebound_mw) == offer.rebound_grid.n == 8
    cold = offers["cold-store"]
    assert cold.mw[0] > 0.05
    assert cold.p90_mw == pytest.approx(cold.mw * (1 - 1.2816 * 0.15))
    assert offers["data-centre"].p90_mw == pytest.approx(offers["data-centre"].mw), "cooling answers for certain"
    assert set(offers[GAP].assets) == set(FILLERS)
    assert offers["plastics-works"].notice_minutes == 15
    assert plain(cold)["rebound_mw"] and any(abs(o.rebound_mw).max() > 1e-3 for o in offers.values())


def test_sites_owe_what_they_accepted_of_what_was_certain(call: tuple[System, EventClock, dict[str, Any]]) -> None:
    _, _, seen = call
    offers, answers = seen["offers"], seen["answers"]
    assert seen["ordered"] is EventStatus.ORDERED and seen["active"] is EventStatus.ACTIVE
    assert set(answers) == {"data-centre", "cold-store", "plastics-works"}
    asked = {"data-centre": 1.0, "cold-store": 0.6, "plastics-works": 1.0}
    wanted = {s: share * offers[s].p90_mw for s, share in asked.items()}
    scale = np.minimum(1.0, 1.0 / sum(wanted.values()))
    for site, mw in wanted.items():
        assert answers[site].mw == pytest.approx(mw * scale)


def test_a_stop_at_ten_past_six_moves_the_megawatts_to_the_storage(
    call: tuple[System, EventClock, dict[str, Any]],
) -> None:
    _, _, seen = call
    before, after = seen["before"], seen["after"]
    lost = before["dr-demo:plastics-works"].ordered_mw
    gap_before, gap_after = (c[f"dr-demo:{GAP}"].ordered_mw for c in (before, after))
    assert lost.min() > 0.05
    assert after["dr-demo:plastics-works"].ordered_mw == pytest.approx(np.r_[lost[:2], np.zeros(4)])
    assert gap_after == pytest.approx(gap_before + np.r_[np.zeros(2), lost[2:]])
    for calls in (before, after):
        assert sum(c.ordered_mw for c in calls.values()) == pytest.approx(np.ones(6))


def test_settlement_waits_for_the_meter(call: tuple[System, EventClock, dict[str, Any]]) -> None:
    _, clock, seen = call
    assert seen["waits"] == (EventStatus.COMPLETED, ["settlement"])
    assert seen["settled"] is EventStatus.SETTLED
    assert clock.settled == ["dr-demo"]


def four(value: float | Decimal) -> Decimal:
    return Decimal(repr(float(value))).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def cent(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def mean_at(rows: dict[str, float], days: list[str], at: datetime) -> float:
    """Mean of the named rows at `at`'s time of day (all days are in summer time)."""
    moved = [at - timedelta(days=(at.date() - date.fromisoformat(d)).days) for d in days]
    return sum(rows[rfc3339(t)] for t in moved) / len(days)


def by_hand(found: dict[str, Any], method: str) -> list[float]:
    """The baseline of one participant from the rows its report names."""
    rows, days = found["meter_rows"], found["days"]
    starts = [START + k * QUARTER for k in range(6)]
    factor = 1.0
    if method == CONTRACT_METHOD:
        window = [CALLED - timedelta(hours=3) + k * QUARTER for k in range(12)]
        today = sum(rows[rfc3339(t)] for t in window)
        usual_mw = sum(mean_at(rows, days, t) for t in window)
        factor = min(max(today / usual_mw, 0.8), 1.2) if abs(usual_mw) > 0.012 else 1.0
    return [factor * mean_at(rows, days, t) for t in starts]


@pytest.mark.parametrize("method", ["average_of_last_5", "ten_in_ten_adjusted"])
def test_the_statement_can_be_recomputed_by_hand_to_the_cent(
    call: tuple[System, EventClock, dict[str, Any]], method: str
) -> None:
    system, _, seen = call
    told = report(system.store, system.portfolio, "dr-demo")
    lines = told["statements"][method]["lines"]
    total = {"payment": Decimal(0), "penalty": Decimal(0)}
    participants = [*seen["answers"], GAP]
    assert {line["participant"] for line in lines} == {"vpp", *participants}
    base_sum, metered_sum = np.zeros(6), np.zeros(6)
    for site in participants:
        base = by_hand(told["baselines"][site][method], method)
        assert told["baselines"][site][method]["mw"] == pytest.approx(base)
        assets = seen["offers"][site].assets
        for t, line in enumerate(x for x in lines if x["participant"] == site):
            start = START + t * QUARTER
            power = sum(metered(a, start) for a in assets)
            base_sum[t] += base[t]
            metered_sum[t] += power
            ordered = four(1.0 - sum(a.mw[t] for a in seen["answers"].values()) if site == GAP
                           else seen["answers"][site].mw[t])  # fmt: skip
            useful = min(max(four(power) - four(base[t]), Decimal(0)), ordered)
            assert line["start"] == rfc3339(start)
            assert Decimal(line["ordered_mw"]) == ordered
            assert Decimal(line["payment"]) == cent(Decimal(60) * useful)
            assert Decimal(line["penalty"]) == cent(Decimal(45) * (ordered - useful))
            total["payment"] += Decimal(line["payment"])
            total["penalty"] += Decimal(line["penalty"])
    totals = {k: Decimal(v) for k, v in told["statements"][method]["totals"].items()}
    assert totals["participants_payment"] == total["payment"]
    assert totals["participants_net"] == total["payment"] - total["penalty"]
    wholly = [min(max(four(metered_sum[t]) - four(base_sum[t]), Decimal(0)), Decimal(1)) for t in range(6)]
    assert totals["vpp_payment"] == sum(cent(Decimal(60) * useful) for useful in wholly)
    assert totals["vpp_penalty"] == sum(cent(Decimal(45) * (1 - useful)) for useful in wholly)
    assert 0 < totals["vpp_payment"] < Decimal(360)
    assert totals["vpp_penalty"] > 0


def test_like_days_are_workdays_without_an_event(call: tuple[System, EventClock, dict[str, Any]]) -> None:
    system, _, _ = call
    found = report(system.store, system.portfolio, "dr-demo")["baselines"]["cold-store"]
    five, ten = found["average_of_last_5"], found["ten_in_ten_adjusted"]
    assert five["days"] == ["2016-07-11", "2016-07-08", "2016-07-07", "2016-07-06", "2016-07-05"]
    assert len(ten["days"]) == 10 and ten["days"][:5] == five["days"]
    assert all(date.fromisoformat(d).weekday() < 5 for d in ten["days"])
    assert 1.05 < ten["adjustment"] < 1.2, "the chambers used a tenth more that day"
    named = {utc(datetime.fromisoformat(t)) for t in ten["meter_rows"]}
    assert max(t for t in named) < CALLED, "nothing of the event enters its own baseline"


def test_the_contract_pays_by_one_method_and_stores_that_statement(
    call: tuple[System, EventClock, dict[str, Any]],
) -> None:
    system, _, _ = call
    told = report(system.store, system.portfolio, "dr-demo")
    kept = system.store.events.statement("dr-demo")
    assert kept is not None and kept.method == told["paid_by"] == CONTRACT_METHOD
    assert plain(kept) == told["statements"][CONTRACT_METHOD]


def test_without_like_days_there_is_no_offer_but_an_alarm(make: Make) -> None:
    system = make(CALLED, network=False)
    write_meters(system, CALLED - timedelta(days=30), CALLED, without=("chambers",))
    event = system.loaded.events[0].event
    offers = make_offers(system, event, FILLERS, CALLED)
    assert "cold-store" not in {o.site for o in offers} and len(offers) == 4
    assert "cold-store" in system.store.alarms.list()[0].message
    system.store.close()


def test_a_call_nobody_answers_is_settled_with_its_full_penalty(make: Make) -> None:
    system = make(CALLED, network=False)
    event = system.store.events.save(system.loaded.events[0].event)
    settled = statement(system.store, system.portfolio, event, CONTRACT_METHOD)
    assert settled.totals["vpp_payment"] == 0
    assert settled.totals["vpp_penalty"] == Decimal("270.00"), "1 MW for 1.5 h at 180"
    system.store.close()
