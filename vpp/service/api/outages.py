"""Outages of a plan, ranked for a grid desk: each element out alone, and the open point that helps best after it.

First what is past a limit after its remedy, by the excess; then what leaves load dark that no open point restores; then
what is dark until the remedy is done; then how near the worst element comes to its rating. Limits are those after a
fault, all steps of the plan together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vpp.domain.network import Contingency, Flow, RankedNetwork
from vpp.domain.time import rfc3339
from vpp.service.api.views import jsonable


@dataclass(frozen=True)
class RankedOutage:
    """`alone` without anybody's help; where load is cut off, `tried` has it once for every switching state of the plan,
    with the open point that helps best or, where none does, with no remedy.
    """

    alone: Contingency
    tried: tuple[Contingency, ...]

    @property
    def remedies(self) -> tuple[Contingency, ...]:
        """With an open point closed."""
        return tuple(c for c in self.tried if c.remedy is not None)

    @property
    def after(self) -> Contingency:
        """What is left once everything that helps is done: the worst of all switching states, else the outage alone."""
        return max(self.tried, key=lambda c: (c.unsupplied_mw, c.severity), default=self.alone)

    @property
    def rank(self) -> tuple[float, ...]:
        """Greater is worse."""
        after, alone = self.after, self.alone
        use = max((c.loading.loading_pct / c.loading.limit_pct for c in (alone, after) if c.loading), default=0.0)
        return max(after.severity, 0.0), after.unsupplied_mw, alone.unsupplied_mw, use


def ranked(network: RankedNetwork, flow: Flow) -> tuple[RankedOutage, ...]:
    """Every outage of the flow's first case, worst first."""
    tried: dict[str, list[Contingency]] = defaultdict(list)
    for c in network.reswitched(flow):
        tried[c.outage].append(c)
    rows = [RankedOutage(c, tuple(tried[c.outage])) for c in network.n_minus_one(flow)]
    return tuple(sorted(rows, key=lambda r: r.rank, reverse=True))


def outage_json(row: RankedOutage, starts: Sequence[datetime]) -> dict[str, Any]:
    """One outage as JSON; `starts` are the steps of the flow."""
    remedies = [{"close": c.remedy, **_state(c, starts)} for c in row.remedies]
    return {"outage": row.alone.outage, **_state(row.alone, starts), "remedies": remedies}


def _state(c: Contingency, starts: Sequence[datetime]) -> dict[str, Any]:
    at, v = c.loading, c.voltage
    return {
        "unsupplied_mw": c.unsupplied_mw, "violated_steps": c.violated_steps, "unsolved_steps": c.unsolved_steps,
        "loading": None if at is None else jsonable(
            {"element": at.element, "at": rfc3339(starts[at.step]), "loading_pct": at.loading_pct,
             "limit_pct": at.limit_pct}),
        "voltage": None if v is None else jsonable(
            {"bus": v.bus, "at": rfc3339(starts[v.step]), "vm_pu": v.vm_pu, "limit_pu": v.limit_pu}),
    }  # fmt: skip
