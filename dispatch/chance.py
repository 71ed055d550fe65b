"""Room for the forecast's joint errors: how far inside its limits a plan stays so that most scenarios keep them all.

What nobody controls enters every row additively: in scenario k, row r carries a_r(plan) + xi_rk <= b_r. The joint
chance constraint

    P(xi_r <= b_r - a_r(plan) for all r) >= share

asks for margins m that `share` of the scenarios pass nowhere, P(xi <= m) >= share (A. Prékopa, Dual method for the
solution of a one-stage stochastic programming problem with random RHS, ZOR 34, 1990: m is a p-efficient point). A
quantile of each row alone is no such point: of many rows some one breaks in most scenarios. Of the efficient points
the one along the rows' own spreads is taken,

    m_r = kappa w_r,    w_r = w_0 + sqrt(mean over k of max(xi_rk, 0)^2),
    kappa = the ceil(share (K + 1))-th smallest of T_k = max over r of xi_rk / w_r,

a simultaneous band (J. L. Montiel Olea, M. Plagborg-Møller, Simultaneous confidence bands, J. Appl. Econometrics 34,
2019). It fits one number to the sample, so that it keeps in other draws of the same forecast what it keeps in this
one: if T of another scenario is exchangeable with those of the K, it is below kappa with a probability of `share`
at least (V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, Springer 2005). Margins that
just keep a chosen set of scenarios fit one number a row and lose as many scenarios in K + 1 as have set a margin
(M. Campi, S. Garatti, J. Optim. Theory Appl. 148, 2011). Nothing is assumed of how the errors depend on each other.

Room is paid for by its size, so rows with small errors get more of it for their spread, w_0, and let the dear ones do
with less. A row counts in T_k only where scenario k passes what the plan leaves of it, so that rows no plan comes near
ask for nothing. Plan, margins and rows in play settle in rounds, as cuts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dispatch.exposure import Errors
from dispatch.problem import Bools
from vpp.domain.network import Cut
from vpp.domain.time import Array

PLANNED_SHARE = 0.985
"""Kept of the scenarios planned with, more than the certificate's `TARGET_SHARE`: of 200 of them 198 are kept, so what
is kept of others follows Beta(198, 3), and 200 others count at least 190 clean ones 99 times in 100, a little less
often since the spreads are estimated from the same 200.
"""
TOLERANCE_PCT = 1e-5
LEAST_LOADING_PCT, LEAST_VOLTAGE_PCT = 0.5, 0.05


@dataclass(frozen=True)
class Joint:
    """Rows `cuts` (R,) of one point without margins: the `room` (R,) it leaves and what errors have `added` (R,K), %
    of the limit. The rows `lost` (R,) nothing of ours helps, or only at more than passing them is likely to cost.
    """

    cuts: tuple[Cut, ...]
    room: Array
    added: Array
    lost: Bools

    @classmethod
    def of(cls, cuts: Sequence[Cut], lost: Bools, p_mw: Array, q_mvar: Array, errors: Errors) -> Joint:
        """Of the expected case's `cuts` at its injections (T,B)."""
        step = np.array([c.step for c in cuts], dtype=np.int64)
        room, added = np.empty(len(cuts)), np.empty((len(cuts), len(errors.p_mw)))
        for t in np.unique(step).tolist():
            at = np.flatnonzero(step == t).tolist()
            dp, dq = np.stack([cuts[i].dp for i in at]), np.stack([cuts[i].dq for i in at])
            room[at] = [cuts[i].limit for i in at] - dp @ p_mw[t] - dq @ q_mvar[t]
            added[at] = dp @ errors.p_mw[:, t].T + dq @ errors.q_mvar[:, t].T
        return cls(tuple(cuts), room, added, lost)

    @cached_property
    def passed(self) -> Bools:
        """(R,K) where a scenario passes what is left of a row."""
        found: Bools = self.added > self.room[:, None] + TOLERANCE_PCT
        return found

    @property
    def _curable(self) -> Bools:
        return np.logical_not(self.passed[self.lost].any(axis=0), dtype=np.bool_)

    @property
    def share(self) -> float:
        """Share of the scenarios that keep every row, of those that pass none that is lost."""
        kept = np.logical_not(self.passed[:, self._curable].any(axis=0))
        return float(kept.mean()) if kept.size else 1.0

    def band(self, share: float) -> float:
        """The width of the band, in spreads of its rows, that `share` of the scenarios keep that are not lost."""
        ratio = self.added / np.array([spread(c, a) for c, a in zip(self.cuts, self.added, strict=True)]).reshape(-1, 1)
        most = np.sort(np.where(self.passed, ratio, 0.0).max(axis=0, initial=0.0)[self._curable])
        return float(most[min(len(most), int(np.ceil(share * (len(most) + 1)))) - 1]) if len(most) else 0.0


def spread(cut: Cut, added: Array) -> float:
    """w of a row: the root of the mean square of what errors (K,) add upwards, and the least there is of it."""
    least = LEAST_VOLTAGE_PCT if cut.element.startswith("bus") else LEAST_LOADING_PCT
    return least + float(np.sqrt(np.square(np.maximum(added, 0.0)).mean()))
