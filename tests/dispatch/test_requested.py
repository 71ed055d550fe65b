"""What a group gives of a requested deviation, by hand: power, energy, direction, and room for the rebound."""

from __future__ import annotations

import numpy as np
import pytest

from dispatch.problem import assemble, cost_terms, read_schedule, with_block
from dispatch.requested import BEYOND_PER_MWH, ROOM, given_mw, requested_power
from dispatch.solvers.highs_door import Living
from tests.dispatch import tiny
from vpp.domain.time import Array

GRID = tiny.grid(4)
NONE = np.full(4, np.nan)


def given(
    sign: list[float], most: Array, level: Array | None = None, low: Array = NONE, high: Array = NONE
) -> tuple[Array, float]:
    """The deviation of a battery (1 MW, 1 MWh, half full, which ends no emptier), and what going beyond room cost."""
    ids, s = ("b", "l"), np.array(sign)
    blocks = [tiny.battery("b", GRID, 1.0, 1.0, 0.5), tiny.load("l", np.full(4, 2.0))]
    reference = np.full(4, -2.0) if level is None else level
    block = requested_power(ids, ids, GRID, reference, s, most, low, high)
    problem = with_block(assemble(GRID, ids, blocks), block)
    x = Living(problem).solve_lp(10.0).x
    schedule = read_schedule(problem, x, None, np.zeros(2))
    return given_mw(schedule, ids, reference, s, most), cost_terms(problem, x).get(ROOM, 0.0)


def test_each_interval_gives_what_is_asked_of_it() -> None:
    mw, _ = given([1, -1, 0, 0], np.array([0.3, 0.4, 0.0, 0.0]))
    assert mw == pytest.approx([0.3, -0.4, 0.0, 0.0])


def test_energy_is_shared_by_the_intervals() -> None:
    """The last quarter can take back 0.25 MWh, so that is all three give; downwards half a MWh has room."""
    mw, _ = given([1, 1, 1, 0], np.full(4, 1.0))
    assert mw[:3].sum() == pytest.approx(1.0) and mw.max() <= 1.0 + 1e-9
    down, _ = given([-1, -1, -1, 0], np.full(4, 1.0))
    assert down[:3].sum() == pytest.approx(-2.0)


def test_deviations_are_counted_from_the_level() -> None:
    """Said to consume 2.5 MW, the load alone gives half a MW; said to consume 1 MW, the store has to make that good."""
    more, _ = given([0, 1, 0, 0], np.full(4, 0.5), np.full(4, -2.5))
    assert more == pytest.approx([0.0, 0.5, 0.0, 0.0])
    nothing, _ = given([0, 1, 0, 0], np.full(4, 0.5), np.full(4, -1.0))
    assert nothing == pytest.approx(np.zeros(4), abs=1e-9)


def test_the_rebound_goes_where_there_is_room() -> None:
    """0.8 MW given is taken back in two quarters of which one has room for half of it, the other for all."""
    low, high = np.array([np.nan, -0.4, -0.8, -0.8]), np.array([np.nan, 0.0, 0.0, 0.0])
    mw, beyond = given([1, 0, 0, 0], np.array([0.8, 0, 0, 0]), low=low, high=high)
    assert mw[0] == pytest.approx(0.8) and beyond == pytest.approx(0.0, abs=1e-9)
    tight = np.array([np.nan, -0.1, -0.1, -0.1])
    mw, beyond = given([1, 0, 0, 0], np.array([0.8, 0, 0, 0]), low=tight, high=high)
    assert mw[0] == pytest.approx(0.8), "worth more than the room"
    assert beyond == pytest.approx((0.8 - 0.3) / 4 * BEYOND_PER_MWH)
