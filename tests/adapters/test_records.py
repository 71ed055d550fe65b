"""Meters, market, events, keys, settings, jobs and alarms as they are read back."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.store import Store
from adapters.store.types import moment, stamp
from tests.adapters.examples import NOW, reading, same, times
from vpp.domain.command import MeterRow, Priority, Proposal
from vpp.domain.errors import NotFound
from vpp.domain.market import (
    Acceptance,
    Bid,
    Event,
    EventStatus,
    FlexibilityOffer,
    Position,
    Statement,
    StatementLine,
)
from vpp.domain.portfolio import AssetState
from vpp.domain.time import MINUTE, QUARTER, TimeGrid

CENT = Decimal("0.01")
EVENT = Event(
    "dr", 1, "desk", "feeder", NOW, NOW + QUARTER, NOW + 3 * QUARTER, 1.0, Decimal("450.10"), Decimal("900.00"), NOW
)  # fmt: skip


def row(quarter: int, mw: float = 0.25, known_at: datetime | None = None, point: str = "mp:a") -> MeterRow:
    start = NOW + quarter * QUARTER
    return MeterRow(point, start, 15, mw, known_at or start + QUARTER)


@example(first=NOW, second=NOW + timedelta(microseconds=1))
@given(first=times, second=times)
def test_time_text_is_exact_and_sorts_like_time(first: datetime, second: datetime) -> None:
    assert moment(stamp(first)) == first
    assert (stamp(first) < stamp(second)) == (first < second)


def test_any_zone_becomes_utc_and_none_is_refused() -> None:
    summer = timezone(timedelta(hours=2))
    assert stamp(datetime(2016, 7, 12, 12, tzinfo=summer)) == stamp(NOW)
    with pytest.raises(ValueError, match="no time zone"):
        stamp(datetime(2016, 7, 12, 12))


def test_meter_rows_come_back_once(store: Store) -> None:
    rows = [row(q) for q in range(4)]
    store.meters.write(rows)
    store.meters.write(rows)
    assert store.meters.read("mp:a", NOW, NOW + 4 * QUARTER) == rows
    assert store.meters.read("mp:a", NOW + QUARTER, NOW + 2 * QUARTER) == rows[1:2]
    assert store.meters.last_start("mp:a") == rows[3].start
    assert store.meters.points() == ["mp:a"]


def test_nothing_is_read_before_it_was_known(store: Store) -> None:
    store.meters.write([row(0), row(1)])
    assert store.meters.read("mp:a", NOW, NOW + QUARTER * 2, known_at=NOW + QUARTER) == [row(0)]


def test_a_repeat_keeps_its_first_time_and_a_correction_does_not(store: Store) -> None:
    later = NOW + timedelta(hours=5)
    store.meters.write([row(0), row(1)])
    store.meters.write([row(0, known_at=later), row(1, mw=9.0, known_at=later)])
    assert store.meters.read("mp:a", NOW, NOW + QUARTER) == [row(0)]
    assert store.meters.read("mp:a", NOW + QUARTER, later, known_at=NOW + 2 * QUARTER) == []
    assert store.meters.read("mp:a", NOW + QUARTER, later)[0].mw == 9.0


def test_a_gap_is_nan_and_never_zero(store: Store) -> None:
    store.meters.write([row(1, 0.5), row(3, -0.5), MeterRow("mp:a", NOW, 1, 99.0, NOW)])
    found = store.meters.quarters(["mp:a", "nobody"], NOW, NOW + 4 * QUARTER)
    assert same(found["mp:a"], np.array([np.nan, 0.5, np.nan, -0.5]))
    assert np.isnan(found["nobody"]).all()
    with pytest.raises(ValueError, match="gap"):
        store.meters.write([row(0, float("nan"))])


def test_state_moves_forward_only(store: Store) -> None:
    new, old = reading(at=NOW + MINUTE, power_mw=0.7), reading(at=NOW)
    store.meters.state_write([new, reading("b")], known_at=NOW + 2 * MINUTE)
    store.meters.state_write([old])
    states = store.meters.latest_states(["a", "b", "silent"])
    assert states["a"] == AssetState("a", NOW + MINUTE, NOW + 2 * MINUTE, 0.7, 1.5, True, 7, True)
    assert set(states) == {"a", "b"}
    assert store.meters.telemetry("a", NOW, NOW + 2 * MINUTE) == [old, new]


def test_starts_are_the_changes_from_off_to_on(store: Store) -> None:
    on = [True, False, False, True, True, False, True]
    store.meters.state_write([reading(at=NOW + k * MINUTE, on=value) for k, value in enumerate(on)])
    store.meters.state_write([reading("b", at=NOW + k * MINUTE, on=k == 5) for k in range(7)])
    found = store.meters.starts(["a", "b", "silent"], NOW, NOW + 5 * MINUTE)
    assert found == {"a": (NOW + 3 * MINUTE,), "b": (NOW + 5 * MINUTE,)}
    assert store.meters.starts(["a"], NOW + 3 * MINUTE, NOW + 6 * MINUTE) == {"a": (NOW + 6 * MINUTE,)}


def test_bids_positions_prices(store: Store) -> None:
    grid = TimeGrid.uniform(NOW, QUARTER, 2)
    bid = Bid("b1", "unit", "day_ahead", NOW, NOW, grid, np.array([10.0, 20.5]), np.array([[0.1, 0.2], [0.3, 0.4]]))
    store.market.save_bid(bid)
    assert same(store.market.bids("unit", NOW, NOW + QUARTER), [bid])
    assert store.market.bids("unit", start=grid.end) == []
    first = Position("unit", "day_ahead", NOW, NOW + QUARTER, 0.1, 40.0, NOW, firm=False)
    second = replace(first, start=NOW + QUARTER, end=NOW + 2 * QUARTER)
    store.market.save_positions([first, second])
    store.market.save_positions([replace(first, firm=True)])
    assert store.market.positions("unit", NOW, NOW + MINUTE) == [replace(first, firm=True)]
    assert len(store.market.positions("unit", NOW, grid.end)) == 2
    store.market.save_prices("day_ahead", grid, np.array([np.nan, 31.5]), NOW)
    assert same(store.market.price_on("day_ahead", grid), np.array([np.nan, 31.5]))
    assert store.market.prices("day_ahead", NOW, grid.end, known_at=NOW - MINUTE) == []


def test_every_version_of_an_event_stays(store: Store) -> None:
    assert store.events.save(EVENT) == store.events.save(EVENT) == EVENT
    ordered = store.events.save(replace(EVENT, status=EventStatus.ORDERED))
    assert ordered.version == 2
    assert store.events.get("dr") == ordered
    assert store.events.get("dr", version=1) == EVENT
    assert store.events.list(NOW, NOW + QUARTER) == []
    assert store.events.list(NOW, NOW + 2 * QUARTER) == [ordered]
    with pytest.raises(NotFound):
        store.events.get("dr", version=3)


def test_money_is_exact_text(store: Store, tmp_path: Path) -> None:
    store.events.save(EVENT)
    with sqlite3.connect(tmp_path / "record.db") as connection:
        assert connection.execute("SELECT price_eur_per_mwh FROM events").fetchone() == ("450.10",)
    grid = TimeGrid.uniform(NOW, QUARTER, 1)
    ordered, baseline, metered, delivered, settled = (Decimal(f"{i}.10") for i in range(5))
    line = StatementLine("site", NOW, ordered, baseline, metered, delivered, settled, Decimal("1.115"), -CENT)
    statement = Statement("dr", "5 of 5", "EUR", (line,), {"payment": Decimal("1.115")})
    store.events.save_statement(statement)
    assert store.events.statement("dr") == statement
    assert store.events.statement("other") is None
    offer = FlexibilityOffer(
        "o", "dr", "site", ("a",), grid, np.ones(1), np.ones(1), Decimal("45.670"), np.ones(1), "m", grid,
        np.ones(1), 15,
    )  # fmt: skip
    store.events.save_offer(offer)
    assert same(store.events.offers("dr"), [offer])


def test_an_answer_and_its_withdrawal(store: Store) -> None:
    store.events.save_acceptance(Acceptance("dr", "site", NOW, np.array([0.5])))
    store.events.withdraw("dr", "site", NOW + MINUTE, "kiln")
    store.events.withdraw("dr", "site", NOW + 2 * MINUTE, "again")
    (found,) = store.events.acceptances("dr")
    assert (found.withdrawn_at, found.reason, found.mw.tolist()) == (NOW + MINUTE, "kiln", [0.5])
    with pytest.raises(NotFound):
        store.events.withdraw("dr", "nobody", NOW, "")


def test_proposals_hold_over_a_half_open_interval(store: Store) -> None:
    low = Proposal("p1", "a", "plan", Priority.SCHEDULE, NOW, NOW + QUARTER, -1.0, 1.0)
    high = Proposal("p2", "a", "desk", Priority.GRID_EMERGENCY, NOW, NOW + QUARTER, 0.0, float("inf"), 0.5, "order")
    for proposal in (low, high):
        store.events.add_proposal(proposal)
    assert store.events.active_proposals(NOW) == [high, low]
    assert store.events.active_proposals(NOW)[0].priority is Priority.GRID_EMERGENCY
    assert store.events.active_proposals(NOW + QUARTER) == []
    assert store.events.active_proposals(NOW - QUARTER, until=NOW) == []
    assert len(store.events.active_proposals(NOW - QUARTER, until=NOW + MINUTE)) == 2
    store.events.cancel_proposal("p2")
    assert store.events.active_proposals(NOW) == [low]
    with pytest.raises(NotFound):
        store.events.cancel_proposal("p3")


def test_a_key_is_shown_once_and_stored_hashed(store: Store, tmp_path: Path) -> None:
    key_id, token = store.access.create_key("site", "mill", "shift desk")
    secret = token.partition(".")[2]
    assert len(secret) >= 43
    assert store.access.verify(token) == ("site", "mill", None)
    for wrong in ("", "x", key_id, f"{key_id}.", token + "x", f"{'0' * 12}.{secret}"):
        assert store.access.verify(wrong) is None
    with sqlite3.connect(tmp_path / "record.db") as connection:
        stored = connection.execute("SELECT * FROM keys").fetchone()
    assert secret not in map(str, stored)
    assert hashlib.sha256(secret.encode()).hexdigest() in stored
    store.access.revoke(key_id)
    assert store.access.verify(token) is None
    assert [(k.id, k.label, k.revoked_at is None) for k in store.access.list()] == [(key_id, "shift desk", False)]


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=80))
def test_any_token_is_only_refused(shared_store: Store, text: str) -> None:
    assert shared_store.access.verify(text) is None


def test_unfinished_jobs_fail_when_their_service_has_ended(store: Store) -> None:
    ids = [store.jobs.create("plan", None, NOW) for _ in range(4)]
    store.jobs.update(ids[1], "running", 0.5, now=NOW)
    store.jobs.update(ids[2], "done", 1.0, {"run": "r1"}, now=NOW)
    store.jobs.update(ids[3], "failed", error="infeasible", now=NOW)
    later = NOW + timedelta(hours=1)
    assert store.jobs.interrupted(later) == 2
    found = [store.jobs.get(i) for i in ids]
    assert [j.status for j in found] == ["failed", "failed", "done", "failed"]
    assert [j.error for j in found] == ["interrupted by a restart"] * 2 + [None, "infeasible"]
    assert [j.updated_at for j in found] == [later, later, NOW, NOW]
    assert store.jobs.interrupted(later) == 0


def test_settings_jobs_alarms(store: Store) -> None:
    assert store.settings.get("release", "auto") == "auto"
    store.settings.put("release", {"mode": "manual", "since": NOW})
    assert store.settings.get("release") == {"mode": "manual", "since": stamp(NOW)}
    job = store.jobs.create("plan", {"day": "2016-07-12"}, NOW)
    store.jobs.update(job, "done", 1.0, {"run": "r1"})
    found = store.jobs.get(job)
    assert (found.status, found.progress) == ("done", 1.0)
    assert (found.request, found.result) == ({"day": "2016-07-12"}, {"run": "r1"})
    with pytest.raises(NotFound):
        store.jobs.update("nobody", "done")


def test_an_open_alarm_counts_up(store: Store) -> None:
    first = store.alarms.raise_("violated", "line 84", NOW, "critical", "r1")
    assert store.alarms.raise_("violated", "line 85", NOW + MINUTE) == first
    (alarm,) = store.alarms.list()
    assert (alarm.count, alarm.message, alarm.raised_at, alarm.last_at) == (2, "line 85", NOW, NOW + MINUTE)
    store.alarms.ack(first, "operator", NOW + MINUTE)
    assert store.alarms.list() == []
    assert store.alarms.raise_("violated", "again", NOW + MINUTE) != first
    assert len(store.alarms.list(open_only=False)) == 2
    with pytest.raises(NotFound):
        store.alarms.ack(first, "operator", NOW)
