"""Our own settlement of an order: the specification's example to the megawatt, and what is disputed of another's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from adapters.store import open_store
from tests.service.api_world import made_system
from tests.service.conftest import DAY, ZONE
from vpp.domain.command import MeterRow
from vpp.domain.errors import DataGap
from vpp.domain.flex_trade import FlexOrder, OrderClaim, OrderLine
from vpp.domain.time import QUARTER, TimeGrid
from vpp.service.system import System
from vpp.service.uftp_config import SettlementTerms
from vpp.service.uftp_settlement import Figures, differences, figures_of, statement_of

GRID = TimeGrid.local_day(DAY, ZONE)
FIRST = 40
ALLOCATED_MW = [7.0, 8.0, 9.0, 10.0, 11.0]
"""Consumption of the example's five rows, each an ISP here; 10 MW are forecast and 2 MW less are bought."""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """One meter that reads the example."""
    made = made_system(open_store("sqlite://"))
    times = zip(GRID.starts[FIRST : FIRST + 5], ALLOCATED_MW, strict=True)
    made.store.meters.write([MeterRow("mp:cooling", t, 15, -mw, t + QUARTER) for t, mw in times])
    yield made
    made.store.close()


def order(mw: float = 2.0, count: int = 5, number: int = 1, ordered_mw: float = 0.0) -> FlexOrder:
    """An order on the prognosis of 10 MW of consumption, of which earlier orders are `ordered_mw`."""
    deviation = np.full(GRID.n, np.nan)
    deviation[FIRST : FIRST + count] = mw
    said = np.full(GRID.n, -10.0)
    return FlexOrder(
        f"o{number}", "dso", "f", "p", "feeder-9", ("cooling",), GRID, said, said - ordered_mw, deviation,
        Decimal("70.00"), "EUR", Decimal("44.00"), f"ref-{number}", GRID.start, number,
    )  # fmt: skip


def claimed(own: Figures, **changes: object) -> OrderClaim:
    """The grid operator's item as we would write it."""
    lines = tuple(
        OrderLine(k, own.prognosis_mw[k], own.ordered_mw[k], own.actual_mw[k], own.delivered_mw[k], own.missing_mw[k])
        for k in range(FIRST, FIRST + 5)
    )
    item = OrderClaim("ref-1", "feeder-9", GRID, lines, own.price, own.penalty, own.price - own.penalty)
    return replace(item, **changes)  # type: ignore[arg-type]


def test_the_example_of_the_specification(system: System) -> None:
    own = figures_of(system, order(), [order()])
    part = slice(FIRST, FIRST + 5)
    assert own.delivered_mw[part].tolist() == [2.0, 2.0, 1.0, 0.0, 0.0]
    assert own.missing_mw[part].tolist() == [0.0, 0.0, 1.0, 2.0, 3.0]
    assert np.isnan(np.delete(own.actual_mw, range(FIRST, FIRST + 5))).all()
    assert own.penalty == Decimal("66.00"), "11 for each missing MW of a quarter"
    statement = statement_of(order(), own)
    assert statement.totals == {"payment": Decimal("70.00"), "penalty": Decimal("66.00"), "net": Decimal("4.00")}
    assert [line.penalty for line in statement.lines] == [Decimal(v) for v in ("0", "0", "11", "22", "33")]
    assert sum(line.payment for line in statement.lines) == Decimal("70.00")
    assert [line.metered_mw for line in statement.lines] == [Decimal(-v) for v in (7, 8, 9, 10, 11)]


def test_more_consumption_is_the_same_turned_round(system: System) -> None:
    own = figures_of(system, order(-0.5), [order(-0.5)])
    assert own.delivered_mw[FIRST : FIRST + 5].tolist() == [0.0, 0.0, 0.0, 0.0, -0.5]
    assert own.missing_mw[FIRST : FIRST + 5].tolist() == [3.5, 2.5, 1.5, 0.5, 0.0]


def test_an_order_stands_on_those_before_it(system: System) -> None:
    """1 MW and 1 MW more: the first is kept at 9 MW, both at 8 MW; a prognosis that knows the first changes nothing."""
    first, second = order(1.0), order(1.0, number=2)
    for later in (second, replace(second, prognosis_mw=second.prognosis_mw + 1.0)):
        kept = [figures_of(system, o, [first, later]).delivered_mw[FIRST : FIRST + 5].tolist() for o in (first, later)]
        assert kept == [[1.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0]]


def test_a_missing_row_is_no_zero(system: System) -> None:
    with pytest.raises(DataGap, match="mp:cooling at 2016-07-12T09:15:00Z"):
        figures_of(system, order(count=6), [])


def test_what_differs_is_named_and_what_is_within_the_tolerance_is_not(system: System) -> None:
    own, terms = figures_of(system, order(), [order()]), SettlementTerms()
    assert differences(claimed(own), order(), own, terms) == []
    near = replace(claimed(own).lines[2], actual_mw=-9.0009, delivered_mw=0.9991, missing_mw=1.0009)
    lines = claimed(own).lines
    assert differences(claimed(own, lines=(*lines[:2], near, *lines[3:])), order(), own, terms) == []
    far = replace(lines[2], actual_mw=-9.2, delivered_mw=0.8, missing_mw=1.2)
    assert differences(claimed(own, lines=(*lines[:2], far, *lines[3:])), order(), own, terms) == [
        "ISP 43: ActualPower 9200000, 9000000 by our record",
        "ISP 43: DeliveredFlexPower -800000, -1000000 by our record",
        "ISP 43: PowerDeficiency 1200000, 1000000 by our record",
    ]  # fmt: skip
    assert differences(claimed(own, lines=lines[1:]), order(), own, terms) == ["ISP 41 is missing"]
    more = (*lines, replace(lines[0], index=10))
    assert differences(claimed(own, lines=more), order(), own, terms) == ["ISP 11 was not ordered"]
    money = claimed(own, price=Decimal("69.00"), penalty=Decimal("66.50"), net=Decimal("0.00"))
    named = [d.partition(" ")[0] for d in differences(money, order(), own, terms)]
    assert named == ["Price", "Penalty", "NetSettlement"]
    kind = claimed(own, penalty=Decimal("0.00"), net=Decimal("70.00"))
    assert differences(kind, order(), own, terms) == [], "who claims less penalty is not disputed"
    other = claimed(own, congestion_point="feeder-7")
    assert differences(other, order(), own, terms)[0].startswith("Reference Period mismatch")
    all_wrong = tuple(replace(line, actual_mw=5.0, prognosis_mw=5.0) for line in lines)
    assert differences(claimed(own, lines=all_wrong), order(), own, terms)[-1] == "and 5 more"
