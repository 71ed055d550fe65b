"""Large fleets of identical assets enter a stage's problem as one where nothing tells them apart, and only there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from dispatch.assets import battery
from dispatch.block import Block, Context
from dispatch.product import Call, Contract, UnitPosition
from dispatch.registry import KINDS
from tests.dispatch.block_solver import solve_block
from tests.dispatch.oracle_tools import START, asset_of, grid_of
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import Array
from vpp.service import assemble

N = assemble.MERGED_FROM
GRID = grid_of(0)


@dataclass(frozen=True)
class StageSeen:
    name: str = "day_ahead"


@dataclass(frozen=True)
class Seen:
    """What the merging reads of a situation."""

    stage: StageSeen = StageSeen()
    limits: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    positions: tuple[UnitPosition, ...] = ()
    contracts: tuple[Contract, ...] = ()
    rules: object | None = None


def fleet(n: int) -> tuple[list[Asset], Context]:
    params = battery.Params(
        power_mw=0.5, capacity_mwh=1.0, charge_efficiency=0.95, discharge_efficiency=0.95, wear_eur_per_mwh=3.0
    )
    assets = [asset_of(f"b{i}", "battery", params) for i in range(n)]
    states = {a.id: AssetState(a.id, START, START, 0.0, 0.4) for a in assets}
    return assets, Context(GRID, START, states, {})


def block_of(seen: Seen, assets: list[Asset], context: Context) -> Block:
    return assemble._kind_block(seen, "battery", assets, context)  # type: ignore[arg-type]


def stores(block: Block) -> int:
    return next(c.shape[0] for c in block.columns if c.label == "content")


def test_a_large_fleet_enters_as_one_and_earns_the_same() -> None:
    assets, context = fleet(N)
    merged, own = block_of(Seen(), assets, context), KINDS["battery"].block(assets, context)
    assert (stores(merged), stores(own)) == (1, N)
    price = 60.0 + 40.0 * np.sin(np.arange(GRID.n) / 3.0)
    ids = [a.id for a in assets]
    together, apart = solve_block(merged, ids, GRID, price), solve_block(own, ids, GRID, price)
    assert together.objective == pytest.approx(apart.objective, rel=1e-7)
    np.testing.assert_allclose(together.injection, np.broadcast_to(together.injection[0], together.injection.shape))
    results = merged.read(together.x, together.duals)
    assert set(results) == set(ids)


def test_a_small_fleet_real_time_reserve_and_rules_keep_their_own_columns() -> None:
    assets, context = fleet(N)
    assert stores(block_of(Seen(), assets[:-1], context)) == N - 1
    assert stores(block_of(Seen(stage=StageSeen("real_time")), assets, context)) == N
    reserve = Contract("reserve", None, tuple(a.id for a in assets))
    assert stores(block_of(Seen(contracts=(reserve,)), assets, context)) == N
    assert stores(block_of(Seen(rules=object()), assets, context)) == N


def test_limits_calls_positions_and_places_keep_assets_apart() -> None:
    assets, context = fleet(N)
    low, high = np.zeros(GRID.n), np.ones(GRID.n)
    assert stores(block_of(Seen(limits={"b3": (low, high), "b4": (low, high)}), assets, context)) == 3
    call = Call("c", ("b1", "b2"), low, high, 100.0)
    assert stores(block_of(Seen(calls=(call,)), assets, context)) == 2
    unit = UnitPosition("u", tuple(a.id for a in assets[:40]), low)
    assert stores(block_of(Seen(positions=(unit,)), assets, context)) == 2
    moved = [replace(a, bus=i % 3) for i, a in enumerate(assets)]
    assert stores(block_of(Seen(), moved, context)) == 3
