"""A radial feeder of three buses behind one transformer, weak enough that flexible assets meet its limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandapower as pp

from grid_models.model import AcNetwork, load_grid
from grid_models.spec import NetworkSpec


def feeder_net(max_i_ka: float = 0.14, sn_mva: float = 6.0) -> Any:
    """110/20 kV without taps, two overhead lines of 12 and 8 km, a voltage band of 4 %."""
    net = pp.create_empty_network(f_hz=50.0, sn_mva=10.0)
    for vn in (110.0, 20.0, 20.0, 20.0):
        pp.create_bus(net, vn, min_vm_pu=0.96, max_vm_pu=1.04)
    pp.create_ext_grid(net, 0, vm_pu=1.01)
    pp.create_transformer_from_parameters(
        net, 0, 1, sn_mva=sn_mva, vn_hv_kv=110.0, vn_lv_kv=20.0, vkr_percent=0.4, vk_percent=11.0, pfe_kw=5.0,
        i0_percent=0.1, shift_degree=150.0,
    )  # fmt: skip
    for a, b, km in ((1, 2, 12.0), (2, 3, 8.0)):
        pp.create_line_from_parameters(
            net, a, b, length_km=km, r_ohm_per_km=0.3, x_ohm_per_km=0.35, c_nf_per_km=10.0, max_i_ka=max_i_ka
        )
    return net


def feeder(folder: Path, max_i_ka: float = 0.14) -> AcNetwork:
    """The network of the feeder; the reference engine reads it from `folder`."""
    path = folder / "feeder.json"
    pp.to_json(feeder_net(max_i_ka), str(path))
    return load_grid(NetworkSpec(file=str(path)), [], folder).network
