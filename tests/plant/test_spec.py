"""Bad specs: every fault named, at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.plant.running import assets, write_spec
from vpp.domain.errors import InputFaults
from vpp.plant.register_map import load_profile
from vpp.plant.spec import load_spec
from vpp.plant.truth import load_truth


def faults_of(path: Path) -> str:
    with pytest.raises(InputFaults) as caught:
        load_truth(load_spec(path))
    return str(caught.value)


def test_every_fault_is_listed(tmp_path: Path) -> None:
    broken = assets()
    broken[0]["params"]["soc_min"] = 0.99
    broken[1]["kind"] = "windmill"
    broken[2]["inputs"] = {}
    broken[3]["id"] = "fixed"
    broken[5]["profile"] = "nowhere"
    broken[8]["params"]["max_power_mw"] = -1
    said = faults_of(write_spec(tmp_path, assets=broken, zone="Mars/Olympus", start="2016-07-11T22:03:00Z", initial={}))
    for fault in ("battery/params: ", "soc_min lies above soc_max", "pv/kind: unknown kind 'windmill'",
                  "fixed/inputs.load_mw: missing", "fixed/id: used more than once", "chp/profile", "spec/zone",
                  "spec/start", "cooling/params/max_power_mw", "mill-1/initial"):  # fmt: skip
        assert fault in said


def test_unknown_fields_and_wrong_types_are_faults(tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"seed": "many", "colour": "red", "speed": float("nan")}))
    said = faults_of(spec)
    assert all(f"spec/{name}" in said for name in ("seed", "colour", "speed"))


def test_series_must_exist_hold_values_and_cover_the_run(tmp_path: Path) -> None:
    lost = assets()
    lost[4]["inputs"]["load_mw"]["series"] = "load:none"
    path = write_spec(tmp_path, assets=lost, end=datetime(2016, 12, 1, tzinfo=UTC).isoformat())
    said = faults_of(path)
    assert "load:none" in said
    assert "do not cover" in said
    path = write_spec(tmp_path)
    series = dict(np.load(tmp_path / "series.npz"))
    series["p"][2] = np.nan
    np.savez(tmp_path / "series.npz", **series)
    assert "steel: no valid value of p" in faults_of(path)


def test_a_register_map_without_a_field_is_refused(tmp_path: Path) -> None:
    wire = "{address: 0, fields: [{name: power, type: int32}]}"
    (tmp_path / "x.yaml").write_text(f"profile: x\nprotocol: modbus_tcp\ncommand: {wire}\ntelemetry: {wire}\n")
    with pytest.raises(InputFaults, match="accepted_setpoint"):
        load_profile(tmp_path / "x.yaml")
