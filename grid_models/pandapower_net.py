"""The only door to pandapower and SimBench: read and check a net, and the reference verdict.

The verdict is plain `runpp` of the checked net with its pi/T branch models (pandapower, Thurner et
al., IEEE Trans. Power Syst. 33 (2018) 6510).
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks
import pandas as pd

from grid_models.checks import refuse_unmodelled
from grid_models.spec import NetworkSpec
from grid_models.tap_rules import give_types, take_controllers
from vpp.domain.errors import UnknownElement
from vpp.domain.time import Array

SECOND_ROOT_PU = 0.7


def read(spec: NetworkSpec) -> tuple[Any, Mapping[str, pd.DataFrame]]:
    """The checked net, typed and without storages, and its profile sheets (none where it has none).

    Tap controllers of the net become columns of its transformers. Raises UnknownElement for what
    cannot be represented or read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = _load(spec)
    profiles = net.pop("profiles", {})
    take_controllers(net)
    refuse_unmodelled(net, spec)
    net.storage = net.storage.iloc[:0]
    give_types(net)
    net.user_pf_options = {}
    return net, profiles


def _load(spec: NetworkSpec) -> Any:
    if spec.file is not None:
        if not Path(spec.file).is_file():
            raise UnknownElement(f"network file {spec.file} does not exist")
        return pp.from_json(spec.file)
    if spec.pandapower is not None:
        make = getattr(pandapower.networks, spec.pandapower, None)
        if not callable(make) or not str(getattr(make, "__module__", "")).startswith("pandapower.networks"):
            raise UnknownElement(f"pandapower has no network {spec.pandapower!r}")
        return make()
    import simbench

    if spec.simbench not in simbench.collect_all_simbench_codes():
        raise UnknownElement(f"simbench code {spec.simbench!r} is unknown")
    return simbench.get_simbench_net(spec.simbench)


class Reference:
    """The checked net with one load per bus, solved by `runpp` at given taps and switching state.

    Whatever else injects constant power (generators, machines, wards, direct current lines) is set to
    none: it is in the injections. Machines go on holding their voltages, without reactive limits.
    While taps and switching stand still a step starts from the result of the last one and renews
    only the injections (`recycle`). A change of taps, a failure, and a result so low that it may be
    the second root of the power flow equations start from the tables and a DC power flow again, as
    does every step of a net with direct current lines, which pandapower cannot recycle. Closed
    switches of lines and transformers change no flow; they are left out, and with them a tenth of
    pandapower's Python calls.
    """

    def __init__(self, pickled_net: bytes) -> None:
        net = pickle.loads(pickled_net)
        net.load, net.sgen = net.load.iloc[:0], net.sgen.iloc[:0]
        net.gen["p_mw"], net.ward["ps_mw"], net.ward["qs_mvar"] = 0.0, 0.0, 0.0
        net.dcline["p_mw"], net.dcline["loss_mw"] = 0.0, 0.0
        zero = np.zeros(len(net.bus))
        pp.create_loads(net, net.bus.index, p_mw=zero, q_mvar=zero)
        self._net = net
        self._states: dict[Any, Any] = {}
        self._solved_at: dict[int, tuple[int, ...]] = {}

    def net(self, lines_out: tuple[int, ...], switches: tuple[tuple[int, bool], ...]) -> Any:
        """The net in one switching state (line and switch numbers)."""
        key = (lines_out, switches)
        if key not in self._states:
            net = copy.deepcopy(self._net)
            net.line.loc[list(lines_out), "in_service"] = False
            for number, closed in switches:
                net.switch.loc[number, "closed"] = closed
            net.switch = net.switch[(net.switch.et == "b") | ~net.switch.closed.astype(bool)]
            self._states[key] = net
        return self._states[key]

    def solve(self, net: Any, p_mw: Array, q_mvar: Array, taps: Any) -> tuple[Array, Array] | None:
        """Voltages (B,) in pu and loadings (E,) in %, or None where `runpp` does not converge."""
        net.load["p_mw"], net.load["q_mvar"] = -p_mw, -q_mvar
        net.trafo["tap_pos"] = taps
        position = tuple(map(int, taps))
        tries: list[dict[str, Any]] = [{"init": "dc"}]
        if self._solved_at.pop(id(net), None) == position and not len(net.dcline):
            tries.insert(0, {"init": "results", "recycle": {"bus_pq": True, "trafo": False, "gen": False}})
        for how in tries:
            try:
                pp.runpp(net, lightsim2grid=False, numba=False, calculate_voltage_angles=True, **how)
            except pp.LoadflowNotConverged:
                continue
            vm = net.res_bus.vm_pu.to_numpy(copy=True)
            if how["init"] == "results" and np.nanmin(vm) < SECOND_ROOT_PU:
                continue
            self._solved_at[id(net)] = position
            return vm, np.concatenate([net.res_line.loading_percent, net.res_trafo.loading_percent])
        return None
