"""Cuts against finite differences of the power flow, and what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from grid_models.cuts import MARGIN_PCT
from grid_models.model import GridModel
from tests.grid_models.conftest import Demo, with_extra
from vpp.domain.network import Cut, Flow


@pytest.fixture(scope="module")
def stressed(model: GridModel, demo: Demo) -> Flow:
    p, q = with_extra(demo, model, 7.0)
    return model.network.flow(demo.grid, np.stack([p, 1.2 * p]), np.stack([q, q]))


def percent(model: GridModel, flow: Flow, element: str) -> float:
    """Loading in %, or voltage in % of nominal, of a flow of one case and step."""
    kind, number = element.split()
    if kind == "bus":
        return float(flow.vm_pu[0, 0, model.network.buses.index(int(number))] * 100.0)
    return float(flow.loading_pct[0, 0, model.network.elements.index(element)])


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
