"""The table of cases: what was known when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.cases import Cases, joined
from vpp.domain.errors import LookAhead


def three() -> Cases:
    at = np.array([0, 60, 120])
    return Cases(at, at + 60, at + 120, np.array([1.0, np.nan, 3.0]), np.arange(6.0).reshape(3, 2), ("a", "b"))


def test_an_outcome_known_at_its_issue_is_refused() -> None:
    with pytest.raises(LookAhead, match="1 cases"):
        replace(three(), known=np.array([120, 60, 240]))


def test_rows_out_of_order_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        three().rows(np.array([2, 0]))
    with pytest.raises(ValueError, match="names"):
        replace(three(), names=("a",))


def test_learnable_is_what_came_and_was_known() -> None:
    assert three().learnable(119).y.tolist() == []
    assert three().learnable(120).y.tolist() == [1.0]
    assert three().learnable(180).y.tolist() == [1.0]
    assert three().learnable(240).y.tolist() == [1.0, 3.0]


def test_columns_by_name() -> None:
    assert three().column("b").tolist() == [1.0, 3.0, 5.0]
    assert three().select(["b", "a"]).tolist() == [[1.0, 0.0], [3.0, 2.0], [5.0, 4.0]]
    with pytest.raises(KeyError, match="there are a, b"):
        three().column("c")


def test_joined_keeps_the_order_of_issue() -> None:
    later = replace(three(), issue=three().issue + 30, target=three().target + 30, known=three().known + 30)
    both = joined([three(), later])
    assert both.issue.tolist() == [0, 30, 60, 90, 120, 150]
    assert both.lead.tolist() == [60] * 6
    with pytest.raises(ValueError, match="different features"):
        joined([three(), replace(three(), names=("a", "c"))])
