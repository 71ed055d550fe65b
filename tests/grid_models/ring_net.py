"""Two feeders of an open ring behind parallel transformers, with two open points of different kinds."""

from __future__ import annotations

from typing import Any

import pandapower as pp

LINES = ((1, 2), (2, 3), (3, 4), (4, 5), (1, 6), (6, 7), (7, 8), (5, 8), (3, 9), (8, 10))
TIE, COUPLER = 7, 1
"""The line that is open at bus 5, and the open switch between buses 9 and 10."""


def ring_net(rating_ka: float = 0.3) -> Any:
    """Line 7 is open at bus 5, switch 1 between buses 9 and 10; both could take over what line 1 loses."""
    net = pp.create_empty_network(f_hz=50.0, sn_mva=1.0)
    for vn in (110.0, *[20.0] * 10):
        pp.create_bus(net, vn, min_vm_pu=0.95, max_vm_pu=1.05)
    pp.create_ext_grid(net, 0, vm_pu=1.02, va_degree=3.0)
    for sn_mva in (25.0, 16.0):
        pp.create_transformer_from_parameters(
            net, 0, 1, sn_mva=sn_mva, vn_hv_kv=110.0, vn_lv_kv=20.0, vkr_percent=0.4, vk_percent=11.0,
            pfe_kw=15.0, i0_percent=0.1, shift_degree=150.0, tap_side="hv", tap_neutral=0, tap_min=-9,
            tap_max=9, tap_step_percent=1.5, tap_pos=-1, tap_changer_type="Ratio",
        )  # fmt: skip
    for k, (a, b) in enumerate(LINES):
        pp.create_line_from_parameters(
            net, a, b, length_km=2.0 + 0.3 * k, r_ohm_per_km=0.2, x_ohm_per_km=0.12, c_nf_per_km=270.0,
            max_i_ka=rating_ka,
        )  # fmt: skip
    pp.create_switch(net, 5, TIE, "l", closed=False, type="LBS")
    pp.create_switch(net, 9, 10, "b", closed=False, type="CB")
    for bus in range(2, 11):
        pp.create_load(net, bus, 0.4 + 0.05 * bus, 0.1)
    return net


def meshed_net() -> Any:
    """The same with both open points closed, which puts most lines into loops."""
    net = ring_net()
    net.switch["closed"] = True
    return net
