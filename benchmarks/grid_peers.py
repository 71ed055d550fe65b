"""Other batch engines on the same cases, where they are installed: power-grid-model.

The peer gets our compiled branches, so that a difference is one of solving and not of reading the net.
It is timed from its input arrays to bus voltages, its model's construction included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.ac import pgm_branches, rows
from benchmarks.grid_cases import STEPS, GridCase
from benchmarks.grid_studies import Answers
from grid_models.batch import Engine
from vpp.domain.time import Array

COMPARED = 200


@dataclass(frozen=True)
class Peer:
    """Bus voltages (R,T,B) of a peer, 0 or NaN where dark."""

    vm_pu: Array

    def differs(self, answers: Answers) -> float:
        """Greatest voltage difference over cases spread evenly."""
        worst = 0.0
        for k in np.linspace(0, self.vm_pu[..., 0].size - 1, COMPARED).astype(int):
            row, t = divmod(int(k), STEPS)
            mine = answers.detail(row, t)
            if mine is not None:
                worst = max(worst, float(np.nanmax(np.abs(mine[0] - self.vm_pu[row, t]))))
        return worst


def power_grid_model(kind: str, case: GridCase) -> Callable[[], Peer]:
    """The study by power-grid-model; reswitching changes its topology and is left out."""
    import power_grid_model as pgm

    if kind == "reswitching":
        raise SystemExit("power-grid-model: reswitching is not one batch of a model")
    engine = Engine.of(case.state(), case.taps)
    if len(engine.state.slack_v) != 1 or len(engine.state.pv):
        raise SystemExit("power-grid-model: compared on nets of one source and no machine that holds a voltage")
    node, n = engine.state.node, engine.state.n
    used = np.flatnonzero((node >= 0) & (node < n))
    parts = pgm_branches(pgm, engine)
    live = np.flatnonzero((engine.branches.ff != 0.0) | (engine.branches.tt != 0.0))
    out = live if kind == "n-1" else np.array([-1])

    def run() -> Peer:
        loads = rows(
            pgm, "sym_load", id=10_000 + used, node=node[used], status=1, type=0, p_specified=0.0, q_specified=0.0
        )
        model = pgm.PowerGridModel({**parts, "sym_load": loads})
        cases = len(out) * STEPS
        update = {pgm.ComponentType.sym_load: pgm.initialize_array("update", "sym_load", (cases, len(used)))}
        load = update[pgm.ComponentType.sym_load]
        load["id"] = loads["id"]
        load["p_specified"] = np.tile(-1e6 * case.p_mw[:, used], (len(out), 1))
        load["q_specified"] = np.tile(-1e6 * case.q_mvar[:, used], (len(out), 1))
        if kind == "n-1":
            update |= _outages(pgm, engine, parts, out)
        found = model.calculate_power_flow(
            update_data=update, threading=1, error_tolerance=1e-9, output_component_types=[pgm.ComponentType.node]
        )
        u = found[pgm.ComponentType.node]["u_pu"].reshape(len(out), STEPS, -1)
        vm = np.full((len(out), STEPS, len(node)), np.nan)
        vm[..., node >= 0] = u[..., node[node >= 0]]
        return Peer(np.where(vm > 0.0, vm, np.nan))

    return run


def _outages(pgm: Any, engine: Engine, parts: dict[str, Any], out: Any) -> dict[Any, Any]:
    """Status updates that take each element out for all steps; open-ended ones are shunts."""
    whole = np.abs(engine.branches.tf) > 0.0
    open_ = ~whole & (np.abs(engine.branches.ff) + np.abs(engine.branches.tt) > 0.0)
    updates: dict[Any, Any] = {}
    kinds = pgm.ComponentType
    for name, mask, fields in (
        (kinds.generic_branch, whole, ("from_status", "to_status")), (kinds.shunt, open_, ("status",))
    ):  # fmt: skip
        ids = parts[name.value]["id"]
        if not len(ids):
            continue
        place = np.cumsum(mask) - 1
        mine = mask[out]
        change = pgm.initialize_array("update", name, (len(out) * STEPS, 1))
        change["id"] = np.repeat(np.where(mine, ids[np.where(mine, place[out], 0)], ids[0]), STEPS)[:, None]
        for f in fields:
            change[f] = np.repeat(np.where(mine, 0, 1), STEPS)[:, None]
        updates[name] = change
    return updates


PEERS: dict[str, Callable[[str, GridCase], Callable[[], Peer]]] = {"power-grid-model": power_grid_model}
