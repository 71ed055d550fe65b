"""Client of the virtual plant's control channel: one JSON line out, one back, over TCP on loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from adapters.modbus import Endpoint
from vpp.domain.command import MeterRow
from vpp.domain.errors import VppError
from vpp.domain.time import Array, rfc3339, utc

HOST = "127.0.0.1"
REPLY_TIMEOUT_S = 120.0
START_TIMEOUT_S = 60.0
METER_DELAY = timedelta(minutes=1)
ROOT = Path(__file__).resolve().parent.parent


class PlantFailed(VppError):
    """The plant did not start, refused a request or is gone."""


@dataclass(frozen=True)
class Hello:
    """What the plant says of itself; `speed` in simulated seconds per wall second, None in lockstep."""

    now: datetime
    start: datetime
    end: datetime
    speed: float | None
    lockstep: bool
    devices: Mapping[str, Endpoint]


@dataclass(frozen=True)
class Minutes:
    """True per-minute means by asset or series id, each (n,); content and on/off as of each minute's end.

    `default_mw` is what a device left to itself would have injected in the same minute.
    """

    starts: tuple[datetime, ...]
    power_mw: Mapping[str, Array]
    default_mw: Mapping[str, Array]
    q_mvar: Mapping[str, Array]
    stored_mwh: Mapping[str, Array]
    on: Mapping[str, Array]
    series: Mapping[str, Array]
    q_series: Mapping[str, Array]


class PlantLink:
    """One connection, opened again after a failure; one thread at a time. Every method raises PlantFailed."""

    def __init__(self, port: int, host: str = HOST, process: subprocess.Popen[bytes] | None = None) -> None:
        self._address = (host, port)
        self.process = process
        self._socket: socket.socket | None = None
        self._buffer = b""

    def hello(self) -> Hello:
        """Its clock and devices."""
        reply = self._ask("hello")
        return Hello(
            _time(reply["now"]), _time(reply["start"]), _time(reply["end"]), reply["speed"], reply["lockstep"],
            {asset: Endpoint(**where) for asset, where in reply["devices"].items()},
        )  # fmt: skip

    def advance(self, to: datetime) -> datetime:
        """Step the plant's clock to `to` (lockstep only); returns its clock."""
        return _time(self._ask("advance", to=rfc3339(to))["now"])

    def meters(self, start: datetime, end: datetime, delay: timedelta = METER_DELAY) -> list[MeterRow]:
        """Rows whose interval starts in [start, end) and has ended; each known `delay` after its end."""
        rows = self._ask("meters", start=rfc3339(start), end=rfc3339(end))["rows"]
        times: dict[str, datetime] = {}
        found = []
        for point, text, minutes, mw in rows:
            at = times.get(text) or times.setdefault(text, _time(text))
            found.append(MeterRow(point, at, minutes, mw, at + timedelta(minutes=minutes) + delay))
        return found

    def minutes(self, start: datetime, end: datetime) -> Minutes:
        """The truth over [start, end), for evaluation only."""
        reply = self._ask("minutes", start=rfc3339(start), end=rfc3339(end))
        names = ("power_mw", "default_mw", "q_mvar", "stored_mwh", "on", "series", "q_series")
        arrays = [{key: np.array(row, dtype=float) for key, row in reply[name].items()} for name in names]
        return Minutes(tuple(_time(t) for t in reply["starts"]), *arrays)

    def log(self) -> dict[str, Any]:
        """Its write log: writes, executed, executed_twice, rejected, by_asset, default_minutes."""
        return self._ask("log")

    def states(self) -> dict[str, dict[str, Any]]:
        """True state of each asset."""
        return self._ask("states")

    def shutdown(self, wait_s: float = 10.0) -> None:
        """End the plant; where it was started here, wait for its process. A plant already gone is fine."""
        try:
            self._ask("shutdown")
        except PlantFailed:
            if self.process is not None and self.process.poll() is None:
                self.process.terminate()
        self.close()
        if self.process is not None:
            try:
                self.process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self) -> None:
        """Drop the connection; the plant lives on."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        line = json.dumps({"op": operation, **arguments}).encode() + b"\n"
        try:
            reply: dict[str, Any] = json.loads(self._exchange(line))
        except (OSError, ValueError) as error:
            self.close()
            raise PlantFailed(f"{operation}: the plant at {self._address[1]} does not answer: {error}") from error
        if "error" in reply:
            raise PlantFailed(f"{operation}: {reply['error']}")
        return reply

    def _exchange(self, line: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=REPLY_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(line)
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            part = self._socket.recv(1 << 20)
            if not part:
                raise ConnectionError("connection closed")
            parts.append(part)
        reply, _, self._buffer = b"".join(parts).partition(b"\n")
        return reply


def start_plant(spec: Mapping[str, Any], directory: Path, timeout_s: float = START_TIMEOUT_S) -> PlantLink:
    """Start a plant that outlives this process; `spec["announce"]` names where it announces itself.

    Writes `spec.json` and `plant.stderr` into `directory`. Raises PlantFailed with what the plant wrote.
    """
    directory.mkdir(parents=True, exist_ok=True)
    announce, path = Path(spec["announce"]), directory / "spec.json"
    announce.unlink(missing_ok=True)
    path.write_text(json.dumps(spec))
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with (directory / "plant.stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "vpp.plant", str(path)], stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
            start_new_session=True, env={**os.environ, "PYTHONPATH": search},
        )  # fmt: skip
    deadline = time.monotonic() + timeout_s
    while not announce.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            if process.poll() is None:
                process.kill()
            code = process.wait()
            raise PlantFailed(f"the plant did not start ({code}):\n{(directory / 'plant.stderr').read_text()[-4000:]}")
        time.sleep(0.02)
    return PlantLink(json.loads(announce.read_text())["control_port"], process=process)


def connect(announce_path: Path) -> PlantLink:
    """A link to the plant that announced itself there. Raises PlantFailed where none runs."""
    try:
        port = json.loads(announce_path.read_text())["control_port"]
    except (OSError, ValueError, KeyError) as error:
        raise PlantFailed(f"no plant is announced at {announce_path}: {error}") from error
    link = PlantLink(port)
    link.hello()
    return link


def _time(text: str) -> datetime:
    return utc(datetime.fromisoformat(text))
