"""A network that uses everything the importer accepts and the demo does not have."""

from __future__ import annotations

from typing import Any

import pandapower as pp


def small_net() -> Any:
    """Two unequal transformers with taps on either side, parallel units, an oblique slack, open lines."""
    net = pp.create_empty_network(f_hz=50.0, sn_mva=10.0)
    for vn in (110.0, 20.0, 20.0, 20.0, 20.0, 20.0):
        pp.create_bus(net, vn, min_vm_pu=0.95, max_vm_pu=1.05)
    pp.create_ext_grid(net, 0, vm_pu=1.01, va_degree=12.0)
    for hv_side, lv, parallel in (("hv", 1, 1), ("lv", 2, 2)):
        pp.create_transformer_from_parameters(
            net, 0, lv, sn_mva=25.0, vn_hv_kv=112.0, vn_lv_kv=20.5, vkr_percent=0.4, vk_percent=11.0,
            pfe_kw=20.0, i0_percent=0.3, shift_degree=150.0, tap_side=hv_side, tap_neutral=0, tap_min=-9,
            tap_max=9, tap_step_percent=1.5, tap_pos=0, tap_changer_type="Ratio", parallel=parallel, df=0.9,
        )  # fmt: skip
    for a, b, n in ((1, 3, 1), (2, 4, 2), (3, 5, 1), (1, 2, 1)):
        pp.create_line_from_parameters(
            net, a, b, length_km=3.0, r_ohm_per_km=0.2, x_ohm_per_km=0.12, c_nf_per_km=270.0, g_us_per_km=1.5,
            max_i_ka=0.3, df=0.95, parallel=n,
        )  # fmt: skip
    pp.create_switch(net, 3, 4, "b", closed=False, type="LS")
    pp.create_switch(net, 2, 3, "l", closed=False, type="CB")
    pp.create_load(net, 3, 4.0, 1.0)
    pp.create_load(net, 5, 2.0, 0.5, scaling=0.5)
    pp.create_sgen(net, 4, 3.0, 0.4)
    return net
