"""Money for what was delivered, in Decimal, to the cent.

Per participant and quarter (MW of injection, h = 0.25):

    delivered = metered - baseline
    payment   = price   * h * min(max(delivered, 0), ordered)
    penalty   = penalty * h * max(ordered - max(delivered, 0), 0)

Meter and baseline are rounded to 0.1 kW first and each line's money to the cent (half up), so that a
person with the meter rows and a pocket calculator finds the same totals.

Energy deviation is two-price: a surplus earns p - b |p|, a shortfall pays p + b |p|, where p is the
day-ahead price and b the deviation factor; so deviating never pays, whatever the sign of p. A plan
(`products.energy`) counts a floor of 0.01 EUR per MWh of deviation on top, which keeps its prices apart
at p = 0; nobody is billed for it, so a plan's deviation cost exceeds the settled one by that floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from vpp.domain.errors import DataGap
from vpp.domain.market import Event, Statement, StatementLine
from vpp.domain.time import QUARTER, Array, TimeGrid

KW_TENTH = Decimal("0.0001")
CENT = Decimal("0.01")
QUARTER_H = Decimal("0.25")


def decimal_mw(value: float) -> Decimal:
    """MW rounded half up to 0.1 kW."""
    return Decimal(repr(float(value))).quantize(KW_TENTH, ROUND_HALF_UP) + Decimal(0)


def cents(value: Decimal) -> Decimal:
    return value.quantize(CENT, ROUND_HALF_UP) + Decimal(0)


@dataclass(frozen=True)
class Delivery:
    """One participant's order and measurement over the event's quarters, MW of injection."""

    participant: str
    ordered_mw: Array
    baseline_mw: Array
    metered_mw: Array


def settle(event: Event, deliveries: Sequence[Delivery], method: str, currency: str) -> Statement:
    """The statement under one baseline method.

    Raises DataGap where a meter or baseline has no value and ValueError for a negative order or price
    and for rows that do not cover the event's quarters.
    """
    if event.price_eur_per_mwh < 0 or event.penalty_eur_per_mwh < 0:
        raise ValueError(f"{event.id}: price and penalty must not be negative")
    lines: list[StatementLine] = []
    starts = TimeGrid.between(event.start, event.end, QUARTER).starts
    for d in deliveries:
        _check(d, len(starts))
        for t, start in enumerate(starts):
            ordered, base, metered = (decimal_mw(v[t]) for v in (d.ordered_mw, d.baseline_mw, d.metered_mw))
            delivered = metered - base
            useful = min(max(delivered, Decimal(0)), ordered)
            lines.append(
                StatementLine(
                    d.participant, start, ordered, base, metered, delivered, useful * QUARTER_H,
                    cents(event.price_eur_per_mwh * QUARTER_H * useful),
                    cents(event.penalty_eur_per_mwh * QUARTER_H * (ordered - useful)),
                )
            )  # fmt: skip
    return Statement(event.id, method, currency, tuple(lines), _totals(lines))


def _check(d: Delivery, quarters: int) -> None:
    for name, row in (("order", d.ordered_mw), ("baseline", d.baseline_mw), ("meter", d.metered_mw)):
        if np.shape(row) != (quarters,):
            raise ValueError(f"{d.participant}: the {name} has {np.size(row)} values for {quarters} quarters")
        if not np.all(np.isfinite(row)):
            raise DataGap(f"{d.participant}: the {name} has a gap inside the event")
    if any(decimal_mw(v) < 0 for v in d.ordered_mw):
        raise ValueError(f"{d.participant}: an order must not be negative")


def _totals(lines: Sequence[StatementLine]) -> Mapping[str, Decimal]:
    payment = sum((x.payment for x in lines), Decimal(0))
    penalty = sum((x.penalty for x in lines), Decimal(0))
    settled = sum((x.settled_mwh for x in lines), Decimal(0))
    delivered = sum((x.delivered_mw for x in lines), Decimal(0)) * QUARTER_H
    return {
        "settled_mwh": settled,
        "delivered_mwh": delivered,
        "payment": payment,
        "penalty": penalty,
        "net": payment - penalty,
    }


def deviation_money(
    position_mw: Array, metered_mw: Array, price_eur_per_mwh: Array, factor: float, hours: Array
) -> tuple[float, float]:
    """(energy cost at the day-ahead price, deviation cost), money spent positive. NaN positions trade at the price.

    Raises ValueError for a negative factor, which would reward deviation.
    """
    if factor < 0.0:
        raise ValueError("the deviation factor must not be negative")
    firm = np.where(np.isfinite(position_mw), position_mw, metered_mw)
    surplus, shortfall = np.maximum(metered_mw - firm, 0.0), np.maximum(firm - metered_mw, 0.0)
    spread = factor * np.abs(price_eur_per_mwh)
    earns, pays = price_eur_per_mwh - spread, price_eur_per_mwh + spread
    energy = -float(np.sum(price_eur_per_mwh * firm * hours))
    return energy, float(np.sum((pays * shortfall - earns * surplus) * hours))
