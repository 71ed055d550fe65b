"""The ledger of a situation: what every asset can inject, and what is sold of it as energy, reserve and orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dispatch.products.reserve import decision
from dispatch.reach import reach_of
from vpp.domain.ledger import Claim, Direction, Ledger
from vpp.domain.market import Position
from vpp.domain.time import Array
from vpp.service.assemble import kind_blocks
from vpp.service.situation import Situation

ENERGY, ORDERS = "energy", "demand_response"


def ledger_of(s: Situation, without: str = "") -> Ledger:
    """Everything that is firm; claims whose id begins with `without` are left out, for a claim that replaces them.

    What was sold is booked as it stands, even where the forecast has since taken the headroom away: the ledger
    refuses what is new.
    """
    reach = {a: r for b in kind_blocks(s) for a, r in reach_of(b, s.grid.n).items()}
    reach |= {a: (mw, mw) for a, mw in s.given_mw.items()}
    low, high = ({a: r[side] for a, r in reach.items()} for side in (0, 1))
    booked = (c for c in (*_energy(s), *_orders(s), *_reserves(s, high)) if not (without and c.id.startswith(without)))
    return Ledger(s.grid, low, high, tuple(booked))


def _energy(s: Situation) -> Iterator[Claim]:
    for unit in s.positions:
        if np.isfinite(unit.mw).any():
            yield Claim(f"{ENERGY} {unit.unit}", ENERGY, unit.assets, unit.mw, from_mw=np.zeros(s.grid.n))


def _orders(s: Situation) -> Iterator[Claim]:
    for call in s.calls:
        sign = 1.0 if call.direction == "up" else -1.0
        owed = np.where(call.ordered_mw > 0.0, sign * call.ordered_mw, np.nan)
        yield Claim(f"{call.id}", ORDERS, call.assets, owed, from_mw=call.baseline_mw)


def _reserves(s: Situation, high: dict[str, Array]) -> Iterator[Claim]:
    """Firm capacity as the last plan shares it between its providers; evenly where no plan has yet."""
    for c in s.contracts:
        if c.product != "reserve":
            continue
        firm = np.nan_to_num(c.known["firm_mw"])
        sides: tuple[Direction, ...] = c.terms.sides
        for side in sides if firm.any() else ():
            shares = {a: _planned(s, a, decision(c.id, side)) for a in c.assets if a in high}
            total = sum(shares.values(), np.zeros(s.grid.n))
            even = np.divide(firm, len(shares), where=len(shares) > 0, out=np.zeros_like(firm))
            for asset, planned in shares.items():
                mw = np.where(total > 0.0, firm * np.divide(planned, total, where=total > 0.0, out=even.copy()), even)
                yield Claim(f"{c.id} {side} {asset}", c.id, (asset,), mw, side)


def _planned(s: Situation, asset: str, name: str) -> Array:
    if s.last is None or name not in s.last.decisions.get(asset, {}):
        return np.zeros(s.grid.n)
    return np.nan_to_num(s.grid.sample(s.last.grid, np.asarray(s.last.decisions[asset][name], dtype=float)))


def claim_positions(s: Situation, positions: Sequence[Position]) -> Ledger:
    """The ledger with positions that were just awarded. Raises SoldTwice where one exceeds what is left.

    Energy is claimed by its unit, capacity by all providers of its contract together.
    """
    ledger, contracts = ledger_of(s), {c.id: c for c in s.contracts}
    units = {u.unit: u.assets for u in s.positions}
    for p in positions:
        mw = np.array([p.mw if p.start <= t < p.end else np.nan for t in s.grid.starts])
        if p.product not in contracts:
            claim = Claim(f"{p.product} {p.unit}", ENERGY, units[p.unit], mw, from_mw=np.zeros(s.grid.n))
            ledger = ledger.with_claim(claim)
            continue
        contract = contracts[p.product]
        sides: tuple[Direction, ...] = contract.terms.sides
        for side in sides:
            ledger = ledger.with_claim(Claim(f"{p.product} {side}", p.product, contract.assets, mw, side))
    return ledger
