"""What was learnt, as plain data: a tree of names and numbers, and arrays beside it.

A value is written by its dataclass and fields, an array by its place in a list, a booster by LightGBM's own text.
Only the classes named here are ever made again, so reading a file runs nothing that the file brings along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from forecasting import lightgbm_quantiles as trees
from forecasting.blend import Blend
from forecasting.conformal import Tracker
from forecasting.fitted import Condition
from forecasting.models.boosting import Boosting
from forecasting.models.climatology import Climatology
from forecasting.models.grouped import GroupedQuantiles
from forecasting.models.hourly_lasso import Design, HourlyLasso, Regression
from forecasting.models.linear import Linear
from forecasting.models.persistence import Persistence
from forecasting.past_scores import PastScores
from vpp.domain.time import Array

KNOWN: Mapping[str, type] = {
    c.__name__: c
    for c in (
        Blend, Boosting, Climatology, Condition, Design, GroupedQuantiles, HourlyLasso, Linear, PastScores, Persistence,
        Regression, Tracker,
    )
}  # fmt: skip


def shapes() -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What every class known here is made of: models of another make cannot be read."""
    return tuple((name, tuple(f.name for f in fields(kind))) for name, kind in KNOWN.items())


def encoded(value: Any, arrays: list[Array]) -> Any:
    """`value` as JSON; its arrays are appended to `arrays`. Raises TypeError for a class not known here."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, trees.QuantileModel):
        return {"boosters": trees.to_texts(value)}
    if isinstance(value, dict):
        return {"dict": {k: encoded(v, arrays) for k, v in value.items()}}
    if isinstance(value, tuple):
        return {"tuple": [encoded(v, arrays) for v in value]}
    if isinstance(value, (bool, int, float, str)):
        return value
    if is_dataclass(value) and type(value).__name__ in KNOWN:
        return {"is": type(value).__name__, **{f.name: encoded(getattr(value, f.name), arrays) for f in fields(value)}}
    raise TypeError(f"{type(value).__name__} has no plain form")


def decoded(tree: Any, arrays: Mapping[int, Array]) -> Any:
    """What `encoded` wrote. Raises KeyError for a class not known here."""
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "boosters" in tree:
        return trees.from_texts(tree["boosters"])
    if "dict" in tree:
        return {k: decoded(v, arrays) for k, v in tree["dict"].items()}
    if "tuple" in tree:
        return tuple(decoded(v, arrays) for v in tree["tuple"])
    kind = KNOWN[tree["is"]]
    made = kind(**{f.name: decoded(tree[f.name], arrays) for f in fields(kind) if f.init})
    for f in fields(kind):
        if not f.init:
            setattr(made, f.name, decoded(tree[f.name], arrays))
    return made
