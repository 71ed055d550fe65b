"""Everything the engine does not represent is refused by name."""

from __future__ import annotations

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
from tests.grid_models.small_net import small_net
from vpp.domain.errors import UnknownElement

SPEC = NetworkSpec(file="net.json", tap_changer="ratio")


def put(table: str, column: str, value: Any) -> Callable[[Any], None]:
    def mutate(net: Any) -> None:
        net[table][column] = net[table].get(column, pd.Series(index=net[table].index, dtype=object)).astype(object)
        net[table].at[net[table].index[0], column] = value

    return mutate


FAULTS: list[tuple[str, Callable[[Any], None]]] = [
    ("gen 0", lambda net: pp.create_gen(net, 2, 1.0)),
    ("shunt 0", lambda net: pp.create_shunt(net, 2, 1.0)),
    ("ward 0", lambda net: pp.create_ward(net, 2, 1.0, 0.0, 0.0, 0.0)),
    ("xward 0", lambda net: pp.create_xward(net, 2, 1.0, 0.0, 0.0, 0.0, 0.1, 0.1, 1.0)),
    ("impedance 0", lambda net: pp.create_impedance(net, 2, 3, 0.1, 0.1, 10.0)),
    ("dcline 0", lambda net: pp.create_dcline(net, 2, 3, 1.0, 0.0, 0.0, 1.0, 1.0)),
    ("storage 0", lambda net: pp.create_storage(net, 2, 1.0, 1.0)),
    ("motor 0", lambda net: pp.create_motor(net, 2, 1.0, 0.9)),
    ("ext_grid", lambda net: pp.create_ext_grid(net, 0)),
    ("load 0: voltage dependence const_z_p_percent", put("load", "const_z_p_percent", 30.0)),
    ("switch 0: type 'MAGIC' is unknown", put("switch", "type", "MAGIC")),
    ("switch 0: element type 't3'", put("switch", "et", "t3")),
    ("switch 0: impedance z_ohm", put("switch", "z_ohm", 0.1)),
    ("switch 0: bus 3 or bus 77 does not exist", put("switch", "element", 77)),
    ("switch 1: bus 0 is no end of line 3", lambda net: net.switch.__setitem__("bus", [3, 0])),
    ("open switch on trafo 0", lambda net: pp.create_switch(net, 1, 0, "t", closed=False)),
    ("trafo 0: tap changer type 'Symmetrical'", put("trafo", "tap_changer_type", "Symmetrical")),
    ("trafo 0: tap step in degrees", put("trafo", "tap_step_degree", 1.0)),
    ("trafo 0: tap dependency table", put("trafo", "tap_dependency_table", True)),
    ("trafo 0: second tap changer", put("trafo", "tap2_pos", 1.0)),
    ("trafo 0: tap data and no tap side", put("trafo", "tap_side", None)),
    ("trafo 0: automatic tap without set-point", put("trafo", "autoTap", 1)),
    ("line 0: no impedance", put("line", "length_km", 0.0)),
]


@pytest.mark.parametrize(("name", "mutate"), FAULTS, ids=[f[0] for f in FAULTS])
def test_what_nobody_models_is_named(name: str, mutate: Callable[[Any], None]) -> None:
    net = small_net()
    refuse_unmodelled(net, SPEC)
    mutate(net)
    with pytest.raises(UnknownElement, match=name.replace("(", r"\(")):
        refuse_unmodelled(net, SPEC)


def test_any_other_table_is_refused_even_one_nobody_has_heard_of() -> None:
    tables = [n for n, t in pp.create_empty_network().items() if isinstance(t, pd.DataFrame)]
    known = MODELLED + WITHOUT_PHYSICS
    others = [n for n in tables if n not in known and not n.startswith(PREFIXES_WITHOUT_PHYSICS)]
    assert {"gen", "trafo3w", "svc", "vsc", "asymmetric_load"} <= set(others)
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
    pp.create_gen(net, 2, 1.0)
    net.switch["type"] = "MAGIC"
    with pytest.raises(UnknownElement, match=r"gen 0.*switch 0") as caught:
        refuse_unmodelled(net, SPEC)
    assert str(caught.value).count(";") >= 1


def test_a_dead_band_narrower_than_a_step_is_refused() -> None:
    net = small_net()
    net.trafo["autoTap"], net.trafo["autoTapSetp"], net.trafo["autoTapSide"] = 1, 1.02, "lv"
    refuse_unmodelled(net, SPEC)
    with pytest.raises(UnknownElement, match="dead band is narrower"):
        refuse_unmodelled(net, NetworkSpec(file="net.json", tap_changer="ratio", tap_dead_band_pu=0.005))


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
