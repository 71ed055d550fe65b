"""The outbox: claimed once, final once, nothing forgotten."""

from __future__ import annotations

import pytest

from adapters.store import Store
from tests.adapters.examples import NOW, run, setpoint
from vpp.domain.command import CommandStatus, Outcome, Setpoint
from vpp.domain.time import MINUTE


@pytest.fixture
def sent(store: Store) -> list[Setpoint]:
    """Three recorded set-points of one asset, one minute each."""
    epoch = store.commands.next_epoch(NOW)
    return store.runs.record(
        run(), [setpoint("a", i, epoch=epoch, valid_until=NOW + i * MINUTE) for i in (1, 2, 3)]
    )  # fmt: skip


def outcome(setpoint_: Setpoint, status: CommandStatus, reason: str = "") -> Outcome:
    return Outcome(setpoint_.id, setpoint_.asset_id, status, NOW, 0.5, reason)


def test_epochs_only_grow(store: Store) -> None:
    assert [store.commands.next_epoch(NOW) for _ in range(3)] == [1, 2, 3]


def test_due_gives_each_once_and_exactly_as_recorded(store: Store, sent: list[Setpoint]) -> None:
    assert store.commands.due(NOW, limit=2) == sent[:2]
    assert store.commands.due(NOW) == sent[2:]
    assert store.commands.due(NOW) == []


def test_claimed_and_not_marked_is_unfinished(store: Store, sent: list[Setpoint]) -> None:
    assert store.commands.unfinished() == []
    store.commands.due(NOW)
    store.commands.mark([outcome(sent[1], CommandStatus.ACKED)])
    assert store.commands.unfinished() == [sent[0], sent[2]]


def test_the_first_final_outcome_stays(store: Store, sent: list[Setpoint]) -> None:
    store.commands.due(NOW)
    store.commands.mark([outcome(sent[0], CommandStatus.PENDING)])
    store.commands.mark([outcome(sent[0], CommandStatus.ACKED)])
    store.commands.mark([outcome(sent[0], CommandStatus.LOST, "late news")])
    record = store.commands.recent(3)[-1]
    assert (record.setpoint, record.status, record.readback, record.reason) == (sent[0], CommandStatus.ACKED, 0.5, "")
    assert record.attempts == 1


def test_expire_spares_what_was_sent(store: Store, sent: list[Setpoint]) -> None:
    store.commands.due(NOW, limit=1)
    assert store.commands.expire(NOW + 2 * MINUTE) == 1
    assert store.commands.expire(NOW + 2 * MINUTE) == 0
    statuses = [record.status.value for record in store.commands.of_run("r1")]
    assert statuses == ["pending", "expired", "pending"]


def test_supersede_takes_older_sequences_and_epochs(store: Store, sent: list[Setpoint]) -> None:
    assert store.commands.supersede("b", 1, 99) == 0
    assert store.commands.supersede("a", 1, 2) == 1
    assert store.commands.supersede("a", 2, 1, NOW) == 2
    assert store.commands.due(NOW) == []
    assert store.commands.recent(1)[0].reason == "replaced by 2/1"


def test_sent_is_the_sum_of_the_finals(store: Store, sent: list[Setpoint]) -> None:
    store.commands.mark([outcome(sent[0], CommandStatus.ACKED), outcome(sent[1], CommandStatus.REJECTED, "no")])
    assert store.commands.counts() == {
        "acked": 1, "expired": 0, "superseded": 0, "rejected": 1, "lost": 0, "pending": 1, "sent": 2,
    }  # fmt: skip
