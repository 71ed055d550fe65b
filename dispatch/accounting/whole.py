"""The costs of all traces."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.accounting.registry import RULES
from dispatch.accounting.trace import Costs, Trace
from vpp.domain.errors import Fault, InputFaults


def costs(traces: Sequence[Trace]) -> Costs:
    """Money by term over all assets, spent positive; energy, deviation and fees are not in here.

    Raises InputFaults for a kind without a rule here.
    """
    unknown = [Fault(t.asset.id, "kind", f"{t.asset.kind} has no rule in dispatch.accounting.RULES") for t in traces
               if t.asset.kind not in RULES]  # fmt: skip
    if unknown:
        raise InputFaults(unknown)
    total: Costs = {}
    for kind in dict.fromkeys(t.asset.kind for t in traces):
        for part in RULES[kind]([t for t in traces if t.asset.kind == kind]):
            for term, money in part.items():
                total[term] = total.get(term, 0.0) + money
    return total
