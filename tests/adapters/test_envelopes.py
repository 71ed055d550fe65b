"""Envelopes in the record: every revision is kept, and asked for as it was known at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from adapters.store import Store
from vpp.domain.envelope import Envelope, Interval
from vpp.domain.errors import StaleRevision

NOW = datetime(2016, 7, 12, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTERVALS = (Interval(NOW, NOW + HOUR, 0.1 + 0.2, None), Interval(NOW + HOUR, NOW + 3 * HOUR, 0.5, 0.0))
FIRST = Envelope("doe-1", 1, "dso", "cable", NOW, INTERVALS)


def test_what_is_stored_comes_back(store: Store) -> None:
    assert store.envelopes.save(FIRST) == FIRST
    assert store.envelopes.known(NOW, NOW) == [FIRST]


def test_each_time_knows_what_had_been_received(store: Store) -> None:
    second = replace(FIRST, revision=2, received_at=NOW + HOUR, intervals=FIRST.intervals[1:])
    for e in (FIRST, second):
        store.envelopes.save(e)
    assert store.envelopes.known(NOW - timedelta(microseconds=1), NOW) == []
    assert store.envelopes.known(NOW + HOUR - timedelta(microseconds=1), NOW) == [FIRST]
    assert store.envelopes.known(NOW + HOUR, NOW) == [second]


def test_what_is_over_is_left_out_unless_it_is_asked_for(store: Store) -> None:
    store.envelopes.save(FIRST)
    withdrawn = replace(FIRST, id="doe-2", intervals=())
    store.envelopes.save(withdrawn)
    later = NOW + 3 * HOUR
    assert store.envelopes.known(later, later) == []
    assert store.envelopes.known(later, later - timedelta(minutes=1)) == [FIRST]
    assert store.envelopes.known(later, later, ["doe-2"]) == [withdrawn]


def test_a_revision_that_ended_early_still_hides_the_longer_one_before_it(store: Store) -> None:
    store.envelopes.save(FIRST)
    store.envelopes.save(replace(FIRST, revision=2, intervals=FIRST.intervals[:1]))
    assert store.envelopes.known(NOW + 2 * HOUR, NOW + 2 * HOUR) == []


def test_the_same_revision_again_keeps_the_time_it_first_came(store: Store) -> None:
    store.envelopes.save(FIRST)
    assert store.envelopes.save(replace(FIRST, received_at=NOW + HOUR)) == FIRST
    assert store.envelopes.known(NOW, NOW) == [FIRST]


@pytest.mark.parametrize(
    "late", [replace(FIRST, intervals=()), replace(FIRST, place="other"), replace(FIRST, revision=0)]
)
def test_an_older_one_and_one_that_says_otherwise_are_refused(store: Store, late: Envelope) -> None:
    store.envelopes.save(FIRST)
    with pytest.raises(StaleRevision, match="doe-1: revision 1"):
        store.envelopes.save(late)
    assert store.envelopes.known(NOW, NOW) == [FIRST]


def test_issuers_have_ids_of_their_own(store: Store) -> None:
    other = replace(FIRST, issuer="tso", revision=7)
    for e in (FIRST, other):
        store.envelopes.save(e)
    assert store.envelopes.known(NOW, NOW) == [FIRST, other]
