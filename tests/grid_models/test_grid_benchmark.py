"""The network benchmark compares what it says it compares, and notices a wrong answer."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from benchmarks import grid, grid_pandapower
from benchmarks.grid_cases import STEPS, GridCase, day_curve, grid_case
from benchmarks.grid_peers import PEERS
from benchmarks.grid_studies import NEAR, STUDIES, Alteration, near_limit
from tests.grid_models.ring_net import ring_net
from tests.grid_models.test_contingencies import loaded

FIELDS = {
    "engine_s", "pandapower_s", "pandapower_best_s", "ratio", "ratio_best", "max_dv_pu", "max_dloading_pct",
    "verdict_mismatches", "cases",
}  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> GridCase:
    net = ring_net()
    tables = loaded(net, tmp_path_factory.mktemp("case")).network._tables
    share = np.random.default_rng(2).uniform(0.2, 0.8, len(net.bus))
    share[:2] = 0.0
    p = -share * day_curve()[:, None]
    return GridCase("ring", net, tables, p, 0.25 * p)


@pytest.mark.parametrize(("kind", "rows"), [("powerflow", 1), ("n-1", 12), ("reswitching", 14)])
def test_every_study_agrees_with_pandapower_near_its_limits(case: GridCase, kind: str, rows: int) -> None:
    given = argparse.Namespace(runs=1, sample=24, seed=1, engine="ours")
    found = grid.measure(kind, case, given)
    assert found.keys() >= FIELDS
    assert found["cases"] == rows * STEPS
    assert found["verdict_mismatches"] == 0
    assert found["max_dv_pu"] < 1e-6 and found["max_dloading_pct"] < 1e-4
    assert found["near_limit_share"] >= 0.2


def test_a_wrong_verdict_or_a_wrong_voltage_is_noticed(case: GridCase) -> None:
    answers = STUDIES["n-1"](case)
    loop = grid_pandapower.run(case, grid.sampled(answers, 8, 1), best=False)
    right, wrong, off = grid.Compared(), grid.Compared(), grid.Compared()
    right.add(case, answers, loop)
    wrong.add(case, replace(answers, violated=~answers.violated), loop)

    def moved(row: int, t: int) -> tuple[np.ndarray, np.ndarray] | None:
        found = answers.detail(row, t)
        return found and (found[0] + 1e-3, found[1] + 0.5)

    off.add(case, replace(answers, detail=moved), loop)
    assert (right.mismatches, wrong.mismatches) == (0, 8)
    assert off.dv_pu == pytest.approx(1e-3, rel=1e-4) and off.dloading_pct >= 0.5 - 1e-6


def test_scaling_brings_cases_to_their_limits_and_the_draw_takes_them(case: GridCase) -> None:
    study = STUDIES["n-1"]
    tight = study(near_limit(case, study, 3))
    near = np.abs(tight.used - 1.0) <= NEAR
    assert near.mean() > 0.1 > (np.abs(study(case).used - 1.0) <= NEAR).mean()
    drawn = [(s.row, t) for s in grid.near_and_far(tight, 40, 1) for t in s.steps]
    assert len(set(drawn)) == 40 and sum(near[at] for at in drawn) == 20


def test_an_altered_net_is_put_back(case: GridCase) -> None:
    net = grid_pandapower.lean(case)
    with grid_pandapower.altered(net, case, Alteration(11, (0,))):
        assert not net.trafo.in_service[1] and net.switch.closed[0]
    assert net.trafo.in_service[1] and net.line.in_service.all() and not net.switch.closed[0]


def test_a_day_without_profiles_is_refused() -> None:
    with pytest.raises(SystemExit, match="do not cover"):
        grid_case("1-MV-comm--2-sw", date(2019, 1, 1))


def test_a_pandapower_net_follows_the_stated_curve() -> None:
    case = grid_case("mv_oberrhein", date(2016, 1, 19))
    total = case.p_mw.sum(axis=1)
    assert (total.argmin(), total.argmax()) == (day_curve().argmax(), day_curve().argmin())
    assert total.max() / total.min() == pytest.approx(day_curve().min() / day_curve().max())


@pytest.mark.parametrize("kind", ["powerflow", "n-1"])
def test_power_grid_model_finds_the_same_voltages(case: GridCase, kind: str) -> None:
    """The open tie hangs on one end, so its outage is that of a shunt there; the peer knows no dark bus as NaN."""
    peer = PEERS["power-grid-model"](kind, case)()
    answers = STUDIES[kind](case)
    assert peer.differs(answers) < 1e-7
    rows = [(row, 50) for row in range(len(answers.alterations))]
    for row, t in rows:
        found = answers.detail(row, t)
        assert found is not None
        np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(peer.vm_pu[row, t]))


def test_the_peer_refuses_what_is_not_one_batch_of_a_model(case: GridCase) -> None:
    with pytest.raises(SystemExit, match="reswitching"):
        PEERS["power-grid-model"]("reswitching", case)
