"""A run, its set-points and its outbox are one thing; what is read back is what was written."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from adapters.store import Store, codec, open_store
from tests.adapters.examples import NOW, WORST, run, same, schedule, schedules, setpoint, times
from vpp.domain.errors import NotFound, StaleEpoch
from vpp.domain.network import Certificate
from vpp.domain.schedule import DispatchRun, Schedule, Solution
from vpp.domain.time import MINUTE


def test_a_cycle_is_claimed_once(store: Store) -> None:
    assert store.runs.claim("intraday", NOW, NOW)
    assert not store.runs.claim("intraday", NOW, NOW + MINUTE)
    assert store.runs.claim("real_time", NOW, NOW)
    assert store.runs.claim("intraday", NOW + MINUTE, NOW)


def test_a_cycle_that_nobody_finished_can_be_claimed_again(store: Store) -> None:
    assert store.runs.claim("bid", NOW, NOW) and store.runs.claim("day_ahead", NOW, NOW)
    store.runs.finish("bid", NOW, None, "optimal")
    for stage in ("bid", "day_ahead", "intraday"):
        store.runs.reopen(stage, NOW)
    assert not store.runs.claim("bid", NOW, NOW), "what was finished stays"
    assert store.runs.claim("day_ahead", NOW, NOW)


def test_unfinished_cycles_are_seen(store: Store) -> None:
    for minute in range(2):
        store.runs.claim("intraday", NOW + minute * MINUTE, NOW)
    store.runs.finish("intraday", NOW, "r1", "done")
    assert [c.cycle_start for c in store.runs.cycles("intraday", unfinished_only=True)] == [NOW + MINUTE]
    assert [(c.status, c.run_id) for c in store.runs.cycles()] == [("done", "r1"), (None, None)]
    with pytest.raises(NotFound):
        store.runs.finish("intraday", NOW - MINUTE, None, "done")


@settings(max_examples=50, deadline=None)
@given(plan=schedules(), other=schedules(), value=st.floats(allow_nan=False), at=times, own=st.booleans())
def test_a_run_comes_back_bit_for_bit(
    shared_store: Store, plan: Schedule, other: Schedule, value: float, at: object, own: bool
) -> None:
    store = shared_store
    solution = Solution(plan if own else other, value, -value, "optimal", {"energy": value, "starts": 0.1})
    certificate = Certificate("violated", "pandapower", 200, 0.1 + 0.2, WORST, {"default": 3}, (WORST, WORST))
    written = run(
        f"r{store.runs.counts().get('real_time/dispatch', 0)}", schedule=plan, solution=solution,
        certificate=certificate, issued_at=at, inputs={"seed": 1, "path": ["a", {"b": None}]},
    )  # fmt: skip
    store.runs.record(written, [])
    assert same(store.runs.get(written.id), written)


@settings(deadline=None)
@given(plan=schedules())
def test_codec_restores_a_schedule(plan: Schedule) -> None:
    assert same(codec.loads(Schedule, codec.dumps(plan)), plan)


def test_a_run_without_solver_and_certificate(store: Store) -> None:
    bare = run(solution=None, certificate=None, level="device_default")
    store.runs.record(bare, [])
    assert same(store.runs.get("r1"), bare)
    assert store.runs.list()[0].objective is None


def test_set_points_are_numbered_per_asset_and_epoch(store: Store) -> None:
    first = store.commands.next_epoch(NOW)
    one = store.runs.record(run("r1"), [setpoint("a", i, run_id="r1", epoch=first) for i in (1, 2)])
    two = store.runs.record(
        run("r2"), [setpoint(a, 9, id=f"r2:{a}", run_id="r2", epoch=first) for a in ("a", "b")]
    )  # fmt: skip
    second = store.commands.next_epoch(NOW)
    three = store.runs.record(run("r3"), [setpoint("a", 9, id="r3:a", run_id="r3", epoch=second)])
    assert [(s.asset_id, s.epoch, s.sequence) for s in one + two + three] == [
        ("a", first, 1), ("a", first, 2), ("a", first, 3), ("b", first, 1), ("a", second, 1),
    ]  # fmt: skip


def test_a_replaced_writer_cannot_record(store: Store) -> None:
    old = store.commands.next_epoch(NOW)
    store.commands.next_epoch(NOW)
    with pytest.raises(StaleEpoch):
        store.runs.record(run(), [setpoint(epoch=old)])
    assert store.runs.list() == []
    assert store.commands.due(NOW) == []


def test_all_or_nothing(store: Store) -> None:
    epoch = store.commands.next_epoch(NOW)
    with pytest.raises(IntegrityError):
        store.runs.record(run(), [setpoint(number=1, epoch=epoch), setpoint(number=1, epoch=epoch)])
    assert store.runs.list() == []
    store.runs.record(run(), [setpoint(epoch=epoch)])
    assert [s.sequence for s in store.commands.due(NOW)] == [1]


def test_latest_by_stage_purpose_release_and_time(store: Store) -> None:
    def put(run_id: str, minute: int, **changes: object) -> None:
        store.runs.record(run(run_id, issued_at=NOW + minute * MINUTE, **changes), [])

    put("bid", 0, stage="day_ahead", purpose="bid")
    put("plan", 0, stage="day_ahead", purpose="replan")
    put("held", 5, stage="day_ahead", purpose="replan", released=False)
    put("other", 9)

    def found(**arguments: object) -> str | None:
        latest: DispatchRun | None = store.runs.latest("day_ahead", **arguments)  # type: ignore[arg-type]
        return None if latest is None else latest.id

    assert found() == "plan"
    assert found(purpose="bid") == "bid"
    assert found(released_only=False) == "held"
    assert found(released_only=False, before=NOW + 5 * MINUTE) == "plan"
    assert found(before=NOW) is None


def test_commands_of_a_held_run_wait_for_release(store: Store) -> None:
    epoch = store.commands.next_epoch(NOW)
    store.runs.record(run(released=False), [setpoint(epoch=epoch)])
    assert store.commands.due(NOW) == []
    store.runs.release("r1", "operator 7", NOW + MINUTE)
    store.runs.release("r1", "someone else", NOW + 2 * MINUTE)
    assert [s.asset_id for s in store.commands.due(NOW + MINUTE)] == ["a"]
    summary = store.runs.list()[0]
    assert (summary.released, summary.released_by, summary.released_at) == (True, "operator 7", NOW + MINUTE)
    with pytest.raises(NotFound):
        store.runs.release("nobody", "operator", NOW)


def test_counts(store: Store) -> None:
    for i, level in enumerate(("optimal", "optimal", "last_good")):
        store.runs.record(run(f"r{i}", level=level, cycle_start=NOW + timedelta(minutes=i)), [])
    store.runs.record(run("bid", stage="day_ahead", purpose="bid"), [])
    assert store.runs.counts() == {"real_time/dispatch": 3, "day_ahead/bid": 1}
    assert store.runs.ladder() == {"optimal": 3, "last_good": 1}
    assert store.runs.ladder("day_ahead") == {"optimal": 1}


def test_a_second_process_reads_what_the_first_wrote(store: Store, tmp_path: Path) -> None:
    plan = schedule(seed=3)
    store.runs.record(run(schedule=plan), [])
    other = open_store(tmp_path / "record.db")
    assert np.array_equal(other.runs.get("r1").schedule.power_mw, plan.power_mw)
    assert replace(other.runs.get("r1"), schedule=plan, solution=None).wall_s == {"total": 0.1}
    other.close()
