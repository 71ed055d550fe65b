"""Two-port admittances of lines and transformers, per unit on 1 MVA and the nominal voltage of each end.

    i_f = y_ff v_f + y_ft v_t,   i_t = y_tf v_f + y_tt v_t
Lines are pi models. Transformers are T models (half the leakage on each side, magnetising admittance
between) turned into pi, on the low-voltage side of the ideal ratio t = |t| e^{j shift}. A tap of d
positions adds d·step·e^{j angle} to the voltage of its side (ratio, and with an angle oblique or
symmetrical changers) or turns the ratio alone (ideal phase shifters); equations and signs as in
pandapower's documentation of its electric models. A branch with one open end is reduced to the
admittance its closed end sees, y_ff - y_ft y_tf / y_tt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grid_models.tables import Bools, Complex, Ints, Lines, NetTables, Trafos
from vpp.domain.time import Array


@dataclass(frozen=True)
class Branches:
    """(E,) admittances of branches, zero where dead."""

    ff: Complex
    ft: Complex
    tf: Complex
    tt: Complex

    def connected(self, ends: Bools) -> Branches:
        """The same branches with only `ends` (E,2) connected."""
        first, second = ends[:, 0], ends[:, 1]
        both, product = first & second, self.ft * self.tf
        seen_f = self.ff - np.where(both, 0.0, np.divide(product, self.tt))
        seen_t = self.tt - np.where(both, 0.0, np.divide(product, self.ff))
        return Branches(
            np.where(first, seen_f, 0.0), np.where(both, self.ft, 0.0),
            np.where(both, self.tf, 0.0), np.where(second, seen_t, 0.0),
        )  # fmt: skip

    def unearthed(self) -> Branches:
        """Their series elements and ratios alone: nothing flows through them to earth.

        With y_tt = y + earth, y_ff = y_tt / |t|^2 and y_ft y_tf = y^2 / |t|^2, y is the root near y_tt.
        """
        through = (np.abs(self.ft) > 0.0) & (np.abs(self.tf) > 0.0)
        ratio = np.sqrt(np.abs(np.divide(self.tt, self.ff, out=np.ones_like(self.tt), where=through)))
        root = np.sqrt(self.ft * self.tf) * ratio
        y = np.where(through, np.where(np.abs(root - self.tt) <= np.abs(root + self.tt), root, -root), 0.0)
        return Branches(y / ratio**2, self.ft, self.tf, y)

    def followed_by(self, more: Branches) -> Branches:
        """These branches, then `more`."""
        return Branches(
            np.r_[self.ff, more.ff], np.r_[self.ft, more.ft], np.r_[self.tf, more.tf], np.r_[self.tt, more.tt]
        )


def line_admittances(a: Lines, vn_kv: Array) -> Branches:
    """Lines (L,) of buses with nominal voltages (B,), connected at both ends."""
    z_base = vn_kv[a.from_bus] ** 2
    series = np.asarray(z_base / (a.r_ohm + 1j * a.x_ohm), dtype=np.complex128)
    own: Complex = series + (a.g_s + 1j * a.b_s) * z_base / 2.0
    return Branches(own, -series, -series, own)


def trafo_admittances(tables: NetTables, taps: Ints) -> Branches:
    """Transformers (X,) at tap positions, connected at both ends."""
    t, vn = tables.trafos, tables.buses.vn_kv
    vn_hv, vn_lv, shift_degree = _tapped(t, taps)
    z_sc = t.vk_percent / 100.0 / t.sn_mva
    r_sc = t.vkr_percent / 100.0 / t.sn_mva
    x_sc = np.sign(z_sc) * np.sqrt(z_sc**2 - r_sc**2)
    z = (r_sc + 1j * x_sc) * (vn_lv / vn[t.lv_bus]) ** 2 / t.parallel
    y_m = _magnetising(t) * (vn[t.lv_bus] / vn_lv) ** 2 * t.parallel
    # T to pi: with equal halves z/2 and shunt y_m both shunts are y_m / (2 + z y_m / 2)
    across = 1.0 / (z * (1.0 + z * y_m / 4.0))
    own = across + y_m / (2.0 + z * y_m / 2.0)
    ratio = (vn_hv / vn_lv) * (vn[t.lv_bus] / vn[t.hv_bus]) * np.exp(1j * np.deg2rad(shift_degree))
    return Branches(own / np.abs(ratio) ** 2, -across / np.conj(ratio), -across / ratio, own)


def _tapped(t: Trafos, taps: Ints) -> tuple[Array, Array, Array]:
    """Rated voltages of both sides in kV and phase shift in degrees at tap positions, (X,) each."""
    moved = taps - t.tap_neutral
    added = t.tap_step_percent / 100.0 * moved * np.where(t.tap_ideal, 0.0, 1.0)
    angle = np.deg2rad(t.tap_step_degree)
    along, aside = 1.0 + added * np.cos(angle), added * np.sin(angle)
    factor = np.where(aside == 0.0, along, np.hypot(along, aside))
    turned = np.where(t.tap_ideal, _ideal_shift(t, moved), np.rad2deg(np.arctan(aside / along)))
    vn_hv = t.vn_hv_kv * np.where(t.tap_side > 0, factor, 1.0)
    vn_lv = t.vn_lv_kv * np.where(t.tap_side < 0, factor, 1.0)
    return vn_hv, vn_lv, t.shift_degree + t.tap_side * turned


def _ideal_shift(t: Trafos, moved: Ints) -> Array:
    """Degrees of an ideal phase shifter: stated per step, or from the chord a step in percent spans."""
    chord = np.clip(moved * t.tap_step_percent / 200.0, -1.0, 1.0)
    shift: Array = np.where(t.tap_step_degree != 0.0, moved * t.tap_step_degree, 2.0 * np.rad2deg(np.arcsin(chord)))
    return shift


def _magnetising(t: Trafos) -> Complex:
    """Magnetising admittance of one unit per unit on 1 MVA at rated voltage, (X,)."""
    b_squared = (t.i0_percent / 100.0 * t.sn_mva) ** 2 - t.pfe_mw**2
    y: Complex = t.pfe_mw - 1j * np.sqrt(np.clip(b_squared, 0.0, None))
    return y


def percent_per_unit(tables: NetTables) -> tuple[Array, Array]:
    """Loading in % per unit of current at both ends of lines, then transformers, (E,): base current over rating."""
    a, t, vn = tables.lines, tables.trafos, tables.buses.vn_kv
    line = [100.0 / (np.sqrt(3.0) * vn[bus] * a.rating_ka) for bus in (a.from_bus, a.to_bus)]
    rating = t.sn_mva * t.parallel * t.df
    hv = 100.0 * t.vn_hv_kv / vn[t.hv_bus] / rating
    lv = 100.0 * t.vn_lv_kv / vn[t.lv_bus] / rating
    return np.r_[line[0], hv], np.r_[line[1], lv]
