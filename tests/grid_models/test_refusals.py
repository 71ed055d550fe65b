"""Everything the engine does not represent is refused by name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandapower as pp
import pandas as pd
import pytest
from pydantic import ValidationError

from grid_models.checks import MODELLED, PREFIXES_WITHOUT_PHYSICS, WITHOUT_PHYSICS, refuse_unmodelled
from grid_models.model import load_grid
from grid_models.spec import NetworkSpec
from grid_models.tabulate import tabulate
from tests.grid_models.small_net import small_net
from vpp.domain.errors import UnknownElement

SPEC = NetworkSpec(file="net.json", tap_changer="ratio")


def put(table: str, column: str, value: Any) -> Callable[[Any], object]:
    def mutate(net: Any) -> None:
        net[table][column] = net[table].get(column, pd.Series(index=net[table].index, dtype=object)).astype(object)
        net[table].at[net[table].index[0], column] = value

    return mutate


FAULTS: list[tuple[str, Callable[[Any], object]]] = [
    ("trafo3w 0", lambda net: net.trafo3w.__setitem__("hv_bus", [0])),
    ("xward 0", lambda net: pp.create_xward(net, 2, 1.0, 0.0, 0.0, 0.0, 0.1, 0.1, 1.0)),
    ("impedance 0: no impedance", lambda net: pp.create_impedance(net, 2, 3, 0.0, 0.0, 10.0)),
    ("gen 0: p_mw is no number", lambda net: pp.create_gen(net, 2, float("nan"))),
    ("gen 0: no voltage set-point", lambda net: pp.create_gen(net, 2, 1.0, vm_pu=float("nan"))),
    ("gen 0: its bus does not exist", lambda net: (pp.create_gen(net, 2, 1.0), net.gen.__setitem__("bus", 77))),
    ("shunt 0: step dependency table", lambda net: pp.create_shunt(net, 2, 1.0, step_dependency_table=True,
                                                                   id_characteristic_table=0)),
    ("storage 0", lambda net: pp.create_storage(net, 2, 1.0, 1.0)),
    ("motor 0", lambda net: pp.create_motor(net, 2, 1.0, 0.9)),
    ("no source is in service", lambda net: net.ext_grid.__setitem__("in_service", False)),
    ("load 0: voltage dependence const_z_p_percent", put("load", "const_z_p_percent", 30.0)),
    ("switch 0: type 'MAGIC' is unknown", put("switch", "type", "MAGIC")),
    ("switch 0: element type 't3'", put("switch", "et", "t3")),
    ("switch 0: impedance z_ohm", put("switch", "z_ohm", 0.1)),
    ("switch 0: bus 3 or bus 77 does not exist", put("switch", "element", 77)),
    ("switch 1: bus 0 is no end of line 3", lambda net: net.switch.__setitem__("bus", [3, 0])),
    ("switch 0: bus 3 is no end of trafo 0", lambda net: (put("switch", "et", "t")(net),
                                                           net.switch.__setitem__("element", 0))),
    ("trafo 0: tap changer type 'Tabular'", put("trafo", "tap_changer_type", "Tabular")),
    ("trafo 0: tap data and no neutral position", put("trafo", "tap_neutral", None)),
    ("trafo 0: an ideal phase shifter", lambda net: (put("trafo", "tap_changer_type", "Ideal")(net),
                                                      put("trafo", "tap_step_degree", 1.0)(net))),
    ("trafo 0: lowest tap position above the highest", put("trafo", "tap_min", 12)),
    ("trafo 0: tap dependency table", put("trafo", "tap_dependency_table", True)),
    ("trafo 0: second tap changer", put("trafo", "tap2_pos", 1.0)),
    ("trafo 0: tap data and no tap side", put("trafo", "tap_side", None)),
    ("trafo 0: automatic tap without set-point", put("trafo", "autoTap", 1)),
    ("line 0: no impedance", put("line", "length_km", 0.0)),
    ("line 0: r_ohm_per_km is no number", put("line", "r_ohm_per_km", None)),
    ("line 0: no current rating", put("line", "max_i_ka", None)),
    ("line 0: no loading limit", put("line", "max_loading_percent", -5.0)),
    ("bus 0: lowest voltage above the highest", put("bus", "min_vm_pu", 1.2)),
    ("load 0: scaling is no number", put("load", "scaling", None)),
]


@pytest.mark.parametrize(("name", "mutate"), FAULTS, ids=[f[0] for f in FAULTS])
def test_what_nobody_models_is_named(name: str, mutate: Callable[[Any], object]) -> None:
    net = small_net()
    refuse_unmodelled(net, SPEC)
    mutate(net)
    with pytest.raises(UnknownElement, match=name.replace("(", r"\(")):
        refuse_unmodelled(net, SPEC)


def test_any_other_table_is_refused_even_one_nobody_has_heard_of() -> None:
    tables = [n for n, t in pp.create_empty_network().items() if isinstance(t, pd.DataFrame)]
    known = MODELLED + WITHOUT_PHYSICS
    others = [n for n in tables if n not in known and not n.startswith(PREFIXES_WITHOUT_PHYSICS)]
    assert {"trafo3w", "xward", "svc", "vsc", "asymmetric_load"} <= set(others)
    for name in [*others, "flux_capacitor"]:
        net = small_net()
        net[name] = pd.DataFrame({"bus": [2]}, index=[4])
        with pytest.raises(UnknownElement, match=f"{name} 4"):
            refuse_unmodelled(net, SPEC)


def test_a_transformer_with_tap_data_and_no_type_is_refused_unless_the_spec_types_it() -> None:
    net = small_net()
    net.trafo["tap_changer_type"] = None
    refuse_unmodelled(net, SPEC)
    with pytest.raises(UnknownElement, match="trafo 0: tap data and no tap changer type"):
        refuse_unmodelled(net, NetworkSpec(file="net.json"))


def test_all_faults_are_listed_at_once() -> None:
    net = small_net()
    pp.create_motor(net, 2, 1.0, 0.9)
    net.switch["type"] = "MAGIC"
    with pytest.raises(UnknownElement, match=r"motor 0.*switch 0") as caught:
        refuse_unmodelled(net, SPEC)
    assert str(caught.value).count(";") >= 1


def test_a_dead_band_narrower_than_a_step_is_refused() -> None:
    net = small_net()
    net.trafo["autoTap"], net.trafo["autoTapSetp"], net.trafo["autoTapSide"] = 1, 1.02, "lv"
    refuse_unmodelled(net, SPEC)
    with pytest.raises(UnknownElement, match="dead band is narrower"):
        refuse_unmodelled(net, NetworkSpec(file="net.json", tap_changer="ratio", tap_dead_band_pu=0.005))


def test_an_automatic_tap_without_set_point_takes_the_specification_s() -> None:
    net = small_net()
    net.trafo["autoTap"], net.trafo["autoTapSide"] = 1, "lv"
    with pytest.raises(UnknownElement, match="trafo 0: automatic tap without set-point; trafo 1"):
        refuse_unmodelled(net, SPEC)
    spec = SPEC.model_copy(update={"tap_set_point_pu": 1.02})
    refuse_unmodelled(net, spec)
    assert tabulate(net, spec).trafos.set_point_pu.tolist() == [1.02, 1.02]
    net.trafo["autoTapSetp"] = [1.01, float("nan")]
    assert tabulate(net, spec).trafos.set_point_pu.tolist() == [1.01, 1.02]


def test_an_automatic_tap_that_turns_the_voltage_is_refused() -> None:
    net = small_net()
    net.trafo["autoTap"], net.trafo["autoTapSide"], net.trafo["autoTapSetp"] = 1, "lv", 1.0
    for column, value in (("tap_changer_type", "Ideal"), ("tap_step_degree", 90.0)):
        turned = copy.deepcopy(net)
        turned.trafo[column] = value
        with pytest.raises(UnknownElement, match="trafo 1: an automatic tap that turns the voltage"):
            refuse_unmodelled(turned, SPEC)


def test_the_specification_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        NetworkSpec(simbench="a", file="b")
    with pytest.raises(ValidationError):
        NetworkSpec.model_validate({"file": "a", "load_growth": float("nan")})
    with pytest.raises(ValidationError):
        NetworkSpec.model_validate({"file": "a", "colour": "red"})
    with pytest.raises(UnknownElement, match="does not exist"):
        load_grid(NetworkSpec(file=str(tmp_path / "none.json")), [], tmp_path)
    with pytest.raises(UnknownElement, match="no-such-code"):
        load_grid(NetworkSpec(simbench="no-such-code"), [], tmp_path)
    for name in ("no_such_net", "os", "__name__"):
        with pytest.raises(UnknownElement, match=f"pandapower has no network '{name}'"):
            load_grid(NetworkSpec(pandapower=name), [], tmp_path)
