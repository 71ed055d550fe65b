"""A small meshed transmission net with everything the importer accepts beyond distribution grids."""

from __future__ import annotations

from typing import Any

import pandapower as pp

PHASE_SHIFTERS = {
    "ratio": {"tap_changer_type": "Ratio", "tap_step_percent": 1.25, "tap_side": "lv"},
    "oblique": {"tap_changer_type": "Ratio", "tap_step_percent": 1.25, "tap_step_degree": 60.0, "tap_side": "hv"},
    "symmetrical": {"tap_changer_type": "Symmetrical", "tap_step_percent": 1.5, "tap_step_degree": 90.0,
                    "tap_side": "lv"},
    "ideal_degrees": {"tap_changer_type": "Ideal", "tap_step_degree": 1.5, "tap_side": "hv"},
    "ideal_percent": {"tap_changer_type": "Ideal", "tap_step_percent": 2.0, "tap_side": "lv"},
}  # fmt: skip


def meshed_net(shifter: str = "symmetrical") -> Any:
    """Seven 110 kV buses in a ring with a phase shifter across it, machines, two sources and a second island.

    Bus 7 is coupled to bus 3 by a switch, bus 8 hangs on a transformer that is open at its far end, and
    buses 9 and 10 are an island with a slack machine.
    """
    net = pp.create_empty_network(f_hz=50.0, sn_mva=100.0)
    for _ in range(11):
        pp.create_bus(net, 110.0, min_vm_pu=0.9, max_vm_pu=1.1)
    pp.create_ext_grid(net, 0, vm_pu=1.02, va_degree=5.0)
    pp.create_ext_grid(net, 4, vm_pu=1.01, va_degree=3.0)
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 0), (9, 10)):
        pp.create_line_from_parameters(
            net, a, b, length_km=20.0 + a, r_ohm_per_km=0.06, x_ohm_per_km=0.39, c_nf_per_km=9.5, max_i_ka=0.6
        )  # fmt: skip
    given: dict[str, Any] = {"tap_neutral": 0, "tap_min": -8, "tap_max": 8, "tap_pos": 3}
    for hv, lv, shift in ((1, 5, 0.0), (2, 6, 0.0), (7, 8, 30.0)):
        pp.create_transformer_from_parameters(
            net, hv, lv, sn_mva=80.0, vn_hv_kv=112.0, vn_lv_kv=110.0, vkr_percent=0.3, vk_percent=12.0, pfe_kw=60.0,
            i0_percent=0.2, shift_degree=shift, **given | PHASE_SHIFTERS[shifter if hv == 1 else "ratio"],
        )  # fmt: skip
    pp.create_switch(net, 3, 7, "b", closed=True, type="CB")
    pp.create_switch(net, 8, 2, "t", closed=False, type="CB")
    pp.create_gen(net, 2, p_mw=25.0, vm_pu=1.015, min_q_mvar=-1.0, max_q_mvar=1.0)
    pp.create_gen(net, 7, p_mw=10.0, vm_pu=1.005, scaling=1.5)
    pp.create_gen(net, 3, p_mw=5.0, vm_pu=1.005)
    pp.create_gen(net, 9, p_mw=0.0, vm_pu=1.03, slack=True)
    pp.create_shunt(net, 6, q_mvar=-8.0, p_mw=0.1, vn_kv=115.0, step=2)
    pp.create_ward(net, 5, ps_mw=4.0, qs_mvar=1.0, pz_mw=2.0, qz_mvar=0.5)
    pp.create_impedance(net, 1, 6, rft_pu=0.02, xft_pu=0.1, sn_mva=50.0, rtf_pu=0.03, xtf_pu=0.12, gf_pu=1e-3,
                        bf_pu=2e-3, gt_pu=1e-3, bt_pu=3e-3)  # fmt: skip
    pp.create_dcline(net, 1, 5, p_mw=6.0, loss_percent=2.0, loss_mw=0.1, vm_from_pu=1.012, vm_to_pu=1.008)
    for bus in (1, 3, 5, 6, 7, 10):
        pp.create_load(net, bus, p_mw=12.0 + bus, q_mvar=3.0)
    pp.create_sgen(net, 6, p_mw=9.0, q_mvar=-1.0)
    return net
