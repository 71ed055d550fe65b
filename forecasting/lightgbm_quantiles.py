"""Quantile regression by gradient-boosted trees, one booster a level.

Each booster minimises the pinball loss of its level a, sum of max(a (y - q), (a - 1) (y - q)) (Koenker and
Bassett, Econometrica 46, 1978), by LightGBM's leaf-wise histogram trees (Ke et al., NeurIPS 2017). The nine
levels of a series share one binned dataset. Crossing quantiles are sorted, which never raises the loss
(Chernozhukov et al., Econometrica 78, 2010). Series may be trained side by side in threads: LightGBM releases
the interpreter while it builds a tree, and two processes lose more to start-up and to handing models over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np

from vpp.domain.time import Array

TREES = 60
_PARAMETERS: Mapping[str, Any] = {
    "objective": "quantile", "learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 20, "max_bin": 63,
    "feature_fraction": 0.5, "feature_fraction_seed": 1, "seed": 1, "deterministic": True,
    "force_col_wise": True, "num_threads": 1, "verbosity": -1,
}  # fmt: skip


@dataclass(frozen=True)
class QuantileModel:
    """Boosters of one series, one a level."""

    boosters: tuple[lightgbm.Booster, ...]

    def predict(self, x: Array) -> Array:
        """Sorted quantiles (L, R) for features `x` (R, F)."""
        rows = np.ascontiguousarray(x)
        raw = np.stack([np.asarray(b.predict(rows, num_threads=1)) for b in self.boosters])
        ordered: Array = np.sort(raw, axis=0)
        return ordered


@dataclass(frozen=True)
class TrainingSet:
    """Features (R, F) and targets (R,) of one series; rows whose target is a gap are not used."""

    x: Array
    y: Array

    @property
    def usable(self) -> int:
        return int(np.isfinite(self.y).sum())


def train(data: TrainingSet, levels: Sequence[float], trees: int = TREES) -> QuantileModel:
    """Train one series."""
    there = np.isfinite(data.y)
    dataset = lightgbm.Dataset(data.x[there], data.y[there], params=dict(_PARAMETERS), free_raw_data=True)
    dataset.construct()
    boosters = [lightgbm.train({**_PARAMETERS, "alpha": a}, dataset, trees) for a in levels]
    return QuantileModel(tuple(b.free_dataset() for b in boosters))


def to_texts(model: QuantileModel) -> list[str]:
    """The boosters as LightGBM's model texts."""
    return [str(b.model_to_string()) for b in model.boosters]


def from_texts(texts: Sequence[str]) -> QuantileModel:
    """The model that `to_texts` wrote."""
    return QuantileModel(tuple(lightgbm.Booster(model_str=text) for text in texts))
