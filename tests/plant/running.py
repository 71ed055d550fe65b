"""A small plant of all kinds as a real process, spoken to over its real sockets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from pymodbus.client import ModbusTcpClient

from vpp.domain.time import rfc3339
from vpp.plant.register_map import Profile, load_profile

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "config" / "devices"
START = datetime(2016, 7, 11, 22, tzinfo=UTC)
FIRST = datetime(2016, 3, 1, 23, tzinfo=UTC)
QUARTERS = 150 * 96
SILO = {"id": "silo", "capacity_t": 800.0, "min_t": 100.0, "kwh_per_t": 36.0, "missed_eur_per_t": 9.0}
MILL = {"power_mw": 1.2, "kwh_per_t": 36.0, "min_run_h": 2.0, "min_stop_h": 1.0, "start_cost_eur": 80.0, "silo": SILO}


def hourly(*values: float) -> dict[str, Any]:
    """24 values by local hour; one value is repeated."""
    return {"hourly": list(values) * (24 // len(values))}


def assets() -> list[dict[str, Any]]:
    """One device of each kind, the mill twice."""
    mill = {"shipments_t_per_h": hourly(30.0), "rota": hourly(*([1.0] * 6 + [0.0] * 18))}
    return [
        asset("battery", "battery", "storage", {
            "power_mw": 1.0, "capacity_mwh": 2.0, "charge_efficiency": 0.95, "discharge_efficiency": 0.93,
            "wear_eur_per_mwh": 4.0}),
        asset("pv", "curtailable", "generation", {"capacity_mw": 2.0, "s_rating_mva": 2.2},
              {"available_mw": {"scale": 2.0, "series": "gen:PV1"}}),
        asset("fixed", "fixed_load", "consumer", {"peak_mw": 1.0},
              {"load_mw": {"scale": 0.8, "series": "load:L1"}}, tan_phi=0.3),
        asset("steel", "fixed_load", "consumer", {"peak_mw": 0.6}, {"load_mw": {"series": "steel"}}),
        asset("taker", "price_elastic", "consumer", {
            "min_share": 0.5, "elasticity": -0.3, "reference_price_eur_per_mwh": 100.0, "substitution": 0.5,
            "window_h": 1.0, "response_sigma": 0.2, "max_share": 1.5},
              {"load_mw": {"scale": 1.5, "series": "load:L1"}}),
        asset("chp", "chp", "generation", {
            "power_mw": 1.0, "min_power_mw": 0.5, "fuel_mw_per_mw": 2.2, "fuel_no_load_mw": 0.2,
            "heat_mw_per_mw": 1.1, "heat_no_load_mw": 0.05, "fuel_price_eur_per_mwh": 30.0, "start_cost_eur": 40.0,
            "min_up_h": 1.0, "min_down_h": 0.5, "ramp_mw_per_min": 0.05, "boiler_mw_th": 1.5,
            "boiler_efficiency": 0.9, "store_mwh_th": 3.0, "store_loss_per_h": 0.01},
              {"heat_demand_mw_th": hourly(0.4)}),
        asset("mill-1", "process", "consumer", MILL, mill),
        asset("mill-2", "process", "consumer", MILL, mill),
        asset("cooling", "thermal_store", "consumer", {
            "max_power_mw": 0.6, "min_power_mw": 0.0, "cop_at_20c": 4.0, "cop_slope_per_c": -0.05,
            "store_mwh_th": 0.5, "loss_per_h": 0.02, "inlet_min_c": 18.0, "inlet_max_c": 27.0,
            "heat_capacity_mwh_th_per_c": 0.05},
              {"heat_mw_th": hourly(1.2), "ambient_c": hourly(24.0)}),
    ]  # fmt: skip


def asset(
    name: str, kind: str, profile: str, params: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None, tan_phi: float = 0.0,
) -> dict[str, Any]:  # fmt: skip
    """One asset of the spec; mills share a site."""
    return {
        "id": name, "kind": kind, "site": name.split("-")[0], "metering_point": f"mp:{name}", "profile": profile,
        "tan_phi": tan_phi, "params": dict(params), "inputs": dict(inputs or {}),
    }  # fmt: skip


def crowd() -> list[dict[str, Any]]:
    """Twelve small mills with a wide silo that rest by rota."""
    params = {"power_mw": 1.0, "kwh_per_t": 36.0, "silo": {"id": "wide", "capacity_t": 5e4, "kwh_per_t": 36.0}}
    inputs = {"shipments_t_per_h": hourly(10.0), "rota": hourly(0.0)}
    return [asset(f"crowd-{k}", "process", "consumer", params, inputs) for k in range(12)]


INITIAL = {
    "battery": {"power_mw": 0.0, "stored_mwh": 1.0, "on": False, "minutes_in_state": 1000},
    "chp": {"power_mw": 0.0, "stored_mwh": 1.5, "on": False, "minutes_in_state": 1000},
    "mill-1": {"power_mw": 0.0, "stored_mwh": 7.2, "on": False, "minutes_in_state": 1000},
    "mill-2": {"power_mw": 0.0, "stored_mwh": 7.2, "on": False, "minutes_in_state": 1000},
    "cooling": {"power_mw": 0.0, "stored_mwh": 0.25, "on": True, "minutes_in_state": 1000},
}


def series() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Synthetic truth: a load, a PV with nights, a steel shop with a gap from 01:00 to 02:00 UTC of each day."""
    hour = np.arange(QUARTERS) / 4 + FIRST.hour
    load = 0.6 + 0.3 * np.sin(2 * np.pi * hour / 24)
    pv = np.clip(np.sin(2 * np.pi * (hour - 6) / 24), 0, None)
    steel = np.where((hour % 24 >= 1) & (hour % 24 < 2), np.nan, 0.3 + 0.1 * np.cos(hour))
    p = np.array([load, pv, steel])
    return p, np.array([0.4 * load, 0 * pv, 0.2 * np.nan_to_num(steel)]), ["load:L1", "gen:PV1", "steel"]


def write_spec(folder: Path, **changes: Any) -> Path:
    """A spec file in `folder` with the fields changed."""
    p, q, ids = series()
    np.savez(folder / "series.npz", ids=np.array(ids), start=np.array(rfc3339(FIRST)), p=p, q=q)
    spec = {
        "portfolio": "test", "zone": "Europe/Berlin", "start": rfc3339(START),
        "end": rfc3339(START + timedelta(days=1)), "seed": 7, "speed": None, "announce": str(folder / "plant.json"),
        "log": str(folder / "writes.db"), "devices_dir": str(PROFILES), "series_file": str(folder / "series.npz"),
        "assets": assets(), "initial": INITIAL, "history_days": 1, "idle_exit_s": 60,
        "randomness": {"request_failure": 0.0},
    }  # fmt: skip
    path = folder / "spec.json"
    path.write_text(json.dumps(spec | changes))
    return path


class Plant:
    """A running plant: its process, its control channel, its field. Minutes count from `origin`."""

    def __init__(self, spec: Path) -> None:
        self.spec = json.loads(spec.read_text())
        self.process = subprocess.Popen([sys.executable, "-m", "vpp.plant", str(spec)], cwd=ROOT)
        self.announcement = self._announced()
        self.devices = self.announcement["devices"]
        self.sequence = 0
        self.origin = START
        self._clients: dict[int, ModbusTcpClient] = {}
        self.connect()

    def _announced(self) -> dict[str, Any]:
        path = Path(self.spec["announce"])
        deadline = time.monotonic() + 20
        while not path.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the plant did not start, exit {self.process.poll()}")
            time.sleep(0.02)
        announced: dict[str, Any] = json.loads(path.read_text())
        return announced

    def connect(self) -> None:
        """Open the control channel."""
        self._socket = socket.create_connection(("127.0.0.1", self.announcement["control_port"]), timeout=30)
        self._lines = self._socket.makefile("rb")

    def disconnect(self) -> None:
        """Drop every connection, as a service does that dies."""
        self._lines.close()
        self._socket.close()
        for client in self._clients.values():
            client.close()  # type: ignore[no-untyped-call]
        self._clients.clear()

    def at(self, minutes: float) -> str:
        """RFC 3339 of that many minutes after the origin."""
        return rfc3339(self.origin + timedelta(minutes=minutes))

    @property
    def now(self) -> datetime:
        return datetime.fromisoformat(self.ask("hello")["now"])

    def begin(self) -> None:
        """Lockstep: let every command end and count minutes anew from the next local midnight."""
        self.origin += timedelta(days=max(1, -(-(self.now - self.origin) // timedelta(days=1))))
        self.advance(0)

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """One request on the control channel."""
        self._socket.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        return reply

    def advance(self, minutes: float) -> None:
        """Lockstep: to so many minutes after the origin."""
        reply = self.ask("advance", to=self.at(minutes))
        assert reply == {"now": self.at(minutes)}, reply

    def profile(self, name: str) -> Profile:
        return load_profile(PROFILES / f"{self.devices[name]['profile']}.yaml")

    def client(self, name: str) -> tuple[ModbusTcpClient, int]:
        device = self.devices[name]
        if device["port"] not in self._clients:
            client = ModbusTcpClient(device["host"], port=device["port"], timeout=10)
            assert client.connect()  # type: ignore[no-untyped-call]
            self._clients[device["port"]] = client
        return self._clients[device["port"]], device["unit"]

    def write(self, name: str, value: float, quantity: int = 0, **fields: int) -> Any:
        """One command block; MW for quantity 0. Returns the Modbus response."""
        self.sequence += 1
        block = self.profile(name).command
        setpoint = block.field("setpoint")
        raw = round(value * 1000 / (setpoint.scale * setpoint.sign)) if quantity == 0 else round(value * 100)
        numbers = {
            "setpoint": round(value) if quantity == 1 else raw, "quantity": quantity, "delay_s": 0, "revert_s": 900,
            "epoch": 1, "sequence": self.sequence, "digest": crc32(f"{name}-{self.sequence}".encode()),
        } | fields  # fmt: skip
        client, unit = self.client(name)
        return client.write_registers(block.address, list(block.pack(numbers)), device_id=unit)

    def read(self, name: str) -> dict[str, float]:
        """Telemetry in kW, kvar, kWh with our signs."""
        block = self.profile(name).telemetry
        client, unit = self.client(name)
        answer = client.read_input_registers(block.address, count=block.size, device_id=unit)
        raw = block.unpack(answer.registers)
        return {f.name: raw[f.name] * f.scale * f.sign for f in block.fields}

    def minutes(self, first: float, last: float) -> dict[str, Any]:
        return self.ask("minutes", start=self.at(first), end=self.at(last))

    def power(self, name: str, first: float, last: float) -> np.ndarray:
        """True MW of each minute in [first, last)."""
        return np.array(self.minutes(first, last)["power_mw"][name])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.disconnect()
        self.process.terminate()
        return self.process.wait(timeout=10)


@dataclass
class Starter:
    """Starts plants in fresh folders and ends those still running."""

    folder: Path
    plants: list[Plant]

    def __call__(self, **changes: Any) -> Plant:
        folder = self.folder / f"plant-{len(self.plants)}"
        folder.mkdir()
        plant = Plant(write_spec(folder, **changes))
        self.plants.append(plant)
        return plant

    def close(self) -> None:
        for plant in self.plants:
            if plant.process.poll() is None:
                plant.stop()
