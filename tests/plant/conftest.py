"""Plants for the tests, ended with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.plant.running import INITIAL, START, Plant, Starter, assets, crowd
from vpp.domain.time import rfc3339


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Start as many plants as needed."""
    starter = Starter(tmp_path_factory.mktemp("plants"), [])
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def long_lived(start: Starter) -> Plant:
    """One plant in lockstep for a module: every device of the small fleet and a crowd of askable ones."""
    return start(
        assets=assets() + crowd(), initial=INITIAL | {m["id"]: {"stored_mwh": 10.0} for m in crowd()},
        end=rfc3339(START + timedelta(days=14)),
        randomness={"request_failure": 0.5, "request_share_low": 0.2},
    )  # fmt: skip


@pytest.fixture
def plant(long_lived: Plant) -> Plant:
    """The long-lived plant on a new day, all devices at their default."""
    long_lived.begin()
    return long_lived
