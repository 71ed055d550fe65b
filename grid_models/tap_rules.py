"""What the importer makes of tap data: types that are missing, controllers of the net, and what it refuses.

pandapower ignores the taps of a transformer without a tap changer type, and SimBench names none: such
taps would be silent, so they are refused or typed by the specification. Ratio and Symmetrical changers
add a voltage under the angle of their step, Ideal ones turn the voltage; tabular changers have no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from grid_models.cells import number, text
from grid_models.spec import NetworkSpec

TYPES = ("Ratio", "Symmetrical", "Ideal")
AUTOMATIC, SET_POINT, SIDE, BAND = "autoTap", "autoTapSetp", "autoTapSide", "autoTapBand"
"""Columns of automatic taps: SimBench's own, and the half width of the dead band where the net states it."""


def has_tap_data(trafo: pd.Series[Any]) -> bool:
    """Whether a transformer row says anything a tap type would give meaning to."""
    moved = number(trafo, "tap_pos") - number(trafo, "tap_neutral")
    values = (number(trafo, "tap_step_percent"), number(trafo, "tap_step_degree"), moved)
    return any(np.isfinite(v) and v != 0.0 for v in values)


def is_automatic(trafo: pd.Series[Any]) -> bool:
    """Whether a transformer row asks for automatic taps."""
    return text(trafo.get(AUTOMATIC)) in ("1", "1.0", "True")


def take_controllers(net: Any) -> None:
    """Turns every `DiscreteTapControl` of a two-winding transformer in service into columns of its row.

    Other controllers stay in their table, which `checks` refuses by name.
    """
    taken = [i for i, row in net.controller.iterrows() if _on_one_trafo(row)]
    for i in taken:
        controller = net.controller.at[i, "object"]
        if not bool(net.controller.at[i, "in_service"]):
            continue
        low, high = float(controller.vm_lower_pu), float(controller.vm_upper_pu)
        values = {AUTOMATIC: 1, SET_POINT: (low + high) / 2.0, SIDE: str(controller.side), BAND: (high - low) / 2.0}
        for column, value in values.items():
            kept = net.trafo.get(column, pd.Series(None, index=net.trafo.index, dtype=object))
            net.trafo[column] = kept.astype(object)
            net.trafo.at[int(controller.element_index), column] = value
    net.controller = net.controller.drop(index=taken)


def _on_one_trafo(row: pd.Series[Any]) -> bool:
    controller = row["object"]
    if type(controller).__name__ != "DiscreteTapControl" or getattr(controller, "element", "trafo") != "trafo":
        return False
    return np.ndim(controller.element_index) == 0


def give_types(net: Any) -> None:
    """Types as ratio changers the transformers with tap data and no type; the specification has allowed it."""
    if "tap_changer_type" not in net.trafo:
        net.trafo["tap_changer_type"] = None
    untyped = [has_tap_data(row) and not text(row["tap_changer_type"]) for _, row in net.trafo.iterrows()]
    net.trafo.loc[untyped, "tap_changer_type"] = "Ratio"


def tap_faults(i: Any, trafo: pd.Series[Any], spec: NetworkSpec) -> Iterator[str]:
    """Everything in the tap data of transformer `i` that has no model."""
    if text(trafo.get("tap_dependency_table")) == "True":
        yield f"trafo {i}: tap dependency table has no model"
    if np.isfinite(number(trafo, "tap2_pos")):
        yield f"trafo {i}: second tap changer has no model"
    if has_tap_data(trafo):
        yield from _changer(i, trafo, spec)
    if is_automatic(trafo):
        yield from _automatic(i, trafo, spec)


def _changer(i: Any, trafo: pd.Series[Any], spec: NetworkSpec) -> Iterator[str]:
    kind = text(trafo.get("tap_changer_type"))
    if not kind and spec.tap_changer is None:
        yield f"trafo {i}: tap data and no tap changer type"
    if kind not in ("", *TYPES):
        yield f"trafo {i}: tap changer type {kind!r} has no model"
    if text(trafo.get("tap_side")) not in ("hv", "lv"):
        yield f"trafo {i}: tap data and no tap side"
    if not np.isfinite(number(trafo, "tap_neutral")):
        yield f"trafo {i}: tap data and no neutral position"
    if any(number(trafo, c) % 1.0 != 0.0 for c in ("tap_pos", "tap_neutral") if np.isfinite(number(trafo, c))):
        yield f"trafo {i}: tap position or neutral is no whole number"
    if number(trafo, "tap_min", -np.inf) > number(trafo, "tap_max", np.inf):
        yield f"trafo {i}: lowest tap position above the highest"
    steps = [number(trafo, c, 0.0) != 0.0 for c in ("tap_step_percent", "tap_step_degree")]
    if kind == "Ideal" and all(steps):
        yield f"trafo {i}: an ideal phase shifter has its step in percent or in degrees, not both"


def _automatic(i: Any, trafo: pd.Series[Any], spec: NetworkSpec) -> Iterator[str]:
    if spec.tap_set_point_pu is None and not np.isfinite(number(trafo, SET_POINT)):
        yield f"trafo {i}: automatic tap without set-point"
    if text(trafo.get(SIDE)) not in ("hv", "lv"):
        yield f"trafo {i}: automatic tap without side"
    if text(trafo.get("tap_changer_type")) == "Ideal" or abs(number(trafo, "tap_step_degree", 0.0)) % 180.0 == 90.0:
        yield f"trafo {i}: an automatic tap that turns the voltage cannot hold its magnitude"
    band = number(trafo, BAND, spec.tap_dead_band_pu)
    if not all(np.isfinite(number(trafo, c)) for c in ("tap_min", "tap_max", "tap_step_percent")):
        yield f"trafo {i}: automatic tap without range or step"
    elif 2.0 * band <= abs(number(trafo, "tap_step_percent")) / 100.0:
        yield f"trafo {i}: dead band is narrower than one tap step"
