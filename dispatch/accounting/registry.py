"""What the trajectories of each kind cost: one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatch.accounting import (
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
from dispatch.accounting.trace import Costs, Trace, alone

RULES: dict[str, Callable[[Sequence[Trace]], list[Costs]]] = {
    "battery": alone(battery.costs),
    "backup_battery": alone(backup_battery.costs),
    "chp": alone(chp.costs),
    "price_elastic": alone(price_elastic.costs),
    "curtailable": alone(curtailable.costs),
    "thermal_store": alone(thermal_store.costs),
    "ev_fleet": alone(ev_fleet.costs),
    "thermal_unit": alone(thermal_unit.costs),
    "batch": alone(batch.costs),
    "fixed_load": alone(fixed_load.costs),
    "process": process.costs,
    "building": alone(building.costs),
    "thermostat_cluster": alone(thermostat_cluster.costs),
    "water_works": alone(water_works.costs),
    "utilities": alone(utilities.costs),
}
"""Rules over all traces of a kind; where assets share a store, they answer once for it."""
