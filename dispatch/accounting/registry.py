"""What the trajectories of each kind cost: one line a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dispatch.accounting import battery, chp, curtailable, fixed_load, price_elastic, process, thermal_store, thermal_unit
from dispatch.accounting.trace import Costs, Trace, alone

RULES: dict[str, Callable[[Sequence[Trace]], list[Costs]]] = {
    "battery": alone(battery.costs),
    "chp": alone(chp.costs),
    "price_elastic": alone(price_elastic.costs),
    "curtailable": alone(curtailable.costs),
    "thermal_store": alone(thermal_store.costs),
    "thermal_unit": alone(thermal_unit.costs),
    "fixed_load": alone(fixed_load.costs),
    "process": process.costs,
}
"""Rules over all traces of a kind; where assets share a store, they answer once for it."""
