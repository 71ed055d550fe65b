"""Series and the background they drive, against the SimBench tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_models.background import Background, q_ratio
from grid_models.model import GridModel, load_grid
from grid_models.spec import NetworkSpec
from tests.grid_models.conftest import CACHE, SPEC
from vpp.domain.errors import UnknownElement


def test_series_cover_2016_in_utc_quarters_and_keep_load_and_generation_apart(model: GridModel) -> None:
    assert {s.start for s in model.series.values()} == {datetime(2015, 12, 31, 23, tzinfo=UTC)}
    assert {len(s.values) for s in model.series.values()} == {35136}
    assert {"load:lv_rural1", "gen:lv_rural1", "gen:WP5"} <= set(model.series)
    assert not np.array_equal(model.series["load:lv_rural1"].values, model.series["gen:lv_rural1"].values)
    assert set(model.q_values) == {s for s in model.series if s.startswith("load:")}
    assert all((s.values >= s.lower).all() and (s.values <= s.upper).all() for s in model.series.values())
    assert "gen:WP5" not in model.background.series


def test_background_equals_the_tables_row_by_row(model: GridModel, raw_net: Any) -> None:
    k = 12_345
    series = model.background.series
    p_values = np.array([[model.series[s].values[k]] for s in series])
    q_values = np.array([[model.q_values[s][k] if s in model.q_values else 0.0] for s in series])
    p, q = model.background.injection(p_values, q_values)
    wanted_p, wanted_q = (dict.fromkeys(raw_net.bus.index, 0.0) for _ in range(2))
    for _, row in raw_net.load.iterrows():
        wanted_p[row.bus] -= 1.5 * row.p_mw * model.series[f"load:{row.profile}"].values[k]
        wanted_q[row.bus] -= 1.5 * row.q_mvar * model.q_values[f"load:{row.profile}"][k]
    for number, row in raw_net.sgen.iterrows():
        if number not in SPEC.own_generation:
            wanted_p[row.bus] += row.p_mw * model.series[f"gen:{row.profile}"].values[k]
    np.testing.assert_allclose(p[0], list(wanted_p.values()), atol=1e-12)
    np.testing.assert_allclose(q[0], list(wanted_q.values()), atol=1e-12)


def test_scenarios_keep_their_leading_axis() -> None:
    background = Background(("a", "b"), np.array([[-1.0, 0.0], [0.0, 2.0]]), np.array([[-0.5, 0.0], [0.0, 0.0]]))
    p, q = background.injection(np.ones((5, 2, 3)), np.ones((5, 2, 3)))
    assert p.shape == q.shape == (5, 3, 2)
    assert (p == [-1.0, 2.0]).all() and (q == [-0.5, 0.0]).all()


def test_an_unknown_own_generator_raises_by_name() -> None:
    with pytest.raises(UnknownElement, match="sgen 4711"):
        load_grid(NetworkSpec(**{**SPEC.model_dump(), "own_generation": [4711]}), [], CACHE)


@given(st.floats(-2.0, 2.0), st.lists(st.floats(0.01, 10.0), min_size=1, max_size=20))
def test_a_constant_ratio_is_recovered_and_gaps_are_ignored(ratio: float, values: list[float]) -> None:
    p = np.array([[*values, np.nan, 3.0], [0.0] * (len(values) + 2)])
    q = ratio * p
    q[0, -1] = np.nan
    np.testing.assert_allclose(q_ratio(p, q), [ratio, 0.0], atol=1e-9)
