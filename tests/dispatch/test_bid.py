"""The curve rises with the price, passes through the plan, and finds the marginal costs of a fleet."""

from __future__ import annotations

import numpy as np
import pytest

from dispatch.bid import price_quantity_curve
from dispatch.problem import assemble
from dispatch.products.energy import bid_energy
from dispatch.secure import secure_plan
from tests.dispatch.tiny import ThreeBusNet, battery, exposure, generator, grid, mill
from vpp.domain.errors import NotSolved

ON = grid(16)
IDS = ("cheap", "dear", "b", "m")
LEVELS = np.array([-40.0, -10.0, 0.0, 10.0, 40.0])
PRICE = np.r_[np.full(8, 30.0), np.full(8, 60.0)]
SOLD = np.r_[np.zeros(4, dtype=bool), np.ones(12, dtype=bool)]


def fleet():
    blocks = [generator("cheap", ON, 2.0, 25.0), generator("dear", ON, 3.0, 65.0), battery("b", ON, 1.0, 1.0, 0.5)]
    return assemble(ON, IDS, [*blocks, mill("m", ON, 0.9, 4), bid_energy(IDS, IDS, ON, PRICE)])


def curve(**more: object):
    plan = secure_plan(fleet(), None, None, deadline_s=30, rel_gap=0.0)
    found = price_quantity_curve(plan.problem, plan.x, "energy", PRICE, LEVELS, SOLD, deadline_s=30.0, **more)
    return plan.solution.schedule.power_mw.sum(0), *found


def test_the_curve_rises_and_holds_the_plan_at_the_expected_price() -> None:
    plan, price, mw = curve()
    assert price.shape == mw.shape == (5, 16)
    assert (np.diff(mw, axis=0) >= 0).all()
    np.testing.assert_allclose(mw[2], plan, atol=1e-6)
    np.testing.assert_allclose(price[:, 0], [-10, 20, 30, 40, 70])
    np.testing.assert_allclose(mw[:, ~SOLD], np.tile(plan[~SOLD], (5, 1)), atol=1e-6)


def test_generators_enter_and_leave_at_their_marginal_cost() -> None:
    _, price, mw = curve()
    for t in np.flatnonzero(SOLD):
        low, high = price[:, t] < 25.0, price[:, t] > 65.0
        assert (mw[low, t] <= 1.0 + 1e-6).all(), "below 25 EUR/MWh at most the battery sells"
        if high.any() and not low.all():
            assert mw[high, t].max() >= mw[~high, t].max() + 1.0


def test_cuts_of_the_plan_bind_the_curve() -> None:
    net = ThreeBusNet(rating_mw=(2.5, 9.0))
    where = exposure([1, 1, 1, 1], np.zeros((16, 3)))
    plan = secure_plan(fleet(), net, where, deadline_s=30, rel_gap=0.0)
    free = secure_plan(fleet(), None, None, deadline_s=30, rel_gap=0.0)
    _, cut = price_quantity_curve(plan.problem, plan.x, "energy", PRICE, LEVELS, SOLD, deadline_s=30.0)
    _, uncut = price_quantity_curve(free.problem, free.x, "energy", PRICE, LEVELS, SOLD, deadline_s=30.0)
    assert cut[:3].max() <= 2.5 + 1e-3 < uncut.max()


def test_levels_ascend_and_late_is_late() -> None:
    plan = secure_plan(fleet(), None, None, deadline_s=30)
    with pytest.raises(ValueError, match="ascend"):
        price_quantity_curve(plan.problem, plan.x, "energy", PRICE, LEVELS[::-1], SOLD, deadline_s=30.0)
    with pytest.raises(NotSolved, match="late"):
        price_quantity_curve(plan.problem, plan.x, "energy", PRICE, LEVELS, SOLD, deadline_s=0.0)
