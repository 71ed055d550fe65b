"""A grid operator's settlement held against our own: prognosis and order as agreed, power as our meters have it.

With the level b the order was placed on (its prognosis without, plus all earlier orders), d the order, s its sign and
p the meter, all MW of injection on one ISP of h hours:

    realised = s (p - b),    delivered = s min(max(realised, 0), |d|),    missing = max(0, |d| - realised)
    penalty = rate * sum of h missing,    net = price - penalty

An item that differs is disputed with every reason; the message as a whole is refused only where it is no settlement of
the period: an order left out, a period that is not over, another currency (specification, settle phase).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

import numpy as np

from adapters.uftp.isps import rounded, watts_of
from adapters.uftp.writing import Verdict
from vpp.domain.errors import DataGap
from vpp.domain.flex_trade import FlexOrder, FlexSettlement, OrderClaim, ordered_before
from vpp.domain.market import Statement, StatementLine
from vpp.domain.time import Array, rfc3339
from vpp.service.dr import meter_of
from vpp.service.system import System
from vpp.service.uftp_config import SettlementTerms, UftpConfig

CENT = Decimal("0.01")
METHOD = "d-prognosis"
SHOWN = 5


@dataclass(frozen=True)
class Figures:
    """What we make of one order, (n,) MW over its day, NaN where nothing is ordered; money in its currency."""

    prognosis_mw: Array
    ordered_mw: Array
    actual_mw: Array
    delivered_mw: Array
    missing_mw: Array
    price: Decimal
    penalty: Decimal


def figures_of(system: System, order: FlexOrder, orders: Sequence[FlexOrder]) -> Figures:
    """Our own settlement of an order. Raises DataGap where a meter has no row of an ordered quarter."""
    owed = np.nan_to_num(order.mw) != 0.0
    points = sorted({system.portfolio.asset(a).metering_point for a in order.assets})
    actual = np.where(owed, rounded(meter_of(system.store, points)(order.grid)), np.nan)
    if np.isnan(actual[owed]).any():
        first = order.grid.starts[int(np.flatnonzero(owed & np.isnan(actual))[0])]
        raise DataGap(f"no meter row of every one of {', '.join(points)} at {rfc3339(first)}")
    sign, size = np.sign(order.mw), np.abs(order.mw)
    realised = sign * (actual - (order.bare_mw + ordered_before(orders, order)))
    delivered = rounded(sign * np.clip(realised, 0.0, size))
    missing = np.maximum(size - realised, 0.0)
    energy = float(np.nansum(missing * order.grid.hours))
    penalty = (Decimal(repr(round(energy, 9))) * order.penalty_eur_per_mwh).quantize(CENT, ROUND_HALF_UP)
    said = np.where(owed, order.prognosis_mw, np.nan)
    return Figures(said, order.mw, actual, delivered, missing, order.price, penalty)


def statement_of(order: FlexOrder, f: Figures) -> Statement:
    """Our settlement as a statement with one line an ordered ISP; the price is shared by what is ordered."""
    owed = np.flatnonzero(np.isfinite(f.actual_mw))
    share = np.abs(f.ordered_mw) / np.nansum(np.abs(f.ordered_mw))
    lost = f.missing_mw / max(float(np.nansum(f.missing_mw)), 1e-12)
    lines = [
        StatementLine(
            order.congestion_point, order.grid.starts[k], _four(f.ordered_mw[k]), _four(f.prognosis_mw[k]),
            _four(f.actual_mw[k]), _four(f.delivered_mw[k]), _four(f.delivered_mw[k] * order.grid.hours[k]),
            _four(float(f.price) * share[k]), _four(float(f.penalty) * lost[k]),
        )
        for k in owed
    ]  # fmt: skip
    totals = {"payment": f.price, "penalty": f.penalty, "net": f.price - f.penalty}
    return Statement(order.id, METHOD, order.currency, tuple(lines), totals)


def _four(value: float) -> Decimal:
    return Decimal(repr(round(float(value), 9))).quantize(Decimal("0.0001"), ROUND_HALF_UP)


def message_faults(settlement: FlexSettlement, orders: Sequence[FlexOrder], currency: str, now: datetime) -> list[str]:
    """Why a settlement as a whole is refused."""
    faults = []
    if settlement.end > now:
        faults.append(f"PeriodEnd rejected: the period is not over before {rfc3339(settlement.end)}")
    if settlement.currency != currency:
        faults.append(f"Invalid Message: Currency {settlement.currency}, {currency} is agreed")
    named = [c.reference for c in settlement.claims]
    twice = sorted({r for r in named if named.count(r) > 1})
    faults += [f"Invalid Message: {reference} is settled twice" for reference in twice]
    left_out = [o.reference for o in orders if settlement.start <= o.grid.start < settlement.end
                and o.reference not in named]  # fmt: skip
    if left_out:
        faults.append(f"Missing Settlement Items: {', '.join(left_out)}")
    return faults


def judge(
    system: System, config: UftpConfig, settlement: FlexSettlement, orders: Sequence[FlexOrder]
) -> tuple[list[Verdict], list[Statement]]:
    """A verdict on each item, and our own statements. Raises DataGap while the meter is not complete."""
    known, verdicts, statements = {o.reference: o for o in orders}, [], []
    for claim in settlement.claims:
        order = known.get(claim.reference)
        if order is None:
            verdicts.append(Verdict(claim.reference, ("Unknown OrderReference",)))
            continue
        figures = figures_of(system, order, orders)
        statements.append(statement_of(order, figures))
        verdicts.append(Verdict(claim.reference, tuple(differences(claim, order, figures, config.file.settlement))))
    return verdicts, statements


def differences(claim: OrderClaim, order: FlexOrder, own: Figures, terms: SettlementTerms) -> list[str]:
    """Every way in which an item differs from our figures by more than is agreed."""
    if claim.grid != order.grid or claim.congestion_point != order.congestion_point:
        return ["Reference Period mismatch: the order is of another day or congestion point"]
    found = _power_differences(claim, own, terms.tolerance_kw * 1e3)
    if abs(claim.price - own.price) > terms.tolerance_eur:
        found.append(f"Price {claim.price}, {own.price} was ordered")
    if claim.penalty - own.penalty > terms.tolerance_eur:
        found.append(f"Penalty {claim.penalty}, {own.penalty} by our meter")
    if abs(claim.net - (claim.price - claim.penalty)) > terms.tolerance_eur:
        found.append(f"NetSettlement {claim.net} is not Price less Penalty")
    return found


def _power_differences(claim: OrderClaim, own: Figures, most_w: float) -> list[str]:
    lines, found = {line.index: line for line in claim.lines}, []
    for k in np.flatnonzero(np.isfinite(own.actual_mw)):
        line = lines.pop(int(k), None)
        if line is None:
            found.append(f"ISP {k + 1} is missing")
            continue
        for name, stated, ours in (
            ("BaselinePower", line.prognosis_mw, own.prognosis_mw[k]),
            ("OrderedFlexPower", line.ordered_mw, own.ordered_mw[k]),
            ("ActualPower", line.actual_mw, own.actual_mw[k]),
            ("DeliveredFlexPower", line.delivered_mw, own.delivered_mw[k]),
            ("PowerDeficiency", -line.missing_mw, -own.missing_mw[k]),
        ):
            if abs(watts_of(stated) - watts_of(ours)) > most_w:
                found.append(f"ISP {k + 1}: {name} {watts_of(stated)}, {watts_of(ours)} by our record")
    found += [f"ISP {k + 1} was not ordered" for k in sorted(lines)]
    rest = len(found) - SHOWN
    return found if rest <= 0 else [*found[:SHOWN], f"and {rest} more"]
