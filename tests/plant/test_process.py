"""The plant as a process: clocks, control channel, announcement, end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.plant.running import ROOT, START, Plant, Starter, assets, at, write_spec


def now_of(plant: Plant) -> datetime:
    return datetime.fromisoformat(plant.ask("hello")["now"])


def test_lockstep_moves_only_when_told(start: Starter) -> None:
    plant = start()
    assert now_of(plant) == START
    time.sleep(0.3)
    assert now_of(plant) == START
    plant.advance(7)
    time.sleep(0.3)
    assert now_of(plant).isoformat() == datetime.fromisoformat(at(7)).isoformat()
    assert plant.ask("advance", to=at(3)) == {"now": at(7)}, "a moment already past changes nothing"
    assert len(plant.minutes(0, 60)["starts"]) == 7


def test_hello_and_announcement_agree(start: Starter) -> None:
    plant = start()
    hello = plant.ask("hello")
    assert hello["devices"] == plant.devices
    assert hello["lockstep"] is True
    assert hello["speed"] is None
    assert plant.announcement["pid"] == plant.process.pid
    assert (plant.devices["mill-1"]["port"], plant.devices["mill-1"]["unit"]) == (plant.devices["mill-2"]["port"], 1)
    assert plant.devices["mill-2"]["unit"] == 2
    assert plant.devices["battery"]["port"] != plant.devices["pv"]["port"]


def test_bad_requests_are_answered_and_the_channel_stays_open(start: Starter) -> None:
    plant = start()
    assert "op is one of" in plant.ask("jump")["error"]
    assert plant.ask("advance")["error"] == "to is missing"
    assert "naive" in plant.ask("advance", to="2016-07-12T00:00:00")["error"] or plant.ask("hello")
    assert "after the plant's end" in plant.ask("advance", to=at(5000))["error"]
    assert now_of(plant) == START


def test_with_a_speed_the_clock_runs_on_without_anybody(start: Starter) -> None:
    plant = start(speed=600.0)
    assert plant.ask("hello")["lockstep"] is False
    assert plant.write("battery", 0.4, revert_s=3600).isError() is False
    before = now_of(plant)
    plant.disconnect()
    time.sleep(0.6)
    plant.connect()
    passed = (now_of(plant) - before).total_seconds()
    assert 0.6 * 600 <= passed < 3000
    assert "lockstep" in plant.ask("advance", to=at(1000))["error"]
    minutes = (now_of(plant) - START).total_seconds() / 60
    lived = len(plant.minutes(0, 1440)["starts"])
    assert minutes - 3 <= lived <= minutes + 3
    held = plant.power("battery", 0, lived)
    assert held.max() == pytest.approx(0.4)


def test_free_running_falls_to_default_while_nobody_is_there(start: Starter) -> None:
    plant = start(speed=3000.0)
    plant.write("battery", 0.4, revert_s=600)
    plant.disconnect()
    time.sleep(0.6)
    plant.connect()
    held = plant.power("battery", 0, 29)
    assert len(held) == 29
    assert 9 <= np.count_nonzero(held) <= 11
    assert held[-1] == 0.0
    assert plant.read("battery")["in_default"] == 1


def test_ends_on_sigterm_and_on_request(start: Starter) -> None:
    plant = start()
    path = Path(plant.spec["announce"])
    assert plant.stop() == 0
    assert not path.exists()
    plant = start()
    assert plant.ask("shutdown") == {"now": at(0)}
    assert plant.process.wait(timeout=10) == 0


def test_leaves_by_itself(start: Starter) -> None:
    idle = start(idle_exit_s=0.5)
    done = start(speed=2e5, idle_exit_s=0.2)
    assert idle.process.wait(timeout=10) == 0
    assert done.process.wait(timeout=10) == 0


def test_survives_a_client_that_is_killed(start: Starter) -> None:
    plant = start()
    for _ in range(3):
        plant.disconnect()
        plant.connect()
    client = subprocess.Popen(
        [sys.executable, "-c",
         f"import socket,time; s=socket.create_connection(('127.0.0.1',{plant.announcement['control_port']}));"
         "s.sendall(b'{\"op\":'); print(1, flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout is not None
    client.stdout.readline()
    client.send_signal(signal.SIGKILL)
    client.wait()
    plant.advance(1)


def test_same_seed_same_truth_other_seed_other_truth(start: Starter) -> None:
    one, same, other = start(), start(), start(seed=8)
    for plant in (one, same, other):
        plant.write("taker", 300.0, quantity=2, revert_s=20000)
        plant.advance(120)
    first, second, third = (p.minutes(0, 120) for p in (one, same, other))
    assert first == second
    for key, name in (("series", "load:L1"), ("power_mw", "taker")):
        assert not np.allclose(first[key][name], third[key][name], rtol=1e-4)


def test_a_bad_spec_lists_every_fault_and_starts_nothing(tmp_path: Path) -> None:
    broken = assets()
    broken[0]["params"]["soc_min"] = 2
    broken[1]["kind"] = "windmill"
    broken[2]["inputs"] = {}
    broken[3]["id"] = "fixed"
    broken[4]["inputs"]["load_mw"]["series"] = "load:none"
    broken[5]["profile"] = "nowhere"
    spec = write_spec(tmp_path, assets=broken, zone="Mars/Olympus", start="2016-07-11T22:03:00Z")
    run = subprocess.run(
        [sys.executable, "-m", "vpp.plant", str(spec)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 2
    for fault in ("battery/params/soc_min", "pv/kind", "fixed/inputs.load_mw", "fixed/id: used more than once",
                  "chp/profile", "spec/zone", "spec/start"):  # fmt: skip
        assert fault in run.stderr, run.stderr
    assert not (tmp_path / "plant.json").exists()
    assert not (tmp_path / "writes.db").exists()


def test_missing_series_and_wrong_types_are_faults(tmp_path: Path) -> None:
    lost = assets()
    lost[4]["inputs"]["load_mw"]["series"] = "load:none"
    spec = write_spec(tmp_path, assets=lost, end=datetime(2016, 12, 1, tzinfo=UTC).isoformat())
    run = subprocess.run([sys.executable, "-m", "vpp.plant", str(spec)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "load:none" in run.stderr
    assert "do not cover" in run.stderr
    raw = json.loads(spec.read_text()) | {"seed": "many", "colour": "red"}
    spec.write_text(json.dumps(raw))
    run = subprocess.run([sys.executable, "-m", "vpp.plant", str(spec)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "spec/seed" in run.stderr
    assert "spec/colour" in run.stderr
