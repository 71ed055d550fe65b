"""The stacked problem says what its blocks say."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from dispatch.block import INF, Block, Columns, Rows
from dispatch.problem import (
    Infeasible,
    assemble,
    columns_of,
    cost_terms,
    group_rows,
    injection,
    limit_block,
    read_schedule,
    with_block,
    with_rows,
)
from dispatch.products.grid_fee import grid_fee
from tests.dispatch.tiny import battery, fleet, generator, grid, load, mill
from vpp.domain.errors import DataGap

ON = grid(3)
LOAD = np.array([1.0, 2.0, 3.0])


def three():
    return [load("l", LOAD), mill("m", ON, 2.0, runs=2, cost=5.0), battery("b", ON, 1.0, 4.0, 2.0)]


def test_injection_follows_the_order_of_ids_not_of_blocks() -> None:
    problem = assemble(ON, ("b", "l", "m"), three())
    x = np.r_[[1.0, 0.0, 1.0], [0.5, -0.5, 0.0], [1.9, 2.0, 2.0]]
    np.testing.assert_allclose(injection(problem, x), [[0.5, -0.5, 0.0], -LOAD, [-2.0, 0.0, -2.0]])


def test_rows_over_injections_shift_by_the_offset() -> None:
    total = Rows("total", -INF, -1.0, injection=group_rows(("l", "m", "b"), ("l", "b"), 3))
    problem = assemble(ON, ("l", "m", "b"), three(), [total])
    np.testing.assert_allclose(problem.row_upper[-3:], -1.0 + LOAD)
    x = np.zeros(problem.columns)
    x[columns_of(problem, "b", "p_mw")] = [1.0, 2.0, 3.0]
    np.testing.assert_allclose((problem.matrix @ x)[-3:], [1.0, 2.0, 3.0])


def test_rows_added_later_equal_rows_given_at_once() -> None:
    total = Rows("total", -INF, 0.0, injection=group_rows(("l", "m", "b"), ("l", "m", "b"), 3))
    at_once = assemble(ON, ("l", "m", "b"), three(), [total])
    later = with_rows(assemble(ON, ("l", "m", "b"), three()), total)
    np.testing.assert_allclose(later.matrix.toarray(), at_once.matrix.toarray())
    np.testing.assert_allclose(later.row_upper, at_once.row_upper)


def test_a_stacked_problem_is_in_memory_once() -> None:
    total = Rows("total", -INF, 0.0, injection=group_rows(("l", "m", "b"), ("l", "b"), 3))
    blocks = three()
    problem = assemble(ON, ("l", "m", "b"), blocks, [total])
    column, row = 0, 0
    for stated, kept in zip(blocks, problem.blocks, strict=True):
        assert [c.label for c in kept.columns] == [c.label for c in stated.columns]
        for group in kept.columns:
            for mine, whole in ((group.lower, problem.lower), (group.upper, problem.upper), (group.cost, problem.cost)):
                assert np.shares_memory(mine, whole)
                np.testing.assert_array_equal(mine, whole[column : column + group.size])
            column += group.size
        for band, before in zip(kept.rows, stated.rows, strict=True):
            assert band.own is None and band.size == before.size and np.shares_memory(band.lower, problem.row_lower)
            np.testing.assert_array_equal(band.upper, problem.row_upper[row : row + band.size])
            row += band.size
    assert (column, row) == (problem.columns, problem.rows - 3) and problem.extra[0][1].injection is not None


def test_blocks_of_a_stacked_problem_are_not_stacked_again() -> None:
    with pytest.raises(ValueError, match="matrices lie in the problem"):
        assemble(ON, ("l", "m", "b"), assemble(ON, ("l", "m", "b"), three()).blocks)


def test_a_block_added_later_has_its_own_columns_and_sees_injections() -> None:
    problem = assemble(ON, ("l", "m", "b"), three())
    grown = with_block(problem, grid_fee(("m",), ("l", "m", "b"), ON, np.full(3, 8.0)))
    x = np.zeros(grown.columns)
    x[columns_of(grown, "m", "on")] = 1.0
    x[columns_of(grown, "grid_fee", "consumed_mw")] = 2.0
    np.testing.assert_allclose((grown.matrix @ x)[-3:], 0.0)
    assert cost_terms(grown, x)["fee"] == pytest.approx(3 * 2.0 * 8.0 / 4)


def test_a_block_added_later_must_not_inject() -> None:
    with pytest.raises(ValueError, match="cannot inject"):
        with_block(assemble(ON, ("l",), [load("l", LOAD)]), generator("g", ON, 1.0, 1.0))


@given(st.lists(st.floats(-5, 5), min_size=9, max_size=9), st.floats(-100, 100))
def test_cost_terms_add_up_to_the_objective(values: list[float], offset: float) -> None:
    blocks = [replace(mill("m", ON, 2.0, 2, 5.0), offset=offset), generator("g", ON, 4.0, 40.0), load("l", LOAD)]
    fee = grid_fee(("m",), ("l", "m", "g"), ON, np.full(3, 8.0))
    problem = assemble(ON, ("l", "m", "g"), [*blocks, fee])
    x = np.array(values)
    assert sum(cost_terms(problem, x).values()) == pytest.approx(problem.objective(x))


def test_schedule_reads_each_block_with_its_own_columns_and_duals() -> None:
    problem = assemble(ON, ("l", "m", "b"), three())
    x = np.r_[[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [2.0, 2.1, 2.2]]
    duals = np.array([-7.0, -1.0, -2.0, -3.0])
    schedule = read_schedule(problem, x, duals, np.array([0.5, 0.0, 0.0]))
    np.testing.assert_allclose(schedule.q_mvar[0], -0.5 * LOAD)
    np.testing.assert_allclose(schedule.commitment["m"], [1, 0, 1])
    np.testing.assert_allclose(schedule.stored_mwh["b"], [2.0, 2.1, 2.2])
    np.testing.assert_allclose(schedule.marginal_value["b"], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(schedule.marginal_value["m"], 7.0)
    assert read_schedule(problem, x, None, np.zeros(3)).marginal_value == {}


def test_limits_make_rows_only_where_they_are_finite() -> None:
    low, high = np.array([-INF, -2.0, -INF]), np.array([INF, INF, 1.0])
    (rows,) = limit_block(("l", "m"), ON, {"m": (low, high)}).rows
    assert rows.size == 2
    np.testing.assert_allclose(rows.lower, [-2.0, -INF])
    assert rows.injection is not None
    assert rows.injection.indices.tolist() == [4, 5]


@pytest.mark.parametrize(
    ("ids", "match"), [(("l", "m", "b", "x"), "in no block: x"), (("l", "m"), "not in the problem: b")]
)
def test_every_asset_belongs_to_one_block(ids: tuple[str, ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        assemble(ON, ids, three())
    with pytest.raises(ValueError, match="in two blocks: l"):
        assemble(ON, ("l", "m", "b"), [*three(), load("l", LOAD)])


def test_missing_numbers_and_crossed_bounds_are_named() -> None:
    with pytest.raises(DataGap, match="g/p_mw"):
        assemble(ON, ("g",), [generator("g", ON, np.array([1.0, np.nan, 1.0]), 1.0)])
    with pytest.raises(DataGap, match="l/power_offset"):
        assemble(ON, ("l",), [load("l", np.array([1.0, np.nan, 1.0]))])
    with pytest.raises(Infeasible, match="g/p_mw"):
        assemble(ON, ("g",), [generator("g", ON, 1.0, 1.0, lower=2.0)])


def test_wrong_shapes_are_named() -> None:
    wrong = Rows("r", 0.0, 0.0, injection=sp.csr_array((1, 2)))
    with pytest.raises(ValueError, match="p/r"):
        assemble(ON, ("l",), [load("l", LOAD), Block("p", (Columns("c", (1, 3)),), (wrong,))])


def test_a_thousand_assets_stack_in_tenths_of_a_second() -> None:
    on, ids = grid(96), tuple(f"a{i}" for i in range(1000))
    blocks = [fleet("stores", on, ids[:500]), fleet("more stores", on, ids[500:])]
    cap = Rows("cap", -300.0, 300.0, injection=group_rows(ids, ids, 96))
    began = time.process_time()
    problem = assemble(on, ids, blocks, [cap])
    assert time.process_time() - began < 1.0
    assert (problem.columns, problem.rows) == (2 * 96_000, 96_096)
    assert problem.matrix[96_000:].nnz == 96_000
