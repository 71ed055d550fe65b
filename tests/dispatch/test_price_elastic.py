"""The price-elastic block against its literal statement, and the laws of demand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.assets import price_elastic
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import SEEDS, asset_of, context_of, grid_of, optimum, random_prices
from vpp.domain.errors import DataGap

PIECES = 6


def random_params(rng: np.random.Generator, substitution: float | None = None) -> price_elastic.Params:
    return price_elastic.Params(
        min_share=rng.uniform(0.5, 0.9),
        max_share=rng.uniform(1.1, 1.5),
        elasticity=-rng.uniform(0.1, 0.3),
        reference_price_eur_per_mwh=rng.uniform(60.0, 110.0),
        substitution=rng.choice([0.0, 0.3, 0.6]) if substitution is None else substitution,
        window_h=rng.integers(20, 181) / 60,
        response_sigma=0.1,
    )


def returned_by_minutes(minutes, window_min: int) -> np.ndarray:
    """(T, T): MWh felt in each step (row) per MWh moved away evenly over each step (column), cell by cell.

    Two minutes k apart lie less than the window apart wholly for 0 < k < window, half of them at the ends.
    """
    step_of = [t for t, length in enumerate(minutes) for _ in range(length)]
    felt = np.zeros((len(minutes), len(minutes)))
    for y, s in enumerate(step_of):
        for k in range(window_min + 1):
            if y + k < len(step_of):
                weight = 0.5 if k in (0, window_min) else 1.0
                felt[step_of[y + k], s] += weight / window_min / minutes[s]
    return felt


def lost_benefit(share: float, q) -> float:
    """Integral of the marginal benefit from `share` to the reference, per MWh of reference load."""
    missing = 1.0 - share
    return q.reference_price_eur_per_mwh * (missing - missing**2 / (2.0 * q.elasticity))


def oracle(q, load, grid, prices, owed=None) -> float:
    """One load: its lost benefit lies above every chord of the exact integral, its rebound is explicit energy.

    `owed` MW come back of what was moved before, as far as the load alone has room for them between its shares.
    """
    m, n = pyo.ConcreteModel(), grid.n
    felt = returned_by_minutes(grid.minutes, round(q.window_h * 60))
    m.t = pyo.RangeSet(0, n - 1)
    m.share = pyo.Var(m.t, bounds=(q.min_share, q.max_share))
    m.lost = pyo.Var(m.t)
    m.rules = pyo.ConstraintList()
    marks = [q.min_share + (1 - q.min_share) * k / PIECES for k in range(PIECES)]
    marks += [1 + (q.max_share - 1) * k / PIECES for k in range(PIECES + 1)]
    spent = 0
    for t in m.t:
        h = grid.minutes[t] / 60
        for a, b in pairwise(marks):
            slope = (lost_benefit(b, q) - lost_benefit(a, q)) / (b - a)
            m.rules.add(m.lost[t] >= lost_benefit(a, q) + slope * (m.share[t] - a))
        away_mwh = {s: grid.minutes[s] / 60 * float(load[s]) * (1 - m.share[s]) for s in m.t}
        back_mwh = q.substitution * sum(felt[t, s] * away_mwh[s] for s in m.t)
        before = 0.0 if owed is None else float(owed[t])
        before = min(max(before, (q.min_share - 1) * float(load[t])), (q.max_share - 1) * float(load[t]))
        used_mwh = h * float(load[t]) * m.share[t] + back_mwh + h * before
        if q.substitution > 0 or owed is not None:
            m.rules.add(used_mwh >= q.min_share * h * float(load[t]))
            m.rules.add(used_mwh <= q.max_share * h * float(load[t]))
        spent += h * float(load[t]) * m.lost[t] + prices[t] * used_mwh
        spent -= q.reference_price_eur_per_mwh * back_mwh
    m.cost = pyo.Objective(expr=spent)
    return optimum(m)


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_the_literal_model(seed: int) -> None:
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    prices = random_prices(rng, grid, -40.0, 400.0)
    fleet = [asset_of(f"e{i}", "price_elastic", random_params(rng)) for i in range(3)]
    fleet.append(asset_of("e3", "price_elastic", random_params(rng, substitution=0.5)))
    inputs = {a.id: {"load_mw": rng.uniform(0.3, 2.0, grid.n)} for a in fleet}
    for name in ("e1", "e3"):
        inputs[name]["owed_mw"] = rng.uniform(-1.0, 1.0, grid.n)
    block = price_elastic.block(fleet, context_of(grid, {}, inputs))
    solved = solve_block(block, [a.id for a in fleet], grid, prices)
    expected = sum(
        oracle(a.params, inputs[a.id]["load_mw"], grid, prices, inputs[a.id].get("owed_mw")) for a in fleet
    )
    assert solved.objective == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_roll_carries_in_what_is_owed(seed: int) -> None:
    """A day cut in two, the second half told what the first moved, is the day in one piece."""
    rng, grid = np.random.default_rng(seed), grid_of(seed)
    q = price_elastic.Params(
        min_share=0.1, max_share=1.9, elasticity=-0.15, reference_price_eur_per_mwh=80.0,
        substitution=0.6, window_h=rng.choice([0.4, 1.7, 9.0]),
    )  # fmt: skip
    load, price, cut = rng.uniform(0.5, 1.5, grid.n), rng.uniform(20.0, 160.0, grid.n), grid.n // 2
    whole = price_elastic.expected_response(q, load, price, grid.hours)
    moved = load[:cut] * (q.share(price[:cut]) - 1.0)
    owed = price_elastic.owed_from(q, grid.hours[:cut], moved, grid.hours[cut:])
    rest = price_elastic.expected_response(q, load[cut:], price[cut:], grid.hours[cut:], owed)
    assert rest == pytest.approx(whole[cut:], abs=1e-9)
    forgotten = price_elastic.expected_response(q, load[cut:], price[cut:], grid.hours[cut:])
    assert np.abs(forgotten - whole[cut:]).max() > 1e-3
    asset, inputs = asset_of("e", "price_elastic", q), {"load_mw": load[cut:], "owed_mw": owed}
    assert price_elastic.default_mw(asset, None, inputs, grid) == pytest.approx(-(load[cut:] + owed))


@pytest.mark.parametrize("seed", SEEDS)
def test_publishing_the_price_brings_the_planned_consumption(seed: int) -> None:
    rng, grid = np.random.default_rng(seed + 100), grid_of(seed)
    fleet = [asset_of(f"e{i}", "price_elastic", random_params(rng)) for i in range(4)]
    inputs = {a.id: {"load_mw": rng.uniform(0.3, 2.0, grid.n)} for a in fleet}
    block = price_elastic.block(fleet, context_of(grid, {}, inputs))
    solved = solve_block(block, [a.id for a in fleet], grid, random_prices(rng, grid))
    for asset, p in zip(fleet, solved.injection, strict=True):
        price = block.read(solved.x, {})[asset.id].decisions["price_eur_per_mwh"]
        load = inputs[asset.id]["load_mw"]
        answer = price_elastic.expected_response(asset.params, load, price, grid.hours)
        np.testing.assert_allclose(answer, -p, atol=1e-7)
        lower, upper = price_elastic.extremes(asset, inputs[asset.id])
        assert (lower - 1e-9 <= p).all() and (p <= upper + 1e-9).all()
        assert np.abs(p + load).max() > 1e-3


def test_the_expected_response_is_a_minute_simulation() -> None:
    """Every minute owes its share to the minutes that follow; quarter-hour means of that are the answer."""
    q = price_elastic.Params(
        min_share=0.2, max_share=2.0, elasticity=-0.2, reference_price_eur_per_mwh=80.0, substitution=0.5, window_h=1.5
    )
    rng, quarters = np.random.default_rng(3), 40
    load, price = rng.uniform(0.8, 1.2, quarters), rng.uniform(40.0, 160.0, quarters)
    used, owed = np.zeros(quarters * 15), np.zeros(quarters * 15 + 91)
    for minute in range(quarters * 15):
        t = minute // 15
        moved = load[t] * -0.2 * (price[t] / 80.0 - 1.0)
        owed[minute] -= 0.5 * moved / 90 / 2
        owed[minute + 1 : minute + 90] -= 0.5 * moved / 90
        owed[minute + 90] -= 0.5 * moved / 90 / 2
        used[minute] = load[t] + moved
    used += owed[: len(used)]
    answer = price_elastic.expected_response(q, load, price)
    np.testing.assert_allclose(answer, used.reshape(-1, 15).mean(axis=1), atol=1e-9)


def test_at_the_reference_price_nobody_moves() -> None:
    grid, q = grid_of(1), random_params(np.random.default_rng(1), substitution=0.4)
    load = np.random.default_rng(2).uniform(0.0, 2.0, grid.n)
    load[4] = 0.0
    block = price_elastic.block([asset_of("e", "price_elastic", q)], context_of(grid, {}, {"e": {"load_mw": load}}))
    flat = np.full(grid.n, q.reference_price_eur_per_mwh)
    solved = solve_block(block, ["e"], grid, flat)
    np.testing.assert_allclose(solved.injection[0], -load, atol=1e-9)
    np.testing.assert_allclose(block.read(solved.x, {})["e"].decisions["price_eur_per_mwh"], flat)
    assert solved.objective == pytest.approx(flat @ (load * grid.hours))


def test_what_is_reduced_comes_back_within_the_window() -> None:
    q = price_elastic.Params(
        min_share=0.1, max_share=1.9, elasticity=-0.2, reference_price_eur_per_mwh=80.0, substitution=0.6, window_h=2.0
    )
    price = np.full(40, 80.0)
    price[8:12] = 160.0
    change = price_elastic.expected_response(q, np.ones(40), price) - 1.0
    assert change[8:12].sum() < -0.5
    assert (change[12:20] > 0.0).all() and not np.abs(change[20:]).max() > 1e-12 and not change[:8].any()
    assert change.sum() == pytest.approx(-0.2 * 4 * (1.0 - 0.6))


@settings(max_examples=60, deadline=None)
@given(low=st.floats(-100.0, 400.0), more=st.floats(0.0, 300.0))
def test_demand_never_rises_with_the_price(low: float, more: float) -> None:
    q = price_elastic.Params(min_share=0.7, elasticity=-0.25, reference_price_eur_per_mwh=90.0)
    cheap, dear = (price_elastic.expected_response(q, np.ones(3), np.full(3, p)) for p in (low, low + more))
    assert (dear <= cheap).all() and (dear >= 0.7).all() and (cheap <= 1.5).all()
    assert q.share(q.benefit(cheap)) == pytest.approx(cheap)


def test_parameters_that_contradict_are_refused() -> None:
    good = {"min_share": 0.7, "elasticity": -0.2, "reference_price_eur_per_mwh": 80.0}
    price_elastic.Params(**good)
    for bad in ({"elasticity": 0.1}, {"min_share": 1.2}, {"max_share": 0.9}, {"substitution": 1.1}, {"window_h": 0.0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            price_elastic.Params(**{**good, **bad})


def test_a_missing_load_is_a_gap() -> None:
    q = random_params(np.random.default_rng(0))
    with pytest.raises(DataGap, match="e/load_mw"):
        price_elastic.block([asset_of("e", "price_elastic", q)], context_of(grid_of(0), {}))
