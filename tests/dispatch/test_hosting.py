"""Hosting capacity on a net with exact limits, and its laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.hosting import hosting_mw
from dispatch.pq_region import Around
from tests.dispatch import tiny
from tests.dispatch.tiny import ThreeBusNet


def around(net: ThreeBusNet | None, loads: list[float]) -> Around:
    p = np.array([[0.0, -mw, 0.0] for mw in loads])
    return Around(net, tiny.grid(len(loads)), p, np.zeros_like(p))


def test_by_hand() -> None:
    """Line 1 carries 1 MW to bus 2; line 0 2 MW to both, and the load of bus 1 makes room for as much generation."""
    found = hosting_mw(around(ThreeBusNet(), [0.5, 1.5]), [1, 2], 10.0)
    assert found[0] == pytest.approx(np.array([[1.5, 0.5], [2.5, 3.5]]), abs=0.02)
    assert found[1] == pytest.approx(np.array([[1.0, 0.5], [1.0, 1.0]]), abs=0.02)


def test_no_more_than_was_asked_and_nothing_where_the_plan_is_beyond_a_limit() -> None:
    assert hosting_mw(around(ThreeBusNet(), [0.5]), [2], 0.25).tolist() == [[[0.25], [0.25]]]
    assert not hosting_mw(around(ThreeBusNet(), [2.5]), [1, 2], 5.0).any()
    with pytest.raises(ValueError, match="needs a network"):
        hosting_mw(around(None, [0.5]), [1], 1.0)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.2, 3.0), st.floats(0.0, 1.0), st.floats(0.0, 0.1), st.floats(0.0, 1.0))
def test_what_is_hosted_is_clean_and_wider_lines_host_no_less(
    rating: float, load: float, bend: float, more: float
) -> None:
    given_net = around(ThreeBusNet((rating + 1.0, rating), bend), [load])
    found = hosting_mw(given_net, [2], 5.0)
    for side, sign in enumerate((-1.0, 1.0)):
        p = given_net.p_mw[None].copy()
        p[0, 0, 2] += sign * found[0, side, 0]
        assert given_net.network is not None
        assert given_net.network.violations(given_net.network.flow(given_net.grid, p, 0.0 * p), ["x"]) == []
    wider = hosting_mw(around(ThreeBusNet((rating + more + 1.0, rating + more), bend), [load]), [2], 5.0)
    assert (wider >= found - 0.01).all()
