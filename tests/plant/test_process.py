"""The plant as a process: clocks, control channel, announcement, end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.plant.running import ROOT, START, Plant, Starter, write_spec


@pytest.fixture(scope="module")
def lockstep(start: Starter) -> Plant:
    return start()


def test_lockstep_moves_only_when_told(lockstep: Plant) -> None:
    assert lockstep.now == START
    time.sleep(0.3)
    assert lockstep.now == START
    lockstep.advance(7)
    time.sleep(0.3)
    assert lockstep.now == START + timedelta(minutes=7)
    assert lockstep.ask("advance", to=lockstep.at(3)) == {"now": lockstep.at(7)}, "the past changes nothing"
    assert len(lockstep.minutes(0, 60)["starts"]) == 7


def test_hello_and_announcement_agree(lockstep: Plant) -> None:
    hello, devices = lockstep.ask("hello"), lockstep.devices
    assert hello["devices"] == devices
    assert hello["lockstep"] is True
    assert hello["speed"] is None
    assert lockstep.announcement["pid"] == lockstep.process.pid
    assert (devices["mill-1"]["port"], devices["mill-1"]["unit"]) == (devices["mill-2"]["port"], 1)
    assert devices["mill-2"]["unit"] == 2
    assert devices["battery"]["port"] != devices["pv"]["port"]


def test_bad_requests_are_answered_and_the_channel_stays_open(lockstep: Plant) -> None:
    before = lockstep.now
    assert "op is one of" in lockstep.ask("jump")["error"]
    assert lockstep.ask("advance")["error"] == "to is missing"
    assert "time zone" in lockstep.ask("advance", to="2016-07-12T00:00:00")["error"]
    assert "after the plant's end" in lockstep.ask("advance", to=lockstep.at(5000))["error"]
    assert "whole minute" in lockstep.ask("advance", to="2016-07-12T03:00:30Z")["error"]
    assert lockstep.now == before


def test_a_client_that_dies_in_the_middle_of_a_line_hurts_nobody(lockstep: Plant) -> None:
    with socket.create_connection(("127.0.0.1", lockstep.announcement["control_port"])) as client:
        client.sendall(b'{"op":')
    lockstep.advance(8)


def test_ends_on_sigterm(lockstep: Plant) -> None:
    path = Path(lockstep.spec["announce"])
    assert path.exists()
    assert lockstep.stop() == 0
    assert not path.exists()


def test_with_a_speed_the_clock_runs_on_without_anybody(start: Starter) -> None:
    plant = start(speed=600.0)
    assert plant.ask("hello")["lockstep"] is False
    written = plant.now
    plant.write("battery", 0.4, revert_s=600)
    plant.disconnect()
    time.sleep(1.6)
    plant.connect()
    passed = (plant.now - written).total_seconds()
    assert passed >= 1.6 * 600
    assert "lockstep" in plant.ask("advance", to=plant.at(1000))["error"]
    lived = len(plant.minutes(0, 1440)["starts"])
    assert abs((plant.now - START).total_seconds() / 60 - lived) <= 120
    power = plant.power("battery", 0, lived)
    assert power.max() == pytest.approx(0.4)
    assert 9 <= np.count_nonzero(power) <= 11, "the watchdog let go while nobody was there"
    assert plant.read("battery")["in_default"] == 1
    assert "now" in plant.ask("shutdown")
    assert plant.process.wait(timeout=10) == 0


def test_leaves_by_itself_when_nobody_asks(start: Starter) -> None:
    idle = start(idle_exit_s=0.5)
    time.sleep(0.8)
    assert idle.now == START, "somebody is still connected"
    idle.disconnect()
    assert idle.process.wait(timeout=20) == 0


def test_leaves_by_itself_after_its_end(start: Starter) -> None:
    done = start(speed=2e5, idle_exit_s=0.2)
    assert done.process.wait(timeout=20) == 0


def test_a_bad_spec_starts_nothing(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, zone="Mars/Olympus")
    run = subprocess.run([sys.executable, "-m", "vpp.plant", str(spec)], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (2, "spec/zone: unknown time zone 'Mars/Olympus'\n")
    assert {p.name for p in tmp_path.iterdir()} == {"spec.json", "series.npz"}
