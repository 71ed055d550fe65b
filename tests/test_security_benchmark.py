"""The second verdict agrees with pandapower, and ten random oversized fleets break no limit on either engine."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from benchmarks import security
from benchmarks.second_engine import SecondEngine
from benchmarks.security_case import Draw, SecurityCase, built, draws, loaded
from benchmarks.security_reference import converged
from dispatch.exposure import bus_injection
from grid_models.model import GridModel

NETS = ("1-LV-rural1--2-sw", "1-LV-rural2--2-sw")
GIVEN = argparse.Namespace(deadline=30.0, gap=5e-3, reference=False)
Net = tuple[GridModel, SecondEngine]


@pytest.fixture(scope="module")
def nets() -> Iterator[dict[str, Net]]:
    found = {name: (loaded(name), SecondEngine(security.net_of(name))) for name in NETS}
    yield found
    for model, _ in found.values():
        model.network.close()


def hard_net() -> Any:
    """Two voltage levels with a shifted, tapped pair of transformers, fused buses, an open end and parallel lines."""
    net = pp.create_empty_network()
    hv, a, b, c, d, e = (pp.create_bus(net, kv, min_vm_pu=0.9, max_vm_pu=1.1) for kv in (110, 20, 20, 20, 20, 20))
    pp.create_ext_grid(net, hv, vm_pu=1.02, va_degree=12.0)
    for _ in range(2):
        pp.create_transformer_from_parameters(
            net, hv, a, 40.0, 112.0, 20.8, 0.3, 14.0, 35.0, 0.06, shift_degree=150.0, tap_side="hv", tap_neutral=0,
            tap_min=-9, tap_max=9, tap_pos=0, tap_step_percent=1.5, tap_step_degree=0.0, tap_changer_type="Ratio",
        )  # fmt: skip
    net.trafo.loc[1, ["tap_side", "parallel", "df"]] = "lv", 2, 0.9
    for f, t, km, parallel in ((a, b, 6.0, 2), (c, d, 9.0, 1), (d, e, 4.0, 1)):
        pp.create_line_from_parameters(
            net, f, t, km, 0.2, 0.12, 280.0, 0.3, g_us_per_km=1.5, parallel=parallel, df=0.95
        )
    pp.create_switch(net, b, c, "b", closed=True)
    pp.create_switch(net, e, 2, "l", closed=False)
    pp.create_switch(net, d, 1, "l", closed=True)
    return net


def test_the_second_engine_agrees_with_pandapower_on_taps_shifts_fused_buses_and_open_ends() -> None:
    net, rng = hard_net(), np.random.default_rng(3)
    p, q = rng.uniform(-3.0, 2.0, (4, 6)), rng.uniform(-1.0, 1.0, (4, 6))
    p[:, 5], q[:, 5] = 0.0, 0.0
    taps = np.array([[0, 0], [-4, 3], [5, -2], [-4, 3]])
    answer = SecondEngine(net).solve(p, q, taps)
    assert answer.converged.all()
    for k in range(4):
        theirs = copy.deepcopy(net)
        pp.create_loads(theirs, theirs.bus.index, p_mw=-p[k], q_mvar=-q[k])
        theirs.trafo["tap_pos"] = taps[k]
        pp.runpp(theirs, calculate_voltage_angles=True, lightsim2grid=False, numba=False, tolerance_mva=1e-10)
        np.testing.assert_allclose(answer.vm_pu[k], theirs.res_bus.vm_pu, atol=1e-6, rtol=0)
        loading = np.r_[theirs.res_line.loading_percent, theirs.res_trafo.loading_percent]
        np.testing.assert_allclose(answer.loading_pct[k], loading, atol=1e-4, rtol=0)


def test_the_second_engine_refuses_by_name_what_it_does_not_know() -> None:
    net = hard_net()
    pp.create_shunt(net, 1, 0.5)
    net.trafo.loc[0, "tap_changer_type"] = "Ideal"
    with pytest.raises(ValueError, match=r"table shunt; trafo 0: changer 'Ideal'"):
        SecondEngine(net)


def test_it_finds_what_is_broken_and_what_does_not_converge(nets: dict[str, Net]) -> None:
    model, second = nets[NETS[0]]
    case = built(Draw(NETS[0], date(2016, 7, 12), 2.0, 1), model)
    free = security.plan(case, 30.0, 1e-3, network=False).solution.schedule.power_mw
    flow = model.network.flow(case.grid, *bus_injection(case.exposure, free))
    ours = {(v.element, v.step) for v in model.network.violations(flow)}
    assert ours == {(v.element, v.step) for v in second.violations(flow)} and len(ours) > 10
    absurd = second.solve(1e4 * flow.p_mw[0, :3], flow.q_mvar[0, :3], flow.taps[0, :3])
    assert not absurd.converged.any() and np.isnan(absurd.vm_pu).all()


def test_a_draw_is_the_same_case_again_and_passes_over_days_nothing_of_ours_can_cure(nets: dict[str, Net]) -> None:
    model, _ = nets[NETS[1]]
    one, again = (built(draws(3, 5, NETS)[2], model) for _ in range(2))
    np.testing.assert_array_equal(one.problem.cost, again.problem.cost)
    np.testing.assert_array_equal(one.exposure.p_background_mw, again.exposure.p_background_mw)
    assert one.incurable == 0
    assert [d for d in draws(7, 5, NETS)][:3] == draws(3, 5, NETS)


def test_ten_random_fleets_break_no_limit_on_two_engines_within_ten_rounds(nets: dict[str, Net]) -> None:
    results = []
    for draw in draws(10, 1, NETS):
        model, second = nets[draw.net]
        results.append(security.run(built(draw, model, steps=48), second, GIVEN))
    totals = security.totals(results)["totals"]
    assert totals["cases"] == 10 and totals["violations_first"] > 50 and totals["cases_not_binding"] <= 2
    assert (totals["violations_final"], totals["violations_final_second"]) == (0, 0)
    assert totals["most_rounds"] <= 10
    assert all(r["cost_of_security"] >= -5e-3 * abs(r["objective"]) for r in results)


def test_security_costs_what_a_converged_optimum_at_equal_margins_costs(nets: dict[str, Net]) -> None:
    case: SecurityCase = built(Draw(NETS[0], date(2016, 6, 2), 2.0, 4), nets[NETS[0]][0], steps=24, integers=False)
    secured, free = (security.plan(case, 60.0, 1e-4, network=on) for on in (True, False))
    ours = secured.solution.objective - free.solution.objective
    reference = converged(case, secured) - free.solution.objective
    assert reference > 0.0
    assert ours == pytest.approx(reference, rel=1e-3)
