"""Money for what was delivered, in Decimal, to the cent.

Per participant and quarter (MW of injection, h = 0.25):

    delivered = metered - baseline
    payment   = price   * h * min(max(delivered, 0), ordered)
    penalty   = penalty * h * max(ordered - max(delivered, 0), 0)

Meter and baseline are rounded to 0.1 kW first and each line's money to the cent (half up), so that a
person with the meter rows and a pocket calculator finds the same totals.

Energy deviation is two-price: a surplus earns min(p (1-b), p (1+b)), a shortfall pays the max, where p
is the day-ahead price and b the deviation factor; so deviating never pays, whatever the sign of p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

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
    """The statement of one event under one baseline method. Raises ValueError for a gap in the meter."""
    lines: list[StatementLine] = []
    starts = TimeGrid.between(event.start, event.end, QUARTER).starts
    for d in deliveries:
        if not np.all(np.isfinite(d.metered_mw)):
            raise ValueError(f"{d.participant}: the meter has a gap inside the event")
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
    """(energy cost at the day-ahead price, deviation cost), money spent positive. NaN positions trade at the price."""
    firm = np.where(np.isfinite(position_mw), position_mw, metered_mw)
    surplus = np.maximum(metered_mw - firm, 0.0)
    shortfall = np.maximum(firm - metered_mw, 0.0)
    low, high = price_eur_per_mwh * (1.0 - factor), price_eur_per_mwh * (1.0 + factor)
    earns, pays = np.minimum(low, high), np.maximum(low, high)
    energy = -float(np.sum(price_eur_per_mwh * firm * hours))
    return energy, float(np.sum((pays * shortfall - earns * surplus) * hours))
