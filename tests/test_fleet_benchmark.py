"""The fleet benchmark states one mathematical problem in every layer, and the storage benchmark its peers' case."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import storage_fleet
from benchmarks.fleet import fleet_of, problem_of
from benchmarks.fleet_case import fleet_case
from benchmarks.fleet_peers import LAYERS, relaxed_optimum
from dispatch.check import check_schedule
from dispatch.problem import read_schedule
from dispatch.solvers.highs_door import NEVER_S, Living

ASSETS = 13


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_every_layer_states_the_same_problem(layer: str) -> None:
    pytest.importorskip(layer)
    case = fleet_case(ASSETS)
    ours = problem_of(case, fleet_of(case))
    theirs = LAYERS[layer](case).highs
    sizes = theirs.getNumRow(), theirs.getNumCol(), theirs.getNumNz()
    assert sizes == (ours.rows, ours.columns, ours.matrix.nnz)
    assert relaxed_optimum(theirs) == pytest.approx(Living(ours).solve_lp(NEVER_S).objective, rel=1e-8)


def test_the_same_matrix_reaches_highs_from_pyomo() -> None:
    """Beyond sizes: coefficients, costs and finite bounds are the same numbers, in whatever order."""
    pytest.importorskip("pyomo")
    case = fleet_case(4)
    ours, theirs = problem_of(case, fleet_of(case)), LAYERS["pyomo"](case).highs.getLp()
    np.testing.assert_allclose(np.sort(np.abs(ours.matrix.data)), np.sort(np.abs(theirs.a_matrix_.value_)), atol=1e-12)
    np.testing.assert_allclose(np.sort(np.abs(ours.cost)), np.sort(np.abs(theirs.col_cost_)), atol=1e-12)
    np.testing.assert_allclose(np.sort(ours.upper), np.sort(theirs.col_upper_), atol=1e-12)
    np.testing.assert_allclose(np.sort(ours.lower), np.sort(theirs.col_lower_), atol=1e-12)


def test_a_layer_that_is_not_installed_says_what_to_install() -> None:
    code = (
        "import importlib.util as u, benchmarks.fleet as f\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'linopy' else find(name, *a)\n"
        "f.run(4, 'linopy')\n"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == "--layer linopy needs the package linopy: make setup (development packages)"


@pytest.mark.parametrize(("batteries", "cost"), [(1, 517.862), (10, 3706.389)])
def test_the_storage_case_costs_what_is_published(batteries: int, cost: float) -> None:
    objective, schedule = storage_fleet.plan(storage_fleet.storage_case(batteries))
    assert objective == pytest.approx(cost, abs=5e-4)
    assert schedule.power_mw.shape == (batteries + 1, storage_fleet.STEPS)


def test_a_plan_of_the_fleet_keeps_every_rule_and_the_connection() -> None:
    case = fleet_case(6)
    fleet = fleet_of(case)
    problem = problem_of(case, fleet)
    raw = Living(problem).solve_mip(120.0, 0.2)
    schedule = read_schedule(problem, raw.x, None, np.zeros(6))
    assets = [a for members in fleet.assets.values() for a in members]
    assert check_schedule(assets, fleet.context.states, fleet.context.inputs, schedule) == []
    assert float(-schedule.power_mw.sum(axis=0).min()) <= case.connection_mw + 1e-6


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("vpp_uc.py", ["--storages", "0", "--processes", "0", "--chp", "0"], "one of them at least 1"),
        ("vpp_uc.py", ["--storages", "-1"], "numbers of assets are 0 or more"),
        ("vpp_uc.py", ["--network", "nosuch"], "simbench code 'nosuch' is unknown"),
        ("rolling.py", ["--assets", "0"], "a fleet needs at least one asset"),
    ],
)
def test_wrong_numbers_are_refused_in_one_line(script: str, arguments: list[str], told: str) -> None:
    run = subprocess.run([sys.executable, f"benchmarks/{script}", *arguments], capture_output=True, text=True)
    assert run.returncode == 2
    assert told in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
