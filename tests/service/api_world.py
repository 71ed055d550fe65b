"""A served demo portfolio without a network on a real SQLite record, with two plans and one call made by hand."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx import Response

from adapters.store import Store, open_store
from forecasting.pipeline import Pipeline
from vpp.domain.forecast import Series
from vpp.domain.market import Event, EventStatus, FlexibilityOffer
from vpp.domain.network import Certificate
from vpp.domain.schedule import DispatchRun, Schedule, Solution
from vpp.domain.time import QUARTER, TimeGrid, rfc3339
from vpp.service.api.app import create_app
from vpp.service.inputs import series_used
from vpp.service.portfolio import load_portfolio
from vpp.service.series_book import SeriesBook
from vpp.service.system import System

DEMO = Path(__file__).resolve().parents[2] / "config" / "demo"
demo = cache(load_portfolio)
NOW = datetime(2016, 7, 12, 13, 0, tzinfo=UTC)
START = NOW + 10 * QUARTER


def made_system(store: Store) -> System:
    """The demo without its network; series of the grid are made up, five weeks of them."""
    loaded = demo(DEMO)
    begin = NOW - 96 * 35 * QUARTER
    day = 0.5 + 0.4 * np.sin(np.arange(96 * 36) * 2 * np.pi / 96)
    archive = {name: Series(name, begin, day) for name in series_used(loaded.portfolio)}
    archive |= loaded.series
    return System(loaded, store, SeriesBook(archive, NOW), Pipeline(None, workers=1))


def made_run(system: System, run_id: str, at: datetime = NOW, steps: int = 24, **changes: Any) -> DispatchRun:
    """A released intraday plan: everything at 0.1 MW times nothing but the battery at the glass works."""
    ids = tuple(a.id for a in system.portfolio.assets)
    power = np.zeros((len(ids), steps))
    power[ids.index("battery-glass")] = 0.1
    for asset, t, value in changes.pop("moves", ()):
        power[ids.index(asset), t] += value
    grid = TimeGrid.uniform(at, QUARTER, steps)
    stored = {"battery-glass": np.full(steps, 0.5)}
    schedule = Schedule(ids, grid, power, power * 0.0, stored_mwh=stored)
    run = DispatchRun(
        run_id, "intraday", "roll", at, at, "optimal", "", Solution(schedule, 12.5, 12.4, "optimal", {"energy": 12.5}),
        schedule, Certificate("clean", "test", 200, 0.97, None, {}, ()), "digest", {"total": 0.1},
    )  # fmt: skip
    return replace(run, **changes)


def made_offer(event: Event, site: str, assets: tuple[str, ...], mw: float) -> FlexibilityOffer:
    """`mw` expected, nine tenths of it for certain, on a baseline of -1 MW."""
    grid = TimeGrid.between(event.start, event.end, QUARTER)
    one = np.ones(grid.n)
    after = TimeGrid.uniform(event.end, QUARTER, 2)
    return FlexibilityOffer(
        f"{event.id}:{site}", event.id, site, assets, grid, mw * one, 0.9 * mw * one, event.price_eur_per_mwh,
        -one, "10in10", after, np.array([-0.2, 0.1]), 15,
    )  # fmt: skip


def made_event(**changes: Any) -> Event:
    """1 MW for an hour and a half from 15:30, answers by 13:30."""
    event = Event(
        "dr-1", 1, "feeder-relief", "feeder-9", NOW, START, START + 6 * QUARTER, 1.0, Decimal("240.00"),
        Decimal("180.00"), NOW + 2 * QUARTER, EventStatus.OFFERED,
    )  # fmt: skip
    return replace(event, **changes)


OFFERS = {"data-centre": ("cooling",), "cold-store": ("chambers",), "plastics-works": ("extruders",)}


class World:
    """The served system and a key of each kind; `now` is its clock."""

    def __init__(self, directory: Path, *, open_page: bool = False) -> None:
        self.store = open_store(directory / "record.db")
        self.system = made_system(self.store)
        self.now, self.lock = NOW, threading.RLock()
        self.app: FastAPI = create_app(self.system, lambda: self.now, self.lock, open_page=open_page)
        self.client = TestClient(self.app)
        create = self.store.access.create_key
        self.operator, self.desk = create("operator")[1], create("desk")[1]
        self.data_centre, self.cold_store = create("site", "data-centre")[1], create("site", "cold-store")[1]
        self.glass_works, self.issuer = create("site", "glass-works")[1], create("issuer", issuer="dso")[1]
        moves = [("battery-glass", 3, 0.3), ("mill-2", 5, -0.2)]
        self.store.runs.record(made_run(self.system, "r1", steps=24), [])
        self.store.runs.record(made_run(self.system, "r2", steps=25, moves=moves, released=False), [])
        event = self.store.events.save(made_event())
        for site, assets in OFFERS.items():
            self.store.events.save_offer(made_offer(event, site, assets, 0.4))

    def ask(self, token: str, method: str, path: str, **more: Any) -> Response:
        """With a key; another browser than any session's."""
        answer: Response = self.client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)
        return answer

    def override(self, **changes: Any) -> Response:
        """An hour of at most 0.2 MW from the battery of the glass works."""
        body = {"asset": "battery-glass", "lower_mw": 0.0, "upper_mw": 0.2, "expires_at": rfc3339(NOW + 4 * QUARTER),
                "reason": "fan is being replaced"}  # fmt: skip
        return self.ask(self.operator, "POST", "/v1/overrides", json={**body, **changes})

    def finished(self, token: str, path: str, within_s: float = 120.0) -> dict[str, Any]:
        """Poll until the job has ended."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            job: dict[str, Any] = self.ask(token, "GET", path).json()
            if job["status"] in ("done", "failed"):
                return job
            time.sleep(0.05)
        raise AssertionError(f"{path} did not end within {within_s} s")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A fresh one for each test."""
    made = World(tmp_path)
    yield made
    made.store.close()
