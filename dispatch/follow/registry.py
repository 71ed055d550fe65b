"""How each kind follows a wish: one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatch.follow import battery, chp, curtailable, fixed_load, price_elastic, process, thermal_store, thermal_unit
from dispatch.follow.tools import alone
from dispatch.wish import Path, Wish

RULES: dict[str, Callable[[Sequence[Wish]], list[Path]]] = {
    "battery": alone(battery.follow),
    "curtailable": alone(curtailable.follow),
    "fixed_load": alone(fixed_load.follow),
    "price_elastic": alone(price_elastic.follow),
    "chp": alone(chp.follow),
    "thermal_store": alone(thermal_store.follow),
    "thermal_unit": alone(thermal_unit.follow),
    "process": process.follow,
}
"""Rules over all wishes of a kind, answers in their order."""
