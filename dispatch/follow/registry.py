"""How each kind follows a wish: one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatch.follow import (
    backup_battery,
    batch,
    battery,
    building,
    chp,
    curtailable,
    ev_fleet,
    fixed_load,
    price_elastic,
    process,
    thermal_store,
    thermal_unit,
    thermostat_cluster,
    utilities,
    water_works,
)
from dispatch.follow.tools import alone
from dispatch.wish import Path, Wish

RULES: dict[str, Callable[[Sequence[Wish]], list[Path]]] = {
    "battery": alone(battery.follow),
    "backup_battery": alone(backup_battery.follow),
    "curtailable": alone(curtailable.follow),
    "ev_fleet": alone(ev_fleet.follow),
    "batch": alone(batch.follow),
    "fixed_load": alone(fixed_load.follow),
    "price_elastic": alone(price_elastic.follow),
    "chp": alone(chp.follow),
    "thermal_store": alone(thermal_store.follow),
    "thermal_unit": alone(thermal_unit.follow),
    "process": process.follow,
    "building": alone(building.follow),
    "thermostat_cluster": alone(thermostat_cluster.follow),
    "water_works": alone(water_works.follow),
    "utilities": alone(utilities.follow),
}
"""Rules over all wishes of a kind, answers in their order."""
