"""The command line: quick help, exit codes, and JSON that is alone on stdout."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.store import open_store
from tests.service.conftest import DEMO, ISSUED, ROOT, Make
from tests.service.test_cascade import refuse
from vpp.service.cascade import run_stage
from vpp.service.cli import app, main
from vpp.service.knowledge import gather
from vpp.service.portfolio import load_portfolio
from vpp.service.preflight import why_no_database, why_no_folder, why_not_writable
from vpp.service.simulate import RECORD
from vpp.service.system import System

RUN = [sys.executable, "-c", "from vpp.service.cli import main; main()"]
HELP_CPU_S = 0.5
COMMANDS = ("simulate", "plan", "check", "bid", "event", "flexibility", "explain", "serve", "demo")


def vpp(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Our command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [*RUN, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@dataclass(frozen=True)
class Told:
    """What a command said and ended with."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Our command in this process."""

    def call(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["vpp", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Told(int(end.value.code or 0), *capsys.readouterr())

    return call


def test_help_answers_at_once_with_examples() -> None:
    """Half a second of the processor's time: a busy machine makes the clock on the wall late, this one not."""
    cost = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = vpp("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cost.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert told.returncode == 0
    assert all(name in told.stdout for name in COMMANDS)
    assert "Examples: vpp plan --portfolio config/demo" in told.stdout
    assert min(cost) < HELP_CPU_S


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert "Usage" in told.stdout


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The demo with an unknown kind, a negative capacity, an unknown series and a NaN."""
    folder = tmp_path / "broken"
    shutil.copytree(DEMO, folder)
    text = (folder / "portfolio.yaml").read_text()
    for old, new in (
        ("kind: thermal_store", "kind: teapot"),
        ("capacity_mwh: 3.0", "capacity_mwh: -3.0"),
        ("initial: {stored_mwh: 4.0}", "initial: {stored_mwh: .nan}"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "portfolio.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("command", [["plan"], ["bid"], ["simulate", "--days", "1"]])
def test_a_faulty_portfolio_ends_with_2_and_every_fault(
    broken: Path, command: list[str], here: Callable[..., Told]
) -> None:
    told = here(*command, "--portfolio", str(broken), "--json", "-")
    assert (told.code, told.stdout) == (2, "")
    assert {line.split("/")[0] for line in told.stderr.splitlines()} >= {"cooling", "battery-glass", "chp"}


def test_no_portfolio_at_all(tmp_path: Path) -> None:
    told = vpp("plan", "--portfolio", str(tmp_path / "nowhere"))
    assert (told.returncode, told.stdout) == (2, "")
    assert "is no folder" in told.stderr and "Traceback" not in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--day", "tomorrow"],
        ["simulate", "--days", "0"],
        ["simulate", "--speed", "0"],
        ["flexibility", "--bus", "98", "--at", "2016-07-12T17:30:00"],
        ["flexibility", "--bus", "98", "--at", "later"],
        ["flexibility", "--bus", "98", "--at", "0001-01-01T00:00:00+14:00"],
        ["plan", "--day", "0001-01-01"],
        ["plan", "--day", "9999-12-31"],
        ["bid", "--day", "9999-12-31"],
        ["simulate", "--start", "9999-12-31"],
        ["demo", "--start", "0001-01-01"],
        ["simulate", "--db", "/proc/none/x.db"],
        ["serve", "--db", "/proc/none/x.db"],
        ["simulate", "--report", "/nonexistent/x.html"],
        *([command, "--json", "/nonexistent/x.json"] for command in ("plan", "simulate", "bid")),
        ["event", "dr-demo", "--db", "x.db", "--json", "/nonexistent/x.json"],
        ["flexibility", "--bus", "98", "--at", "2016-07-12T17:30:00+02:00", "--json", "/nonexistent/x.json"],
        ["unknown"],
    ],
)
def test_bad_arguments_end_with_2_before_any_work(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the portfolio was read")

    monkeypatch.setattr("vpp.service.portfolio.read_layered", never)
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize(("variable", "command"), [
    ("VPP_CACHE_DIR", ["plan"]), ("VPP_MODELS_DIR", ["bid"]), ("VPP_STATE_DIR", ["demo"]), ("VPP_STATE_DIR", ["serve"]),
])  # fmt: skip
def test_a_folder_that_cannot_be_made_ends_with_2(
    variable: str, command: list[str], here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "/proc/x")
    told = here(*command)
    name = variable.removeprefix("VPP_").lower()
    assert (told.code, told.stderr.strip()) == (
        2, f"environment/{name}: /proc/x cannot be made: No such file or directory",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_taken_port_ends_with_2_before_any_work(
    command: str, here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VPP_STATE_DIR", str(tmp_path))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        told = here(command, "--portfolio", "/nowhere", "--port", str(port))
    assert (told.code, told.stderr.strip()) == (
        2, f"port: cannot listen on 127.0.0.1:{port}: Address already in use",
    )  # fmt: skip
    assert "/nowhere: is no folder" in here("serve", "--portfolio", "/nowhere", "--port", str(port)).stderr


@pytest.mark.parametrize("command", [["simulate"], ["demo", "--port", "0"], ["serve", "--live", "devices.yaml"]])
def test_a_dead_redis_ends_with_2_before_any_work(
    command: list[str], here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("VPP_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("VPP_REDIS_URL", "redis://127.0.0.1:1/0")
    told = here(*[port if word == "0" else word for word in command], "--portfolio", "/nowhere")
    assert told.code == 2
    assert told.stderr.startswith("environment/redis_url: no Redis server: ")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("nonsense", "environment/database_url: must be a URL such as "),
        ("nonsense://x/y", "nonsense://x/y: cannot be opened: "),
        ("sqlite:////proc/none/x.db", "sqlite:////proc/none/x.db: cannot be opened: "),
    ],
)
def test_a_database_that_cannot_be_had_ends_with_2(
    url: str, fault: str, here: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VPP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("VPP_CACHE_DIR", str(ROOT / ".cache" / "vpp"))
    monkeypatch.setenv("VPP_DATABASE_URL", url)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = str(free.getsockname()[1])
    told = here("serve", "--port", port, "--portfolio", str(DEMO))
    assert told.code == 2
    assert told.stderr.strip().splitlines()[-1].startswith(fault), told.stderr
    assert not Path("nonsense").exists()


def test_trying_a_place_leaves_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("old")
    assert why_not_writable(kept) is None and why_not_writable(tmp_path / "new.json") is None
    assert why_no_folder(tmp_path / "a" / "b") is None and why_no_database(tmp_path / "c" / "x.db") is None
    assert why_not_writable(tmp_path) == "is a folder"
    assert why_no_folder(kept) == f"{kept} is no folder"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]
    assert kept.read_text() == "old"


def test_json_on_stdout_is_alone_there(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = make(ISSUED, network=False)
    situation = gather(system, "day_ahead", "plan", ISSUED, scenarios=0)
    run = run_stage(situation, "x", refuse)

    def prepared(*arguments: Any) -> tuple[System, Any]:
        arguments[-1](1, 2)
        return system, ISSUED

    monkeypatch.setattr("vpp.service.plan.prepare_day", prepared)
    monkeypatch.setattr("vpp.service.plan.plan_day", lambda *_: (situation, run))
    told = CliRunner().invoke(app, ["plan", "--json", "-"])
    assert told.exit_code == 0
    body = json.loads(told.stdout)
    assert (body["level"], body["certificate"], body["objective"]) == ("merit_order", None, None)
    assert "violations before cuts" in told.stderr, "the table for people"
    path = tmp_path / "plan.json"
    told = CliRunner().invoke(app, ["plan", "--json", str(path)])
    assert json.loads(path.read_text()) == body
    assert "violations before cuts" in told.stdout


@pytest.mark.parametrize(("found", "code"), [([], 0), (["chp/power_mw: too much"], 1)])
def test_check_ends_with_1_where_something_is_found(
    found: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("vpp.service.check_file.check_file", lambda *_: found)
    file = tmp_path / "plan.json"
    file.write_text("{}")
    told = CliRunner().invoke(app, ["check", str(file)])
    assert told.exit_code == code
    assert told.stdout.splitlines() == found


def test_check_of_nonsense_ends_with_2(tmp_path: Path, here: Callable[..., Told]) -> None:
    file = tmp_path / "plan.json"
    file.write_text('{"times": ["2016-07-11T08:00:00Z"], "step": "PT15M", "schedule": {"ghost": [NaN, 1.0]}}')
    told = here("check", str(file))
    assert told.code == 2
    lines = told.stderr.splitlines()
    assert any(line.startswith("plan/schedule.ghost.0: ") for line in lines)
    assert "ghost/schedule: is no asset of the portfolio" in lines
    assert "ghost/schedule: has 2 values for 1 times" in lines
    assert "mill-1/schedule: is missing" in lines
    assert here("check", str(tmp_path / "none.json")).code == 2


def test_an_event_is_read_from_a_record(tmp_path: Path, here: Callable[..., Told]) -> None:
    path = tmp_path / "record.db"
    told = here("event", "dr-demo", "--db", str(path))
    assert (told.code, told.stderr.strip()) == (2, f"{path}: no such file")
    store = open_store(f"sqlite:///{path}")
    assert "holds no simulation" in here("event", "dr-demo", "--db", str(path)).stderr
    store.settings.put(RECORD, {"portfolio": str(DEMO)})
    told = here("event", "dr-demo", "--db", str(path))
    assert told.code == 2 and told.stderr.startswith("vpp: event dr-demo")
    store.events.save(load_portfolio(DEMO).events[0].event)
    store.close()
    told = here("event", "dr-demo", "--db", str(path), "--json", "-")
    assert told.code == 0
    body = json.loads(told.stdout)
    assert body["event"]["mw"] == 1.0 and body["event"]["price_eur_per_mwh"] == "240.00"
    assert body["offers"] == [] and "statements" not in body


def test_a_database_of_others_is_refused_and_left_alone(tmp_path: Path, here: Callable[..., Told]) -> None:
    path = tmp_path / "foreign.db"
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE invoices (id INTEGER)")
        foreign.commit()
    before = path.read_bytes()
    told = here("event", "dr-demo", "--db", str(path))
    assert (told.code, told.stderr.strip()) == (2, f"{path}: holds no record of ours")
    assert path.read_bytes() == before
    path.write_text("a diary")
    told = here("event", "dr-demo", "--db", str(path))
    assert (told.code, told.stderr.strip()) == (2, f"{path}: is no SQLite file")


def test_a_binary_plan_ends_with_2(tmp_path: Path, here: Callable[..., Told]) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(b"\xff\xfe\x00plan")
    told = here("check", str(file))
    assert (told.code, told.stderr.strip()) == (2, f"{file}: is no UTF-8 text, so no plan")
