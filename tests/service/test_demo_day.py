"""The whole demo day, closed loop, against what the demo promises. Takes a quarter of an hour: `make slow`."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "from vpp.service.cli import main; main()"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """`vpp simulate --oracle` of 2016-07-12 and `vpp event dr-demo` on its record."""
    folder = tmp_path_factory.mktemp("day")
    database, out = folder / "day.db", folder / "out.json"
    arguments = ["simulate", "--start", "2016-07-12", "--days", "1", "--seed", "1", "--oracle"]
    run = [sys.executable, "-c", COMMAND, *arguments, "--db", str(database), "--json", str(out)]
    subprocess.run(run, cwd=ROOT, check=True)
    event = [sys.executable, "-c", COMMAND, "event", "dr-demo", "--db", str(database), "--json", "-"]
    told = subprocess.run(event, cwd=ROOT, check=True, capture_output=True).stdout
    return json.loads(out.read_text()), json.loads(told)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_run_and_every_command(outcome: tuple[dict[str, Any], dict[str, Any]]) -> None:
    body, _ = outcome
    assert body["runs"] == {"bid": 2, "day_ahead": 2, "intraday": 96, "real_time": 1440}
    commands = body["commands"]
    final = ("acked", "expired", "superseded", "rejected", "lost")
    assert commands["sent"] == sum(commands[name] for name in final) > 0
    assert commands["lost"] == 0
    assert commands["executed_twice"] == 0
    assert body["planned_violations"] == 0


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_value_captured(outcome: tuple[dict[str, Any], dict[str, Any]]) -> None:
    body, _ = outcome
    assert body["cost_oracle"] < body["cost"] < body["cost_idle"]
    assert body["captured_value"] > 0.5


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_statement_by_hand(outcome: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Each line's money from its own megawatts, each baseline from the meter rows it names."""
    _, told = outcome
    price, penalty = (Decimal(told["event"][f"{k}_eur_per_mwh"]) for k in ("price", "penalty"))
    for statement in told["statements"].values():
        for line in statement["lines"]:
            ordered, base, metered = (Decimal(line[k]) for k in ("ordered_mw", "baseline_mw", "metered_mw"))
            useful = min(max(metered - base, Decimal(0)), ordered)
            hours = Decimal("0.25")
            assert abs(Decimal(line["payment"]) - price * hours * useful) <= Decimal("0.005")
            assert abs(Decimal(line["penalty"]) - penalty * hours * (ordered - useful)) <= Decimal("0.005")
    for site in told["baselines"].values():
        five = site["average_of_last_5"]
        rows = list(five["meter_rows"].values())
        quarters = len(five["mw"])
        by_day = [rows[k : k + quarters] for k in range(0, len(rows), quarters)]
        assert len(by_day) == 5
        for q in range(quarters):
            assert sum(day[q] for day in by_day) / 5 == pytest.approx(five["mw"][q], abs=1e-9)
