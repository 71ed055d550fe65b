"""A whole schedule, re-checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dispatch.check.registry import RECOMPUTE
from dispatch.check.tools import REPORTED_MWH, Plan, Recomputed, beyond
from vpp.domain.errors import Fault, InputFaults
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array


def plans(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Plan]:
    """One `Plan` per asset of `assets`, in the schedule's order. Raises InputFaults for a kind without a rule here."""
    unknown = [Fault(a.id, "kind", f"{a.kind} has no rule in dispatch.check.RECOMPUTE") for a in assets
               if a.kind not in RECOMPUTE]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    known = {a.id: a for a in assets}
    return [
        Plan(
            known[name], states[name], schedule.grid, schedule.power_mw[i], schedule.commitment.get(name),
            schedule.decisions.get(name, {}), inputs[name],
        )
        for i, name in enumerate(schedule.asset_ids)
        if name in known
    ]  # fmt: skip


def recompute(parts: Sequence[Plan]) -> dict[str, Recomputed]:
    """Contents and faults of every asset, in the order of `parts`."""
    found: dict[str, Recomputed] = {}
    for kind in dict.fromkeys(part.asset.kind for part in parts):
        mine = [part for part in parts if part.asset.kind == kind]
        found |= dict(zip((part.asset.id for part in mine), RECOMPUTE[kind](mine), strict=True))
    return {part.asset.id: found[part.asset.id] for part in parts}


def _malformed(assets: Sequence[Asset], schedule: Schedule) -> list[Fault]:
    """Assets without a row, rows of another length, and values that are no numbers."""
    faults = [Fault(a.id, "power_mw", "is missing") for a in assets if a.id not in schedule.asset_ids]
    for asset in assets:
        rows = {"power_mw": schedule.power_of(asset.id)} if asset.id in schedule.asset_ids else {}
        rows |= {"commitment": schedule.commitment[asset.id]} if asset.id in schedule.commitment else {}
        rows |= {"stored_mwh": schedule.stored_mwh[asset.id]} if asset.id in schedule.stored_mwh else {}
        rows |= schedule.decisions.get(asset.id, {})
        for name, row in rows.items():
            if np.shape(row) != (schedule.grid.n,):
                faults.append(Fault(asset.id, name, f"has shape {np.shape(row)} for {schedule.grid.n} steps"))
            elif not np.all(np.isfinite(row)):
                faults.append(Fault(asset.id, name, "is not a number"))
    return faults


def check_schedule(
    assets: Sequence[Asset],
    states: Mapping[str, AssetState],
    inputs: Mapping[str, Mapping[str, Array]],
    schedule: Schedule,
) -> list[Fault]:
    """Every way in which `schedule` breaks the physics of `assets` or reports what does not follow from it."""
    faults = _malformed(assets, schedule)
    if faults:
        return faults
    for name, result in recompute(plans(assets, states, inputs, schedule)).items():
        faults += result.faults
        told = schedule.decisions.get(name, {})
        if result.stored_mwh is not None and name in schedule.stored_mwh:
            reported, value = schedule.stored_mwh[name], result.stored_mwh
            faults += beyond(name, "stored_mwh (reported)", reported, value, value, REPORTED_MWH)
        for key, (value, tolerance) in result.derived.items():
            if key in told:
                faults += beyond(name, f"{key} (reported)", np.asarray(told[key]), value, value, tolerance)
    return faults
