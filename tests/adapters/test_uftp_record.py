"""Messages and trades in the record: kept before they are answered, concluded once, whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from adapters.store import Store
from adapters.store.uftp import DUPLICATE, FAILED, QUEUED, SENT, Arrived
from adapters.uftp.letter import Letter
from vpp.domain.errors import NotFound
from vpp.domain.flex_trade import FlexOffer, FlexOrder, Prognosis, TradeStatus, ordered_before, owed_mw
from vpp.domain.time import TimeGrid

NOW = datetime(2016, 7, 12, 6, 0, tzinfo=UTC)
PEER = "dso.example.com"
GRID = TimeGrid.local_day(date(2016, 7, 12), "Europe/Berlin")
MINUTE = timedelta(minutes=1)


def arrived(name: str = "m1", digest: str = "a", peer: str = PEER) -> Arrived:
    return Arrived(peer, name, digest, "FlexRequest", "c1", b"sealed " + digest.encode())


def letter(name: str = "l1", kind: str = "FlexRequestResponse") -> Letter:
    return Letter(name, PEER, kind, "c1", f"<{kind}/>")


def order(name: str, mw: float, at: slice = slice(40, 44), bare_mw: float = -2.0, point: str = "feeder-9") -> FlexOrder:
    deviation = np.full(GRID.n, np.nan)
    deviation[at] = mw
    bare = np.full(GRID.n, bare_mw)
    return FlexOrder(
        name, PEER, "o1", "p1", point, ("a", "b"), GRID, bare, bare, deviation, Decimal("10.00"), "EUR",
        Decimal("180.00"), f"ref-{name}", NOW,
    )  # fmt: skip


def test_a_message_is_kept_once_and_answered_again(store: Store) -> None:
    record = store.uftp
    assert record.receive(arrived(), NOW, NOW)
    (waiting,) = record.waiting()
    assert (waiting.peer, waiting.message_id, waiting.body, waiting.at) == (PEER, "m1", b"sealed a", NOW)
    record.conclude(waiting.number, [], NOW, [letter(), letter("l2", "FlexOffer")])
    assert record.waiting() == []
    for sent in record.queued():
        record.attempted(sent.number, SENT, "", NOW, NOW)
    assert not record.receive(arrived(), NOW + MINUTE, NOW + MINUTE)
    assert record.waiting() == [], "the same again is not judged again"
    assert [m.kind for m in record.queued()] == ["FlexRequestResponse"], "only the response goes again"


def test_another_content_under_a_known_id_is_kept_as_a_duplicate(store: Store) -> None:
    store.uftp.receive(arrived(), NOW, NOW)
    store.uftp.receive(arrived(digest="b"), NOW, NOW)
    store.uftp.receive(arrived(peer="other.example.com"), NOW, NOW)
    found = [(m.peer, m.reason) for m in store.uftp.waiting()]
    assert found == [(PEER, ""), (PEER, DUPLICATE), ("other.example.com", "")]


def test_a_conclusion_is_whole_or_not_at_all(store: Store) -> None:
    record = store.uftp
    record.receive(arrived(), NOW, NOW)
    (waiting,) = record.waiting()
    twice, kept = [letter("same"), letter("same")], [(order("r1", 1.0), TradeStatus.ACCEPTED)]
    with pytest.raises(IntegrityError):
        record.conclude(waiting.number, [], NOW, twice, kept)
    assert [m.number for m in record.waiting()] == [waiting.number] and record.queued() == []
    assert record.trades(FlexOrder, GRID.start, GRID.end) == []


def test_a_letter_keeps_count_of_its_attempts(store: Store) -> None:
    record = store.uftp
    record.put(NOW, [letter()])
    (first,) = record.queued()
    record.attempted(first.number, QUEUED, "ConnectionError", NOW + MINUTE, NOW)
    (again,) = record.queued()
    assert (again.attempts, again.reason, again.due_at) == (1, "ConnectionError", NOW + MINUTE)
    record.attempted(first.number, FAILED, "HTTP 400", NOW, NOW)
    assert record.queued() == [] and record.messages()[0].status == FAILED


def test_trades_come_back_as_they_went_in_and_orders_are_numbered(store: Store) -> None:
    record = store.uftp
    offer = FlexOffer("o1", PEER, "c1", "q1", "feeder-9", "p1", ("a", "b"), GRID, order("x", 1.0).mw, Decimal("10.00"),
                      "EUR", NOW)  # fmt: skip
    said = Prognosis("p1", PEER, "feeder-9", GRID, np.linspace(-1, 1, GRID.n), np.zeros(GRID.n), 2, "r", NOW)
    record.put(NOW, [], [(offer, TradeStatus.OPEN), (said, TradeStatus.OPEN)])
    assert record.awaits(PEER, "o1") and record.awaits(PEER, "p1") and not record.awaits("other.example.com", "o1")
    record.put(NOW, [], [(order("r1", 1.0), TradeStatus.ACCEPTED), (order("r2", -0.5), TradeStatus.ACCEPTED)],
               [("o1", TradeStatus.ORDERED)])  # fmt: skip
    back, status = record.trade(FlexOffer, "o1")
    assert status is TradeStatus.ORDERED and not record.awaits(PEER, "o1")
    np.testing.assert_array_equal(back.mw, offer.mw)
    assert replace(back, mw=offer.mw) == replace(offer, mw=offer.mw)
    assert [o.number for o in record.trades(FlexOrder, GRID.start, GRID.end)] == [1, 2]
    assert record.trades(FlexOrder, GRID.end, GRID.end + MINUTE) == []
    assert record.trades(FlexOffer, GRID.start, GRID.end, TradeStatus.OPEN) == []
    assert record.trades(Prognosis, GRID.start, GRID.end, point="another") == []
    with pytest.raises(NotFound):
        record.trade(Prognosis, "o1")


def test_orders_add_up_and_the_newest_prognosis_counts() -> None:
    orders = [
        replace(order("r1", 1.0), number=1), replace(order("r2", 0.5, slice(42, 46), bare_mw=-3.0), number=2),
        replace(order("r3", -2.0, slice(45, 46)), number=3), replace(order("r4", 9.0, point="another"), number=4),
    ]  # fmt: skip
    bare, total = owed_mw(orders, "feeder-9", GRID)
    assert total[39:47].tolist() == [0.0, 1.0, 1.0, 1.5, 1.5, 0.5, -1.5, 0.0]
    assert bare[40:46].tolist() == [-2.0, -2.0, -3.0, -3.0, -3.0, -2.0] and np.isnan(bare[[39, 46]]).all()
    assert ordered_before(orders, orders[1])[40:46].tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
