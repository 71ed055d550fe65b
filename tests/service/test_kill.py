"""SIGKILL in the middle of a simulated day: devices fall to their default, nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.plant_link import PlantLink, connect

ROOT = Path(__file__).resolve().parents[2]
SPEED = 60.0
COMMAND = "from vpp.service.cli import main; main()"


def start(database: Path) -> subprocess.Popen[bytes]:
    """`vpp simulate --speed` on the demo."""
    arguments = ["simulate", "--start", "2016-07-12", "--days", "1", "--speed", str(SPEED), "--db", str(database)]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def wait_for(what: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return
        if process is not None and process.poll() is not None:
            assert process.stderr is not None
            pytest.fail(process.stderr.read().decode()[-3000:])
        time.sleep(0.5)
    pytest.fail("waited too long")


def count(database: Path, query: str) -> int:
    """One number from the record; 0 while it does not exist yet."""
    if not database.exists():
        return 0
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as connection:
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


RUNS = "select count(*) from runs where stage = 'real_time'"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "kill.db"
    yield path
    announce = path.with_name(path.name + ".plant") / "plant.json"
    if announce.exists():
        connect(announce).shutdown()


@pytest.mark.timeout(600)
def test_sigkill_and_restart(database: Path) -> None:
    first = start(database)
    wait_for(lambda: count(database, RUNS) >= 10, 400, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    link: PlantLink = connect(database.with_name(database.name + ".plant") / "plant.json")
    before = link.hello().now
    runs_before = count(database, RUNS)
    commanded = [a for a in link.log()["by_asset"] if a.startswith("battery")]
    wait_for(lambda: (link.hello().now - before).total_seconds() > 300, 60)
    states = link.states()
    assert commanded
    assert all(abs(states[a]["power_mw"]) < 1e-9 for a in commanded), "batteries rest when nobody commands them"
    link.close()

    second = start(database)
    try:
        wait_for(lambda: count(database, RUNS) >= runs_before + 5, 200, second)
    finally:
        second.kill()
        second.wait()
    log = connect(database.with_name(database.name + ".plant") / "plant.json").log()
    assert log["executed_twice"] == 0
    assert count(database, "select count(*) from outbox where status = 'lost'") == 0
    assert count(database, "select count(*) from cycles where status = 'missed'") > 0
    epochs = count(database, "select count(distinct epoch) from setpoints")
    assert epochs == 2, "the restarted service commands under a new epoch"
