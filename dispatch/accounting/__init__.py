"""What a trajectory costs, from measured power and contents: the terms of the objective, restated kind by kind."""

from dispatch.accounting.registry import RULES
from dispatch.accounting.trace import Costs, Trace
from dispatch.accounting.whole import costs

__all__ = ["RULES", "Costs", "Trace", "costs"]
