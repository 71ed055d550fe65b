"""Follow a wish within today's limits: the forward rules behind every rung below the optimum.

Each rule walks the steps once and keeps the wished power where the device can do it: power and
energy limits, ramps, minimum run and stop times, heat that must be met, silos that must not run
over. No solver, so it always answers; what no choice of power can prevent goes into the slacks of the
kind (unmet or dumped heat, overheating, missed shipments). The equations are those of the kinds, stated
as decisions; what is out of service is off or at its default. Each kind is one file here.
"""

from dispatch.follow.registry import RULES
from dispatch.follow.whole import follow

__all__ = ["RULES", "follow"]
