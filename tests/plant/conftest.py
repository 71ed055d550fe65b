"""Plants for the tests, ended with them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.plant.running import Plant, Starter


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Start as many plants as needed."""
    starter = Starter(tmp_path_factory.mktemp("plants"), [])
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def plant(start: Starter) -> Plant:
    """One plant in lockstep, shared by the tests of a module in their order."""
    return start()
