"""What the net sees of a plan: where assets sit, what nobody controls, and the states to be secure in.

    p_bus[c,t] = background[t] + incidence.T @ where(keep[c], p, fixed[c])[:, t],     q of an asset = tan_phi * p

Case 0 is always "expected": every asset keeps its plan and the background is at its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vpp.domain.network import Cut, Relief
from vpp.domain.time import Array


@dataclass(frozen=True)
class Case:
    """A contingency: assets follow their plan where `keep` (N,T), else inject `fixed_mw` (N,T)."""

    name: str
    keep: NDArray[np.bool_]
    fixed_mw: Array

    def of(self, power_mw: Array) -> Array:
        """Injections (N,T) in this case of a plan (N,T)."""
        return np.where(self.keep, power_mw, self.fixed_mw)


@dataclass(frozen=True)
class Scenarios:
    """K joint states: background (K,T,B) in MW and Mvar; assets inject min(plan, available) + deviation.

    `available_mw` (K,N,T) is +inf where nothing limits; `deviation_mw` (K,N,T) is the answer's error.
    """

    p_background_mw: Array
    q_background_mvar: Array
    available_mw: Array
    deviation_mw: Array


@dataclass(frozen=True)
class Errors:
    """K joint errors of what the net is expected to carry, (K,T,B) in MW and Mvar of net injection.

    Where they are kept `together`, a plan leaves room for all its limits at once, else for each limit alone.
    """

    p_mw: Array
    q_mvar: Array
    together: bool = True

    def added(self, cut: Cut) -> Array:
        """What each error adds to a cut's left side, (K,), % of its limit."""
        found: Array = self.p_mw[:, cut.step] @ cut.dp + self.q_mvar[:, cut.step] @ cut.dq
        return found

    def passed(self, cut: Cut, share: float) -> float:
        """What `share` of the errors add at most to a cut's left side, % of its limit; never negative."""
        return max(0.0, float(np.quantile(self.added(cut), share)))


@dataclass(frozen=True)
class Exposure:
    """`incidence` (N,B) holds a one at each asset's bus, tan_phi (N,), background (T,B) in MW and Mvar.

    `errors` are None where nothing is known of them. `may_cut` (N,) are the assets that can stop within
    minutes after a fault, None for none.
    """

    incidence: sp.csr_array
    tan_phi: Array
    p_background_mw: Array
    q_background_mvar: Array
    cases: tuple[Case, ...] = ()
    errors: Errors | None = None
    may_cut: NDArray[np.bool_] | None = None

    @cached_property
    def all_cases(self) -> tuple[Case, ...]:
        """The expected case, then the contingencies."""
        shape = (self.incidence.shape[0], self.p_background_mw.shape[0])
        return (Case("expected", np.ones(shape, dtype=bool), np.zeros(shape)), *self.cases)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.all_cases)


def bus_injection(exposure: Exposure, power_mw: Array) -> tuple[Array, Array]:
    """Net bus injections p, q (C,T,B) in MW, Mvar of a plan (N,T) in the expected case and every other."""
    assets = np.stack([c.of(power_mw) for c in exposure.all_cases])
    return (
        exposure.p_background_mw + _at_buses(exposure, assets),
        exposure.q_background_mvar + _at_buses(exposure, assets * exposure.tan_phi[:, None]),
    )


def reliefs(exposure: Exposure, power_mw: Array) -> tuple[Relief, ...]:
    """What we can do after a fault under a plan (N,T): stop what consumes, or stop what feeds."""
    if exposure.may_cut is None or not exposure.may_cut.any():
        return ()
    cuts = {"load cut": power_mw < 0.0, "generation cut": power_mw > 0.0}
    found = []
    for name, stopped in cuts.items():
        assets = np.where(exposure.may_cut[:, None] & stopped, 0.0, power_mw)[None]
        p = exposure.p_background_mw + _at_buses(exposure, assets)[0]
        q = exposure.q_background_mvar + _at_buses(exposure, assets * exposure.tan_phi[:, None])[0]
        found.append(Relief(name, p, q))
    return tuple(found)


def scenario_injection(exposure: Exposure, power_mw: Array, scenarios: Scenarios) -> tuple[Array, Array]:
    """Net bus injections p, q (K,T,B) in MW, Mvar of a plan (N,T) in every scenario."""
    assets = np.minimum(power_mw, scenarios.available_mw) + scenarios.deviation_mw
    return (
        scenarios.p_background_mw + _at_buses(exposure, assets),
        scenarios.q_background_mvar + _at_buses(exposure, assets * exposure.tan_phi[:, None]),
    )


def _at_buses(exposure: Exposure, assets: Array) -> Array:
    """(C,N,T) -> (C,T,B)."""
    count, n, steps = assets.shape
    flat = np.moveaxis(assets, 1, 2).reshape(count * steps, n)
    at_buses: Array = (flat @ exposure.incidence).reshape(count, steps, -1)
    return at_buses
