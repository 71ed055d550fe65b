"""Cuts against finite differences of the power flow, and what they promise."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from grid_models import cache
from grid_models.cuts import MARGIN_PCT
from grid_models.model import AcNetwork, GridModel
from tests.grid_models.conftest import Demo, quarters, with_extra
from tests.grid_models.meshed_net import meshed_net
from tests.grid_models.test_agreement import imported
from vpp.domain.network import Cut, Flow


@pytest.fixture(scope="module")
def stressed(model: GridModel, demo: Demo) -> Flow:
    p, q = with_extra(demo, model, 7.0)
    return model.network.flow(demo.grid, np.stack([p, 1.2 * p]), np.stack([q, q]))


def percent(model: GridModel, flow: Flow, element: str) -> float:
    """Loading in %, or voltage in % of nominal, of a flow of one case and step."""
    return value(model.network, flow, element)


def value(network: AcNetwork, flow: Flow, element: str) -> float:
    kind, number = element.split()
    if kind == "bus":
        return float(flow.vm_pu[0, 0, network.buses.index(int(number))] * 100.0)
    return float(flow.loading_pct[0, 0, network.elements.index(element)])


def test_directional_derivatives_equal_finite_differences(model: GridModel, stressed: Flow) -> None:
    rng = np.random.default_rng(5)
    cuts = model.network.cuts(stressed, near_pct=85.0)
    assert {c.element.split()[0] for c in cuts} == {"line", "bus"}
    for cut in cuts[::9]:
        d_p, d_q = rng.normal(size=(2, len(model.network.buses)))
        grid = stressed.grid.part(cut.step, cut.step + 1)
        at = (slice(cut.case, cut.case + 1), slice(cut.step, cut.step + 1))
        ends = [
            percent(model, model.network.flow(
                grid, stressed.p_mw[at] + e * d_p, stressed.q_mvar[at] + e * d_q, stressed.taps[at]
            ), cut.element)
            for e in (1e-4, -1e-4)
        ]  # fmt: skip
        slope = (ends[0] - ends[1]) / 2e-4
        stated = cut.dp @ d_p + cut.dq @ d_q
        assert abs(stated) == pytest.approx(abs(slope), rel=1e-6)


def overshoot(cut: Cut, flow: Flow) -> float:
    """How far the operating point lies beyond the cut."""
    p, q = flow.p_mw[cut.case, cut.step], flow.q_mvar[cut.case, cut.step]
    return float(cut.dp @ p + cut.dq @ q - cut.limit)


def test_every_violated_element_is_cut_off_by_its_excess(model: GridModel, stressed: Flow) -> None:
    violated = {(v.case, v.element, v.step): v for v in model.network.violations(stressed, ("0", "1"))}
    cuts = model.network.cuts(stressed, per_step=400)
    first: dict[tuple[str, str, int], float] = {}
    for cut in cuts:
        first.setdefault((str(cut.case), cut.element, cut.step), overshoot(cut, stressed))
    assert set(first) == set(violated)
    for key, v in violated.items():
        scale = 100.0 if v.unit == "pu" else 1.0
        assert first[key] == pytest.approx(abs(v.value - v.limit) * scale + MARGIN_PCT, abs=1e-6)


def test_a_reversed_current_is_bounded_as_well(model: GridModel, stressed: Flow) -> None:
    cuts = [c for c in model.network.cuts(stressed, per_step=400) if c.element.startswith("line")]
    pair = [c for c in cuts if (c.case, c.step, c.element) == (cuts[0].case, cuts[0].step, cuts[0].element)]
    assert len(pair) == 2
    np.testing.assert_allclose(pair[0].dp, -pair[1].dp)
    assert overshoot(pair[0], stressed) > 0.0 > overshoot(pair[1], stressed)


def test_at_most_per_step_cuts_with_the_worst_of_each_kind_first(model: GridModel, stressed: Flow) -> None:
    cuts = model.network.cuts(stressed, per_step=3)
    by_step: dict[tuple[int, int], list[Cut]] = {}
    for cut in cuts:
        by_step.setdefault((cut.case, cut.step), []).append(cut)
    assert max(map(len, by_step.values())) == 3
    for (case, step), mine in by_step.items():
        worst_line = int(np.argmax(stressed.loading_pct[case, step]))
        assert mine[0].element == model.network.elements[worst_line] or mine[0].element.startswith("bus")


def test_following_the_cuts_ends_in_a_clean_flow(model: GridModel, stressed: Flow) -> None:
    """Least curtailment of midday consumption under the cuts, round by round, cures the worst step."""
    from scipy.optimize import linprog

    t = int(np.nanargmax(stressed.loading_pct[0].max(axis=1)))
    p, q = stressed.p_mw[:1, t : t + 1].copy(), stressed.q_mvar[:1, t : t + 1].copy()
    buses = [model.network.buses.index(b) for b in range(90, 107)]
    rows: list[list[float]] = []
    right: list[float] = []
    shed = np.zeros(len(buses))
    for _ in range(8):
        now = p.copy()
        now[0, 0, buses] += shed
        flow = model.network.flow(stressed.grid.part(t, t + 1), now, q, stressed.taps[:1, t : t + 1])
        if not model.network.violations(flow):
            break
        for cut in model.network.cuts(flow):
            rows.append(cut.dp[buses].tolist())
            right.append(cut.limit - cut.dp @ p[0, 0] - cut.dq @ q[0, 0])
        answer = linprog(np.ones(len(buses)), A_ub=rows, b_ub=right, bounds=(0.0, 7.0 / 17))
        assert answer.status == 0
        shed = np.asarray(answer.x)
    assert not model.network.violations(flow) and 0.5 < shed.sum() < 7.0


@pytest.fixture(scope="module")
def transmission(tmp_path_factory: pytest.TempPathFactory) -> tuple[AcNetwork, Flow]:
    """A meshed net with machines, two sources and a second island, loaded until something breaks."""
    folder = tmp_path_factory.mktemp("meshed")
    _, tables, p, q = imported(meshed_net(), folder)
    network = AcNetwork(tables, [], partial(cache.reference, folder))
    factor = np.array([1.0, 2.0, 4.0])[:, None]
    return network, network.flow(quarters(datetime(2016, 3, 1, tzinfo=UTC), 3), (factor * p)[None], (factor * q)[None])


def test_cuts_of_a_net_with_machines_equal_finite_differences(transmission: tuple[AcNetwork, Flow]) -> None:
    """Machines answer with reactive power: none of theirs is in a cut, and the rest sees their voltages held."""
    network, flow = transmission
    rng = np.random.default_rng(6)
    cuts = network.cuts(flow, near_pct=20.0, per_step=40)
    assert {c.element.split()[0] for c in cuts} == {"line", "trafo", "bus"}
    held = [network.buses.index(b) for b in (1, 2, 3, 5, 7)]
    assert all((c.dq[held] == 0.0).all() for c in cuts) and any((c.dp[held] != 0.0).any() for c in cuts)
    for cut in cuts[::3]:
        d_p, d_q = rng.normal(size=(2, len(network.buses)))
        at = slice(cut.step, cut.step + 1)
        ends = [
            value(network, network.flow(
                flow.grid.part(cut.step, cut.step + 1), flow.p_mw[:, at] + e * d_p, flow.q_mvar[:, at] + e * d_q,
                flow.taps[:, at],
            ), cut.element)
            for e in (1e-4, -1e-4)
        ]  # fmt: skip
        assert abs(cut.dp @ d_p + cut.dq @ d_q) == pytest.approx(abs(ends[0] - ends[1]) / 2e-4, rel=1e-5, abs=1e-6)


def test_no_cut_asks_for_another_voltage_at_a_machine(transmission: tuple[AcNetwork, Flow]) -> None:
    network, flow = transmission
    buses = {c.element for c in network.cuts(flow, near_pct=0.0, per_step=60) if c.element.startswith("bus")}
    assert buses and not buses & {f"bus {b}" for b in (0, 1, 2, 3, 4, 5, 7, 9)}


def test_what_is_asked_for_is_linearised_whatever_it_uses_and_nothing_else(model: GridModel, stressed: Flow) -> None:
    usual = model.network.cuts(stressed, per_step=400)
    loading = stressed.loading_pct[0, 3]
    idle = model.network.elements[int(np.nanargmin(np.where(loading > 1.0, loading, np.nan)))]
    asked = {(usual[0].case, usual[0].step): {usual[0].element}, (0, 3): {idle, "bus 95", "line 100000"}}
    found = model.network.cuts(stressed, asked=asked)
    assert {(c.case, c.step, c.element) for c in found} == {
        (usual[0].case, usual[0].step, usual[0].element), (0, 3, idle), (0, 3, "bus 95")
    }  # fmt: skip
    again = next(c for c in found if c.element == usual[0].element and c.step == usual[0].step)
    np.testing.assert_allclose(again.dp, usual[0].dp, atol=1e-9)
    assert again.limit == pytest.approx(usual[0].limit)
    at = next(c for c in found if c.element == idle)
    assert overshoot(at, stressed) == pytest.approx(
        loading[model.network.elements.index(idle)] - 100.0 + MARGIN_PCT, abs=1e-6
    )
