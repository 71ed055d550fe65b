"""Contingencies as a certificate and a grid desk read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from grid_models import cache
from grid_models.model import AcNetwork
from grid_models.spec import ContingencyKind, NetworkSpec
from tests.grid_models.conftest import quarters, solve_pandapower
from tests.grid_models.ring_net import COUPLER, ring_net
from tests.grid_models.test_contingencies import bare, loaded
from vpp.domain.errors import UnknownElement
from vpp.domain.network import FaultCheck, FaultNetwork, Flow, Relief
from vpp.domain.portfolio import Outage

START = datetime(2016, 3, 1, tzinfo=UTC)
STEPS = 4


def network(
    folder: Path, net: Any = None, outages: tuple[Outage, ...] = (), asked: tuple[ContingencyKind, ...] = ()
) -> AcNetwork:
    model = loaded(ring_net() if net is None else net, folder)
    return AcNetwork(model.network._tables, outages, partial(cache.reference, folder), asked)


def flow_of(net: AcNetwork, load_mw: float) -> Flow:
    """The same load at every bus of the ring at all steps, but for a lighter first step."""
    p = np.full((1, STEPS, len(net.buses)), -load_mw)
    p[..., :2], p[:, 0] = 0.0, 0.5 * p[:, 0]
    return net.flow(quarters(START, STEPS), p, 0.2 * p, np.zeros((1, STEPS, len(net.taps)), dtype=np.int64))


def by_name(found: tuple[FaultCheck, ...]) -> dict[str, FaultCheck]:
    return {f.name: f for f in found}


def test_single_outages_are_ranked_with_their_worst_element_and_lost_load(tmp_path: Path) -> None:
    net = network(tmp_path)
    flow = flow_of(net, 1.0)
    found = net.n_minus_one(flow)
    assert {c.outage for c in found} == set(net.elements)
    severities = [c.severity for c in found]
    assert severities == sorted(severities, reverse=True)
    lost = {c.outage: c.unsupplied_mw for c in found}
    assert (lost["line 0"], lost["line 1"], lost["line 9"], lost["trafo 0"]) == pytest.approx((5.0, 4.0, 1.0, 0.0))
    (one,) = net.n_minus_one(flow, ["trafo 0"])
    lean = bare(ring_net())
    lean.trafo.loc[0, "in_service"] = False
    light, heavy = (solve_pandapower(lean, flow.p_mw[0, t], flow.q_mvar[0, t], (0, 0)) for t in (0, 1))
    worst = int(np.nanargmax(heavy[1]))
    assert one.loading is not None and one.voltage is not None
    assert (one.loading.element, one.loading.loading_pct) == (net.elements[worst], pytest.approx(heavy[1][worst]))
    margin = np.array([np.maximum(0.95 - vm[1:], vm[1:] - 1.05) for vm, _ in (light, heavy)])
    step, bus = np.unravel_index(margin.argmax(), margin.shape)
    assert one.voltage.excess_pu == pytest.approx(margin.max(), abs=1e-8)
    assert one.voltage.vm_pu == pytest.approx((light, heavy)[step][0][1 + bus], abs=1e-8)
    assert (one.voltage.bus, one.voltage.limit_pu) == (f"bus {1 + int(bus)}", 1.05)
    with pytest.raises(UnknownElement, match="line 77"):
        net.n_minus_one(flow, ["line 77"])


def test_an_outage_in_a_stretch_of_another_switching_state_is_seen_at_its_steps(tmp_path: Path) -> None:
    """The coupler is closed for the last two steps and feeds bus 9 when line 8 goes."""
    tie = Outage("tie", START + timedelta(minutes=30), START + timedelta(hours=1), (), {COUPLER: True})
    net = network(tmp_path, outages=(tie,))
    flow = flow_of(net, 1.0)
    (one,) = net.n_minus_one(flow, ["line 8"])
    assert one.unsupplied_mw == pytest.approx(1.0)
    late = quarters(START + timedelta(minutes=30), 2)
    after = net.flow(late, flow.p_mw[:, 2:], flow.q_mvar[:, 2:], flow.taps[:, 2:])
    assert net.n_minus_one(after, ["line 8"])[0].unsupplied_mw == 0.0


def test_reswitching_names_the_open_point_and_leaves_nothing_dark(tmp_path: Path) -> None:
    net = network(tmp_path)
    found = {c.outage: c for c in net.reswitched(flow_of(net, 0.5))}
    assert set(found) == {f"line {n}" for n in (0, 1, 2, 3, 4, 5, 6, 8, 9)}
    assert all(c.unsupplied_mw == 0.0 for name, c in found.items() if name != "line 4")
    assert (found["line 3"].remedy, found["line 8"].remedy) == ("line 7", f"switch {COUPLER}")


def test_transformers_that_feed_alone_are_named_and_others_are_checked(tmp_path: Path) -> None:
    net = network(tmp_path)
    assert isinstance(net, FaultNetwork)
    both = by_name(net.after_faults(flow_of(net, 1.0)))
    assert set(both) == {"one_transformer_out", "planned_switching"}
    assert (both["one_transformer_out"].checked, both["one_transformer_out"].note) == (2, "")
    alone = ring_net()
    alone.trafo.loc[1, "in_service"] = False
    single = network(tmp_path, alone)
    found = by_name(single.after_faults(flow_of(single, 1.0)))["one_transformer_out"]
    assert (found.checked, found.broken) == (0, ()) and "trafo 0" in found.note


def test_a_broken_contingency_becomes_named_violations(tmp_path: Path) -> None:
    """Both transformers carry a load that the smaller one cannot carry even for a short time."""
    net = network(tmp_path, asked=("one_transformer_out",))
    flow = flow_of(net, 2.15)
    found = by_name(net.after_faults(flow))["one_transformer_out"]
    assert found.binding
    (broken,) = found.broken
    assert (broken.outage, broken.violated_steps) == ("trafo 0", STEPS - 1)
    named = {(v.element, v.case, v.limit) for v in broken.violations}
    assert named == {("trafo 1", "trafo 0", 120.0), ("bus 10", "trafo 0", 0.95)}


def test_what_an_emergency_rating_carries_for_minutes_has_to_be_relieved(tmp_path: Path) -> None:
    """Trafo 1 alone carries 105 to 120 % of its rating: not for ever, unless 6 MW of load can be cut."""
    strong = ring_net()
    strong.bus["min_vm_pu"] = 0.85
    net = network(tmp_path, strong, asked=("one_transformer_out",))
    flow = flow_of(net, 1.9)
    cut = flow.p_mw[0].copy()
    cut[:, 2:6] *= 0.2
    help_, none = Relief("load cut", cut, 0.2 * cut), Relief("generation cut", flow.p_mw[0], flow.q_mvar[0])
    for reliefs, relieved in (((), None), ((none,), None), ((none, help_), "load cut")):
        found = by_name(net.after_faults(flow, reliefs))["one_transformer_out"]
        assert found.broken == ()
        assert found.relieved == ({} if relieved is None else {"trafo 0": relieved})
        assert [c.outage for c in found.lasting] == ([] if relieved else ["trafo 0"])
    (lasting,) = by_name(net.after_faults(flow))["one_transformer_out"].lasting
    assert lasting.loading is not None and lasting.steps == (1, 2, 3)
    assert (lasting.loading.element, lasting.loading.limit_pct) == ("trafo 1", 100.0)
    assert 105.0 < lasting.loading.loading_pct < 120.0


def test_planned_states_are_checked_at_the_steps_of_the_others(tmp_path: Path) -> None:
    """With line 0 out and the tie closed the rest of the ring is too long for what it feeds all day."""
    late = Outage("works", START + timedelta(minutes=45), START + timedelta(hours=2), (0,), {0: True})
    net = network(tmp_path, ring_net(rating_ka=0.12), (late,))
    flow = flow_of(net, 0.5)
    found = by_name(net.after_faults(flow))["planned_switching"]
    assert not found.binding and found.checked == 2
    assert {c.outage for c in found.broken} == {"outage works"}
    assert found.broken[0].loading is not None and found.broken[0].loading.limit_pct == 100.0
    calm = net.flow(quarters(START + timedelta(days=3), STEPS), flow.p_mw, flow.q_mvar, flow.taps)
    assert by_name(net.after_faults(calm))["planned_switching"].note == "no other switching state is planned"


def test_all_outages_and_reswitching_are_made_only_when_asked_for(tmp_path: Path) -> None:
    net = network(tmp_path, asked=("n_minus_one", "reswitching"))
    found = by_name(net.after_faults(flow_of(net, 0.5)))
    assert found["n_minus_one"].checked == len(net.elements) and found["reswitching"].checked > 0
    assert found["n_minus_one"].binding and not found["one_transformer_out"].binding


def test_what_is_asked_for_is_no_reason_to_read_the_network_anew() -> None:
    asked = NetworkSpec(simbench="1-MV-comm--2-sw", contingencies=("reswitching",))
    assert cache.digest(asked) == cache.digest(NetworkSpec(simbench="1-MV-comm--2-sw"))


def test_a_contingency_without_solution_ranks_first_and_says_so(tmp_path: Path) -> None:
    net = network(tmp_path)
    p = np.zeros((1, 1, len(net.buses)))
    p[..., 4] = -35.0
    flow = net.flow(quarters(START, 1), p, 0.3 * p, np.zeros((1, 1, 2), dtype=np.int64))
    lost = [c for c in net.n_minus_one(flow) if c.unsolved_steps]
    assert lost and all(c.severity == np.inf and c.loading is None for c in lost)
    assert {v.element for c in lost for v in c.violations} == {"network"}



def test_pandapower_agrees_that_nothing_else_is_broken(tmp_path: Path) -> None:
    net = network(tmp_path)
    flow = flow_of(net, 2.6)
    broken = {c.outage for c in net.n_minus_one(flow) if c.violated_steps}
    lean, expected = bare(ring_net()), set()
    for name in net.elements:
        table, number = name.split()
        lean[table].loc[int(number), "in_service"] = False
        for t in (0, 1):
            try:
                vm, loading = solve_pandapower(lean, flow.p_mw[0, t], flow.q_mvar[0, t], (0, 0))
            except pp.LoadflowNotConverged:
                expected.add(name)
                continue
            outside = (vm[1:] < 0.95 - 1e-6) | (vm[1:] > 1.05 + 1e-6)
            if outside.any() or np.nanmax(loading) > 120.001:
                expected.add(name)
        lean[table].loc[int(number), "in_service"] = True
    assert broken == expected
