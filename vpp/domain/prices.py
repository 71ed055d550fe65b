"""What a MWh is worth where and when in a plan, and the limits that make the difference.

The price of an asset is what one more MWh of its injection would save; it is the sum of its parts, one
for the energy product and one for each thing that binds several assets: network, fee, order, limit, rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from vpp.domain.time import Array

ENERGY = "energy"


@dataclass(frozen=True)
class Coupling:
    """One limit over the injections (and on/off) of several assets at one step, at the plan's point.

    `sense` is 1 where the activity may not rise above the limit, -1 where it may not fall below it and 0
    for an equality; `slack` is the distance left, `dual_eur` the change of the cost per unit of the limit.
    `effect` is the change of the activity per MW of an asset's injection, `effect_on` per running asset.
    """

    part: str
    name: str
    step: int
    case: str
    sense: int
    slack: float
    dual_eur: float
    effect: Mapping[str, float] = field(default_factory=dict)
    effect_on: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Prices:
    """Currency per MWh over the plan's steps (T,).

    `unit_eur_per_mwh` is the price of each trading unit and the energy part of its assets (`unit_of`),
    `nodal_eur_per_mwh` that of active power at each bus (at each clearing node where there is no network),
    `more` the other parts by name and asset; parts that are zero are left out.
    """

    unit_eur_per_mwh: Mapping[str, Array]
    nodal_eur_per_mwh: Mapping[str, Array]
    unit_of: Mapping[str, str]
    more: Mapping[str, Mapping[str, Array]]
    couplings: tuple[Coupling, ...] = ()

    def parts(self, asset: str) -> dict[str, Array]:
        """(T,) each part of an asset's price, by name."""
        energy = {ENERGY: self.unit_eur_per_mwh[self.unit_of[asset]]} if asset in self.unit_of else {}
        return {**energy, **{part: rows[asset] for part, rows in self.more.items() if asset in rows}}

    def of(self, asset: str, steps: int, without: Collection[str] = ()) -> Array:
        """(T,) the price of an asset: the sum of its parts, but for those `without`."""
        rows = [row for part, row in self.parts(asset).items() if part not in without]
        total: Array = np.sum(rows, axis=0) if rows else np.zeros(steps)
        return total

    @property
    def system_eur_per_mwh(self) -> Array:
        """(T,) the price of energy where no limit separates assets: the dearest trading unit's."""
        dearest: Array = np.max(np.stack(list(self.unit_eur_per_mwh.values())), axis=0)
        return dearest
