"""Prices out of the duals of a plan's linear program: of the system, of nodes, of assets, and what binds.

With y the duals (change of the cost per unit of a row's bound) and J the injections in the rows that
couple assets, one more MW of injection of asset i at step t saves (J' y)[i,t], so that

    price[i,t] = (J' y)[i,t] / h[t],                   unit price from the energy rows alone,
    nodal[b,t] = unit[t] + sum over cuts of y (dp[b] / scale) / h[t],

dp being a cut's sensitivity to active power at bus b and `scale` what its row was divided by. An asset
whose columns lie strictly inside their bounds has a marginal cost equal to its price: that is the
stationarity of the Lagrangian, F. C. Schweppe et al., Spot Pricing of Electricity, Kluwer 1988.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from dispatch.couplings import NETWORK, couplings, placed
from dispatch.exposure import Exposure
from dispatch.problem import Problem
from vpp.domain.network import Cut
from vpp.domain.portfolio import Asset
from vpp.domain.prices import ENERGY, Prices
from vpp.domain.time import Array

NOTHING_EUR, DIGITS = 1e-7, 7


def prices_of(
    problem: Problem,
    x: Array,
    row_duals: Array,
    assets: Sequence[Asset],
    cuts: Sequence[Cut] = (),
    exposure: Exposure | None = None,
    buses: Sequence[int] = (),
) -> Prices:
    """Prices at the point `x` with its duals (rows,). `cuts` are the rows of the blocks named "cuts ...", in order,
    `buses` the bus numbers in the order of their sensitivities.

    Raises ValueError where cuts and rows do not match.
    """
    hours, n, steps = problem.grid.hours, len(problem.asset_ids), problem.grid.n
    total: dict[str, Array] = {}
    for p in placed(problem):
        if p.part != ENERGY:
            worth = (p.injection.T @ row_duals[p.first : p.first + p.rows.size]).reshape(n, steps) / hours
            total[p.part] = total.get(p.part, np.zeros((n, steps))) + worth
    more = {
        part: {
            a: np.round(values[i], DIGITS)
            for i, a in enumerate(problem.asset_ids)
            if np.abs(values[i]).max() > NOTHING_EUR
        }
        for part, values in total.items()
    }
    units = _units(problem, row_duals)
    network = _Network(problem, row_duals, tuple(cuts), exposure) if cuts and exposure is not None else None
    unit_of = {a: unit for unit, (_, members) in units.items() for a in members}
    price = {unit: values for unit, (values, _) in units.items()}
    nodal: dict[str, Array] = {}
    for asset in assets:
        base = price.get(unit_of.get(asset.id, ""), np.zeros(steps))
        if network is not None and asset.bus is not None:
            at_bus = network.at_bus(buses.index(asset.bus))
            nodal[str(asset.bus)] = np.round(base + at_bus / hours, DIGITS)
        else:
            nodal.setdefault(str(asset.bus) if asset.bus is not None else asset.node, base)
    return Prices(price, nodal, unit_of, more, tuple(couplings(problem, x, row_duals, cuts, exposure)))


def _units(problem: Problem, row_duals: Array) -> dict[str, tuple[Array, tuple[str, ...]]]:
    """Price (T,) and members of each trading unit, by the name of its energy block without "energy "."""
    found = {}
    n, steps = len(problem.asset_ids), problem.grid.n
    for p in placed(problem):
        if p.part != ENERGY:
            continue
        worth = (p.injection.T @ row_duals[p.first : p.first + p.rows.size]).reshape(n, steps)
        members = np.unique(p.injection.indices // steps)
        unit = p.block.removeprefix("energy").strip() or ENERGY
        price = np.round(worth[members[0]] / problem.grid.hours, DIGITS)
        found[unit] = price, tuple(problem.asset_ids[i] for i in members)
    return found


class _Network:
    """What cuts add to the price of active power at a bus."""

    def __init__(self, problem: Problem, row_duals: Array, cuts: Sequence[Cut], exposure: Exposure) -> None:
        bands = [p for p in placed(problem) if p.part == NETWORK]
        duals = np.concatenate([row_duals[p.first : p.first + p.rows.size] for p in bands])
        if len(duals) != len(cuts):
            raise ValueError(f"{len(cuts)} cuts for {len(duals)} rows")
        matrix = sp.csr_array(sp.vstack([p.injection for p in bands], format="csr"))
        self._steps = problem.grid.n
        binding = np.flatnonzero(np.abs(duals) > NOTHING_EUR)
        self._cuts = [(cuts[r], duals[r] / self._scale(matrix, r, cuts[r], exposure)) for r in binding.tolist()]

    def _scale(self, matrix: sp.csr_array, row: int, cut: Cut, exposure: Exposure) -> float:
        """What the row was divided by: an asset's sensitivity over its coefficient."""
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        largest = int(np.argmax(np.abs(matrix.data[part])))
        asset = int(matrix.indices[part][largest]) // self._steps
        place = exposure.incidence[[asset]]
        effect = float((place @ cut.dp)[0] + exposure.tan_phi[asset] * (place @ cut.dq)[0])
        return effect / float(matrix.data[part][largest])

    def at_bus(self, position: int) -> Array:
        """(T,) currency per MW of active power at the bus at `position`."""
        worth = np.zeros(self._steps)
        for cut, dual in self._cuts:
            worth[cut.step] += dual * cut.dp[position]
        return worth
