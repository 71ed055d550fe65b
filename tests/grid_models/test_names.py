"""Names of the network's source: every bus and element of SimBench, and none where two are called the same."""

from __future__ import annotations

from typing import Any

from grid_models.model import GridModel
from grid_models.names import names_of
from tests.grid_models.feeder_net import feeder_net


def test_simbench_names_every_bus_and_element(model: GridModel, raw_net: Any) -> None:
    names = model.network.names
    assert names[raw_net.bus.at[93, "name"]] == "bus 93"
    assert names[raw_net.line.at[18, "name"]] == "line 18"
    assert set(names.values()) >= set(model.network.elements)


def test_a_name_of_two_names_none() -> None:
    net = feeder_net()
    net.bus["name"] = ["slack", "A", "A", None]
    net.line["name"] = ["B", "slack"]
    assert names_of(net) == {"B": "line 0"}
