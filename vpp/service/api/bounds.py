"""What an asset's injection can be at all, and which assets can be taken off.

Battery: +- its rating. Curtailable: 0 to capacity. CHP: 0 to its rating. Process: minus its rating to 0.
Cooling: minus its largest to minus its smallest power. Price-takers and fixed loads are not commanded.
"""

from __future__ import annotations

from vpp.domain.portfolio import Asset, Portfolio

CAN_BE_OFF = ("battery", "curtailable", "chp", "process")
NO_POWER_COMMAND = "takes no power set-point"


def reach_mw(asset: Asset) -> tuple[float, float] | None:
    """(lowest, highest) injection in MW; None for an asset that takes no power command."""
    p = asset.params
    if asset.kind == "battery":
        return -p.power_mw, p.power_mw
    if asset.kind == "curtailable":
        return 0.0, p.capacity_mw
    if asset.kind == "chp":
        return 0.0, p.power_mw
    if asset.kind == "process":
        return -p.power_mw, 0.0
    if asset.kind == "thermal_store":
        return -p.max_power_mw, -p.min_power_mw
    return None


def store_mwh(asset: Asset, portfolio: Portfolio) -> float | None:
    """Capacity of an asset's store in the kind's own energy, its share where several share one; None without one."""
    p = asset.params
    if asset.kind == "battery":
        return float(p.capacity_mwh)
    if asset.kind in ("chp", "thermal_store"):
        return float(p.store_mwh_th)
    if asset.kind == "process":
        sharing = sum(a.params.silo.id == p.silo.id for a in portfolio.of_kind("process"))
        return float(p.silo.capacity_t * p.silo.kwh_per_t / 1000.0 / sharing)
    return None


def why_not_off(asset: Asset) -> str | None:
    """Why an asset cannot be held at zero; None where it can."""
    if asset.kind in CAN_BE_OFF:
        return None
    if asset.kind == "thermal_store":
        return "a cooling plant must keep its temperature; withdraw from the event instead"
    return f"a {asset.kind} {NO_POWER_COMMAND}; withdraw from the event instead"
