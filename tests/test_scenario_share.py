"""What the benchmark of the scenario share calls lost: only what no asset can relieve."""

from __future__ import annotations

import numpy as np

from benchmarks.scenario_share import _stays, reach_mw
from dispatch.problem import assemble
from tests.dispatch.tiny import exposure, generator, grid, idle, load, mill
from vpp.domain.network import Cut

ON = grid(2)


def test_the_reach_of_an_asset_is_what_its_columns_allow() -> None:
    ids = ("g", "m", "i", "l")
    blocks = [
        generator("g", ON, 3.0, 0.0), mill("m", ON, 0.9, 1), idle("i", ON, 2.0), load("l", np.array([0.4, 0.5])),
    ]  # fmt: skip
    low, high = reach_mw(assemble(ON, ids, blocks))
    np.testing.assert_allclose(low, [[0.0, 0.0], [-0.9, -0.9], [-2.0, -2.0], [-0.4, -0.5]])
    np.testing.assert_allclose(high, [[3.0, 3.0], [0.0, 0.0], [2.0, 2.0], [-0.4, -0.5]])


def test_a_row_stays_broken_only_where_the_best_ends_do_not_relieve_it() -> None:
    """Bus 2 takes 1.5 MW behind a line of 1 MW; a mill there runs at 0.9 MW and can stop, or one of 0.4 MW can."""
    cut = Cut("line 1", 0, 1, np.array([0.0, 0.0, -100.0]), np.zeros(3), 100.0)
    p = np.zeros((2, 2, 3))
    p[1, 0, 2] = -1.5
    for power, stays in ((-0.9, False), (-0.4, True)):
        plan, low, high = np.full((1, 2), power), np.full((1, 2), power), np.zeros((1, 2))
        where = exposure([2], np.zeros((2, 3)))
        assert _stays(cut, where, plan, low, high, p, np.zeros_like(p)) is stays
