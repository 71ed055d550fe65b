"""Charging and discharging exclude each other, by a binary only where doing both at once could pay.

Charging delta MW more and discharging eta_c eta_d delta MW more leaves the content as it is and the net
injection lower by (1 - eta_c eta_d) delta. With pi the value of injection and w the wear per MWh it saves money where

    pi (1 - eta_c eta_d) + w (1 + eta_c eta_d) < 0

and nowhere else, so the linear model is exact above that price; there, with a binary z,

    c <= P_c z,    d <= P_d (1 - z)

Source: J. M. Arroyo, L. Baringo, A. Baringo, R. Bolanos, N. Alguacil and N. G. Cobos, "On the use of a convex
model for bulk storage in MIP-based power system operation and planning", IEEE Trans. Power Systems 35(6), 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, Columns, Context, Rows, stack
from vpp.domain.time import Array

TIE_EUR_PER_MWH = 1e-6


def at_risk(context: Context, round_trip: Array, wear_eur_per_mwh: Array, most_mw: Array) -> NDArray[np.intp]:
    """Flat positions in (n, T) at which both directions at once could pay.

    `round_trip` and `wear_eur_per_mwh` are (n, 1), `most_mw` (n, T) is 0 where one direction is closed anyway.
    """
    if context.lowest_value_eur_per_mwh is None:
        return np.empty(0, dtype=np.intp)
    value = np.broadcast_to(context.lowest_value_eur_per_mwh, (context.grid.n,))
    saved = value * (1.0 - round_trip) + wear_eur_per_mwh * (1.0 + round_trip)
    return np.flatnonzero((saved <= TIE_EUR_PER_MWH) & (round_trip < 1.0) & (most_mw > 0.0))


def columns(at: NDArray[np.intp]) -> Columns:
    """One binary per position, 1 for charging."""
    return Columns("charging", (1, at.size), 0.0, 1.0, integer=True, term="wear")


def rows(
    at: NDArray[np.intp], sizes: Sequence[int], groups: tuple[int, int, int], charge_mw: Array, discharge_mw: Array
) -> list[Rows]:
    """`groups` are those of charge, discharge and the binaries; the limits (n, T), MW, are those of their bounds."""
    charge, discharge, charging = groups
    k = at.size
    picks = {g: sp.csr_array((np.ones(k), at, np.arange(k + 1)), shape=(k, sizes[g])) for g in (charge, discharge)}
    most = [sp.csr_array(sp.diags_array(np.ravel(limit)[at])) for limit in (charge_mw, discharge_mw)]
    return [
        Rows("charging", -INF, 0.0, own=stack(sizes, {charge: picks[charge], charging: -most[0]}, k)),
        Rows(
            "discharging", -INF, np.ravel(discharge_mw)[at],
            own=stack(sizes, {discharge: picks[discharge], charging: most[1]}, k),
        ),
    ]  # fmt: skip
