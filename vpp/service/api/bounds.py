"""What an asset's injection can be at all, and which assets can be taken off, as their kinds say."""

from __future__ import annotations

from dispatch.registry import KINDS
from vpp.domain.portfolio import Asset, Portfolio

NO_POWER_COMMAND = "takes no power set-point"


def reach_mw(asset: Asset) -> tuple[float, float] | None:
    """(lowest, highest) injection in MW; None for an asset that takes no power command."""
    return KINDS[asset.kind].reach_mw(asset.params)


def store_mwh(asset: Asset, portfolio: Portfolio) -> float | None:
    """Capacity of an asset's store in the kind's own energy, its share where several share one; None without one."""
    kind = KINDS[asset.kind]
    mine = kind.store(asset)
    if mine is None:
        return None
    name, capacity = mine
    sharing = sum((kind.store(other) or ("",))[0] == name for other in portfolio.of_kind(asset.kind))
    return capacity / sharing


def why_not_off(asset: Asset) -> str | None:
    """Why an asset cannot be held at zero; None where it can."""
    if reach_mw(asset) is None:
        return f"a {asset.kind} {NO_POWER_COMMAND}; withdraw from the event instead"
    reason = KINDS[asset.kind].NEVER_OFF
    return f"{reason}; withdraw from the event instead" if reason else None
