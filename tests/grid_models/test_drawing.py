"""What a drawing of the network needs: ends, positions, and what is open at a moment."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from pandapower.toolbox import reindex_buses

from grid_models import cache
from grid_models.model import AcNetwork, GridModel
from grid_models.spec import NetworkSpec
from grid_models.tabulate import tabulate
from tests.grid_models.conftest import OUTAGE
from tests.grid_models.small_net import small_net
from vpp.domain.portfolio import Outage

FILE = NetworkSpec(
    file="unused.json", load_growth=1.0, tap_changer="ratio", tap_dead_band_pu=0.01, own_generation=[],
    drop_storage=False,
)  # fmt: skip
BEFORE = OUTAGE.start - timedelta(seconds=1)


def drawn(net: Any) -> AcNetwork:
    return AcNetwork(tabulate(net, FILE), [], partial(cache.reference, Path("unused")))


def test_every_element_of_the_demo_ends_where_the_net_says(model: GridModel, raw_net: Any) -> None:
    ends = model.network.ends
    assert tuple(ends) == model.network.elements
    for number, line in raw_net.line.iterrows():
        assert ends[f"line {number}"] == (line.from_bus, line.to_bus)
    for number, trafo in raw_net.trafo.iterrows():
        assert ends[f"trafo {number}"] == (trafo.hv_bus, trafo.lv_bus)


def test_only_buses_with_both_limits_have_a_band() -> None:
    net = small_net()
    first, second = map(int, net.bus.index[:2])
    net.bus.loc[first, ["min_vm_pu", "max_vm_pu"]] = [0.93, 1.07]
    net.bus.loc[second, "min_vm_pu"] = float("nan")
    bands = drawn(net).bands
    assert bands[first] == (0.93, 1.07) and second not in bands


def test_every_bus_of_the_demo_lies_where_the_net_says(model: GridModel, raw_net: Any) -> None:
    places = model.network.coordinates
    assert tuple(places) == model.network.buses
    for number, geo in raw_net.bus.geo.items():
        assert places[number] == tuple(json.loads(geo)["coordinates"])


def test_bus_numbers_are_not_positions() -> None:
    net = small_net()
    reindex_buses(net, {b: 100 + 7 * b for b in net.bus.index})
    ends = drawn(net).ends
    assert ends == {"line 0": (107, 121), "line 1": (114, 128), "line 2": (121, 135), "line 3": (107, 114),
                    "trafo 0": (100, 107), "trafo 1": (100, 114)}  # fmt: skip


@pytest.mark.parametrize(
    "geo", [None, np.nan, "", "no json", "[11.0, 53.0]", "7", '{"type": "Point"}', '{"coordinates": [11.0]}',
            '{"coordinates": ["a", "b"]}', '{"coordinates": [NaN, 53.0]}', '{"coordinates": null}'],
)  # fmt: skip
def test_a_bus_without_a_readable_position_has_none(geo: Any) -> None:
    net = small_net()
    net.bus["geo"] = [geo, '{"type": "Point", "coordinates": [11.5, 53.25, 40.0]}', *[None] * 4]
    assert drawn(net).coordinates == {1: (11.5, 53.25)}


def test_a_net_without_positions_has_none() -> None:
    net = small_net()
    net.bus = net.bus.drop(columns="geo", errors="ignore")
    assert drawn(net).coordinates == {}


def test_the_planned_section_outage_opens_one_line_and_closes_another(model: GridModel) -> None:
    before, during = model.network.open_at(BEFORE), model.network.open_at(OUTAGE.start)
    assert during - before == {"line 84"}
    assert before - during == {"line 108"}
    assert model.network.open_at(OUTAGE.end) == before


def test_an_outage_without_its_tie_leaves_an_island_with_the_buses_it_feeds(model: GridModel) -> None:
    assert model.network.islands_without_source(BEFORE) == model.network.islands_without_source(OUTAGE.start) == ()
    alone = Outage("alone", OUTAGE.start, OUTAGE.end, (84,), {})
    network = AcNetwork(model.network._tables, [alone], partial(cache.reference, Path("unused")))
    assert network.islands_without_source(BEFORE) == () and network.digest == model.network.digest
    ((first, *others),) = network.islands_without_source(OUTAGE.start)
    assert first == 90 and set(others) == set(range(91, 107))


def test_out_of_service_and_open_switches_of_either_element_kind_count() -> None:
    net = small_net()
    assert drawn(net).open_at(BEFORE) == {"line 3"}
    net.line.loc[2, "in_service"] = False
    pp.create_switch(net, 2, 1, "t", closed=False, type="CB")
    assert drawn(net).open_at(BEFORE) == {"line 2", "line 3", "trafo 1"}
