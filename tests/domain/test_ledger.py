"""A MW is claimed once: what is left of a headroom, over energy, reserve and demand response."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp.domain.errors import SoldTwice
from vpp.domain.ledger import Claim, Ledger
from vpp.domain.time import TimeGrid

GRID = TimeGrid.uniform(datetime(2016, 7, 12, tzinfo=UTC), timedelta(minutes=15), 4)
EVERYONE = ("battery", "mill", "pv")


def mw(*values: float) -> np.ndarray:
    return np.array(values) if len(values) > 1 else np.full(4, float(values[0]))


def book() -> Ledger:
    """A battery of 1 MW, a mill of 2 MW and 3 MW of sun: from -3 to 4 MW."""
    low = {"battery": mw(-1), "mill": mw(-2), "pv": mw(0)}
    return Ledger(GRID, low, {"battery": mw(1), "mill": mw(0), "pv": mw(3)})


def energy(level: float | np.ndarray, name: str = "energy unit") -> Claim:
    return Claim(name, "energy", EVERYONE, mw(0) + level, from_mw=mw(0))


def reserve(asset: str, amount: float, product: str = "afrr", direction: str = "up") -> Claim:
    return Claim(f"{product} {asset}", product, (asset,), mw(amount), direction, None)  # type: ignore[arg-type]


def order(assets: tuple[str, ...], baseline: float, amount: float, name: str = "dr") -> Claim:
    return Claim(name, "dr", assets, mw(amount), from_mw=mw(baseline))


def test_energy_and_reserve_share_the_range() -> None:
    sold = book().with_claim(energy(3.0))
    np.testing.assert_allclose(sold.left_mw(reserve("battery", 0.0)), 1.0)
    held = sold.with_claim(reserve("battery", 0.6))
    np.testing.assert_allclose(held.left_mw(reserve("battery", 0.0)), 0.4)
    with pytest.raises(SoldTwice, match=r"mfrr mill: 0\.500 MW of mfrr at 2016-07-12T00:00:00Z, the limit is 0\.400 MW "
                       r"beside energy unit"):  # fmt: skip
        held.with_claim(reserve("mill", 0.5, "mfrr"))
    with pytest.raises(SoldTwice, match="afrr battery"):
        held.with_claim(energy(0.5, "more energy"))


def test_the_same_reserve_is_not_sold_to_two_products() -> None:
    first = book().with_claim(reserve("battery", 1.5))
    with pytest.raises(SoldTwice, match=r"mfrr battery: 0\.600 MW"):
        first.with_claim(reserve("battery", 0.6, "mfrr"))
    assert len(first.with_claim(reserve("battery", 0.5, "mfrr")).claims) == 2
    assert first.with_claim(reserve("battery", 0.5, "afrr", "down")).claims
    with pytest.raises(SoldTwice):
        first.with_claim(reserve("battery", 0.6, "afrr", "down"))


def test_an_order_and_a_reserve_are_not_met_by_the_same_megawatt() -> None:
    """The mill runs by its baseline: what is ordered to stop cannot stop again."""
    called = book().with_claim(order(("mill",), -2.0, 1.5))
    np.testing.assert_allclose(called.left_mw(reserve("mill", 0.0)), 0.5)
    with pytest.raises(SoldTwice, match="beside dr"):
        called.with_claim(reserve("mill", 0.6))
    with pytest.raises(SoldTwice, match="second"):
        called.with_claim(order(("mill", "battery"), -2.0, 2.0, "second"))
    held = book().with_claim(reserve("mill", 2.0))
    with pytest.raises(SoldTwice, match="beside afrr mill"):
        held.with_claim(order(("mill",), -2.0, 0.1))


def test_energy_and_an_order_may_be_the_same_injection() -> None:
    assert len(book().with_claims([energy(4.0), order(("mill",), -2.0, 2.0)]).claims) == 2


def test_down_reserve_keeps_the_level_above_the_lowest() -> None:
    sold = book().with_claim(energy(-2.0))
    np.testing.assert_allclose(sold.left_mw(reserve("battery", 0.0, direction="down")), 1.0)
    with pytest.raises(SoldTwice):
        sold.with_claim(reserve("battery", 1.1, direction="down"))
    held = book().with_claim(reserve("battery", 1.0, direction="down"))
    with pytest.raises(SoldTwice, match=r"-2\.500 MW of energy"):
        held.with_claim(energy(-2.5))
    np.testing.assert_allclose(held.bounds_mw(EVERYONE), [mw(-2), mw(4)])


def test_a_step_without_a_claim_binds_nothing() -> None:
    sold = book().with_claim(energy(np.array([np.nan, 4.0, np.nan, 4.0])))
    np.testing.assert_allclose(sold.left_mw(reserve("battery", 0.0)), [2.0, 0.0, 2.0, 0.0])
    assert sold.with_claim(Claim("r", "afrr", ("battery",), np.array([1.0, 0.0, 1.0, 0.0]))).claims


@given(st.lists(st.tuples(st.sampled_from(EVERYONE), st.floats(0.0, 2.0), st.booleans()), max_size=8))
def test_whatever_is_claimed_can_be_met_at_once(wanted: list[tuple[str, float, bool]]) -> None:
    """Every accepted set of claims leaves each asset a set-point with its reserves inside its range."""
    ledger = book().with_claim(energy(1.0))
    for i, (asset, amount, up) in enumerate(wanted):
        try:
            ledger = ledger.with_claim(reserve(asset, amount, f"p{i}", "up" if up else "down"))
        except SoldTwice:
            continue
    low, high = ledger.bounds_mw(EVERYONE)
    assert (low - 1e-2 <= 1.0).all() and (high + 1e-2 >= 1.0).all()
    for asset in EVERYONE:
        least, most = ledger.bounds_mw((asset,))
        assert (least <= most + 1e-2).all()


def test_an_order_may_be_exceeded_in_its_direction_and_not_fall_short() -> None:
    """From -3 to 4 MW, with 1 MW held up and 0.5 MW held down; above -9 MW there is more than is asked for."""
    held = book().with_claim(reserve("battery", 1.0)).with_claim(reserve("mill", 0.5, "down", "down"))
    held.require_reach(order(EVERYONE, -9.0, 2.0))
    held.require_reach(order(EVERYONE, 9.0, -2.0))
    held.require_reach(order(EVERYONE, 2.0, 1.0))
    with pytest.raises(SoldTwice, match=r"dr: 1\.500 MW of dr .* the limit is 1\.000 MW beside afrr battery"):
        held.require_reach(order(EVERYONE, 2.0, 1.5))
    with pytest.raises(SoldTwice, match=r"the limit is -0\.500 MW"):
        held.require_reach(order(EVERYONE, -2.0, -1.0))
    held.require_reach(Claim("none", "dr", EVERYONE, np.full(4, np.nan), from_mw=mw(99.0)))
