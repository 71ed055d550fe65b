"""Laws of the storing and batch kinds: the unit of power is a name, and more freedom never costs more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dispatch.block import EndValue
from dispatch.registry import KINDS
from tests.dispatch.block_solver import solve_block
from tests.dispatch.random_fleet import GRID_NAMES, Fleet, random_fleet

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
SCALED = ("_mw", "_mwh", "_eur", "_mva")
seeds, grids = st.integers(0, 10_000), st.sampled_from(GRID_NAMES)


def cost(fleet: Fleet, seed: int, valued: bool, size: float = 1.0) -> float:
    """Optimum of the fleet's one kind against random prices, its content valued at the end or not."""
    rng, ids = np.random.default_rng(seed), [a.id for a in fleet.assets]
    ends = {a: EndValue(np.array([size, size * 1e3]), np.array([90.0, 50.0])) for a in ids} if valued else {}
    block = KINDS[fleet.assets[0].kind].block(fleet.assets, fleet.context(end_value=ends))
    return solve_block(block, ids, fleet.grid, rng.uniform(-30.0, 200.0, fleet.grid.n)).objective


def times(value: Any, factor: float, name: str = "") -> Any:
    """Parameters with every power, energy and lump sum multiplied; prices per MWh and counts stay."""
    if isinstance(value, dict):
        return {k: times(v, factor, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [times(v, factor, name) for v in value]
    scaled = name.endswith(SCALED) and "_per_" not in name and value is not None
    return value * factor if scaled else value


def changed(fleet: Fleet, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Fleet:
    """The fleet with the parameters of every asset changed."""
    assets = tuple(
        replace(a, params=KINDS[a.kind].Params(**change(a.params.model_dump(mode="json")))) for a in fleet.assets
    )
    return replace(fleet, assets=assets)


@pytest.mark.parametrize("kind", ["battery", "backup_battery", "ev_fleet", "batch", "curtailable", "fixed_load"])
@settings(max_examples=8, deadline=None, phases=QUICK)
@given(seeds, grids, st.booleans())
def test_megawatts_or_kilowatts_make_the_same_plan(kind: str, seed: int, grid_name: str, valued: bool) -> None:
    fleet = random_fleet(seed, grid_name, (kind,))
    larger = replace(
        changed(fleet, lambda p: times(p, 50.0)),
        states={a: replace(s, power_mw=50.0 * s.power_mw, stored_mwh=50.0 * s.stored_mwh)
                for a, s in fleet.states.items()},
        inputs={a: {k: 50.0 * v for k, v in given.items()} for a, given in fleet.inputs.items()},
    )  # fmt: skip
    assert cost(larger, seed, valued, 50.0) == pytest.approx(50.0 * cost(fleet, seed, valued), rel=1e-6, abs=1e-4)


def wider_sessions(p: dict[str, Any]) -> dict[str, Any]:
    """Twice the feeder, and every car may feed back."""
    sessions = [{**s, "v2g_mw": s["power_mw"]} for s in p["sessions"]]
    return {**p, "feeder_mw": 2.0 * p["feeder_mw"], "sessions": sessions}


FREER: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "battery": lambda p: {**p, "power_mw": 1.5 * p["power_mw"], "soc_min": 0.0, "soc_max": 1.0},
    "backup_battery": lambda p: {**p, "reserve_h": 0.5 * p["reserve_h"], "soc_min": 0.0},
    "ev_fleet": wider_sessions,
    "batch": lambda p: {**p, "turnaround_min": 0, "setup_min": 0, "max_gap_min": None},
    "curtailable": lambda p: {**p, "s_rating_mva": 2.0 * p["s_rating_mva"], "curtailment_cost_eur_per_mwh": 0.0},
}


@pytest.mark.parametrize("kind", sorted(FREER))
@settings(max_examples=12, deadline=None, phases=QUICK)
@given(seeds, grids)
def test_more_freedom_never_costs_more(kind: str, seed: int, grid_name: str) -> None:
    """What was left in a store is worth the same from nothing on, so that only the choice grows."""
    fleet = random_fleet(seed, grid_name, (kind,))
    start = {a.id: replace(fleet.states[a.id], stored_mwh=0.5 * content(fleet, a.id)) for a in fleet.assets}
    fleet = replace(fleet, states=start)
    freer = changed(fleet, FREER[kind])
    assert worth(freer, seed) <= worth(fleet, seed) + 1e-5


def content(fleet: Fleet, name: str) -> float:
    """The capacity of a store; nothing of a batch, whose content says what has been made."""
    asset = next(a for a in fleet.assets if a.id == name)
    found = KINDS[asset.kind].store(asset)
    return 0.0 if found is None or asset.kind == "batch" else found[1]


def worth(fleet: Fleet, seed: int) -> float:
    """The cost with every MWh left at 60 EUR, counted from an empty store."""
    low = {a.id: (KINDS[a.kind].window(a.params) or (0.0, 0.0))[0] for a in fleet.assets}
    rng, ids = np.random.default_rng(seed), [a.id for a in fleet.assets]
    ends = {a: EndValue(np.array([1e3]), np.array([60.0])) for a in ids}
    block = KINDS[fleet.assets[0].kind].block(fleet.assets, fleet.context(end_value=ends))
    solved = solve_block(block, ids, fleet.grid, rng.uniform(0.0, 200.0, fleet.grid.n))
    return solved.objective - 60.0 * sum(low.values())
