"""What a run knew of its assets, kept with the run so that it can be explained when everything has moved on.

States are overwritten every minute, so a past situation cannot be gathered again. The physics of one
asset needs no more than this: its state, its inputs, what was committed from above and what its store
is worth at the end; the prices of the plan's duals carry the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters.store.codec import restore
from dispatch.block import Context, EndValue
from vpp.domain.portfolio import AssetState
from vpp.domain.schedule import DispatchRun, Solution
from vpp.domain.time import Array
from vpp.service.situation import Situation

ASSETS = "assets"


@dataclass(frozen=True)
class AssetSide:
    """The part of a situation that a kind's block is built from; arrays are over the run's grid."""

    states: Mapping[str, AssetState]
    inputs: Mapping[str, Mapping[str, Array]]
    committed: Mapping[str, Array] = field(default_factory=dict)
    end_value: Mapping[str, EndValue] = field(default_factory=dict)

    def context(self, run: DispatchRun) -> Context:
        """The kinds' context of `run`."""
        committed = {a: np.asarray(v).astype(np.int8) for a, v in self.committed.items()}
        return Context(run.schedule.grid, run.issued_at, self.states, self.inputs, committed, self.end_value)


def asset_side(s: Situation) -> AssetSide:
    """The asset side of a situation."""
    committed = {a: np.asarray(v, dtype=float) for a, v in s.committed.items()}
    return AssetSide(s.states, s.inputs, committed, s.end_value)


def explainable(s: Situation, solution: Solution | None) -> dict[str, Any]:
    """What a run keeps to be explained later; nothing where it has no prices."""
    return {} if solution is None or solution.prices is None else {ASSETS: asset_side(s)}


def kept_side(run: DispatchRun) -> AssetSide | None:
    """The asset side that a run kept, as made or as read from the record."""
    kept = run.inputs.get(ASSETS)
    if kept is None or isinstance(kept, AssetSide):
        return kept
    found: AssetSide = restore(AssetSide, kept)
    return found
