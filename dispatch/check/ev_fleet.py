"""EV depot, recomputed from what the plan says each class of each stay draws and feeds back:

    sum of draws - sum of feeds = -P,  both within the feeder,  one direction at a time
    0 <= draw <= N P_car * share of the step plugged in
    x = lend at arrival,  x[t] = x[t-1] + h (eta_c draw - feed / eta_d),  0 <= x <= lend + need
    unmet[t] = sum over stays that leave in step t of (lend + need - x)

Local times are laid on the grid minute by minute. What the cars present at the start hold together is shared out
by the rule of the kind: what each class must have to be full in time, then the first to leave first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from dispatch.check.tools import REPORTED_MWH, TOLERANCE_MW, TOLERANCE_MWH, Plan, Recomputed, beyond
from vpp.domain.errors import Fault

FED_MW = 1e-6


@dataclass
class _Class:
    """One stay of a session: hours from the start of the grid, and its content as it goes."""

    session: Any
    name: str
    come_h: float
    go_h: float
    content: float

    @property
    def full(self) -> float:
        return float(self.session.count * (self.session.lend_mwh + self.session.energy_mwh))


def recompute(plan: Plan) -> Recomputed:
    """Every class by itself, then the depot."""
    q, name, hours = plan.asset.params, plan.asset.id, plan.grid.hours
    classes, edge = _classes(plan), np.concatenate([[0.0], np.cumsum(hours)])
    drawn, fed, stored, unmet = (np.zeros(plan.grid.n) for _ in range(4))
    faults: list[Fault] = _unknown(plan, classes)
    for c in classes:
        draw, feed = plan.decision(f"charge_mw {c.name}"), plan.decision(f"discharge_mw {c.name}")
        inside = np.maximum(np.minimum(c.go_h, edge[1:]) - np.maximum(c.come_h, edge[:-1]), 0.0) / hours
        most = c.session.count * inside * plan.state.available
        faults += beyond(name, f"charge_mw {c.name}", draw, 0.0, most * c.session.power_mw, TOLERANCE_MW)
        faults += beyond(name, f"discharge_mw {c.name}", feed, 0.0, most * c.session.v2g_mw, TOLERANCE_MW)
        content = c.content + np.cumsum(hours * (q.charge_efficiency * draw - feed / q.discharge_efficiency))
        faults += beyond(name, f"content of {c.name}", content, 0.0, c.full, TOLERANCE_MWH)
        last = int(np.searchsorted(edge, c.go_h - 1e-9)) - 1
        if c.go_h <= edge[-1] + 1e-9:
            unmet[last] += max(0.0, c.full - content[last])
        stored += np.where((edge[1:] > c.come_h + 1e-9) & (edge[1:] < c.go_h - 1e-9), content, 0.0)
        drawn, fed = drawn + draw, fed + feed
    faults += beyond(name, "power_mw", plan.power_mw, fed - drawn, fed - drawn, TOLERANCE_MW)
    faults += beyond(name, "feeder", plan.power_mw, -q.feeder_mw, q.feeder_mw, TOLERANCE_MW)
    faults += beyond(name, "both directions", np.minimum(drawn, fed), 0.0, 0.0, TOLERANCE_MW)
    feeding = np.asarray(fed > FED_MW, dtype=float)
    faults += [Fault(name, "commitment", "missing")] if plan.on is None else []
    faults += beyond(name, "commitment", feeding if plan.on is None else plan.on, feeding, feeding, 1e-6)
    faults += beyond(name, "unmet_mwh", plan.decision("unmet_mwh"), unmet, unmet, TOLERANCE_MWH)
    return Recomputed(stored, tuple(faults), {"unmet_mwh": (unmet, REPORTED_MWH)})


def _unknown(plan: Plan, classes: Sequence[_Class]) -> list[Fault]:
    """Power told for cars that are not there."""
    known = {c.name for c in classes}
    told = [key for key in plan.decisions if key.startswith(("charge_mw ", "discharge_mw "))]
    return [Fault(plan.asset.id, key, "no such stay") for key in told if key.split(" ", 1)[1] not in known]


def _classes(plan: Plan) -> list[_Class]:
    """The stays that touch the grid, those present at its start with their share of the content."""
    q, start, end = plan.asset.params, plan.grid.start, plan.grid.end
    zone, found = ZoneInfo(q.zone), []
    day = (start - timedelta(hours=48)).astimezone(zone).date()
    while datetime(day.year, day.month, day.day, tzinfo=zone) < end + timedelta(hours=1):
        for s in q.sessions:
            come = datetime.combine(day, s.arrival, zone)
            later = timedelta(days=int(s.departure <= s.arrival))
            go = datetime.combine(day + later, s.departure, zone)
            at = [(moment - start).total_seconds() / 3600.0 for moment in (_utc(come), _utc(go))]
            if day.weekday() in s.weekdays and at[1] > 1e-9 and at[0] < (end - start).total_seconds() / 3600.0 - 1e-9:
                found.append(_Class(s, f"{s.id}@{day}", at[0], at[1], s.count * s.lend_mwh))
        day += timedelta(days=1)
    _share_out(found, q.charge_efficiency, max(plan.state.stored_mwh, 0.0))
    return found


def _utc(local: datetime) -> datetime:
    return local.astimezone(ZoneInfo("UTC"))


def _share_out(classes: Sequence[_Class], efficiency: float, stored: float) -> None:
    present = sorted((c for c in classes if c.come_h < -1e-9), key=lambda c: (c.go_h, classes.index(c)))
    rates = {c.name: efficiency * c.session.count * c.session.power_mw for c in present}
    caps = {c.name: min(c.full, c.session.count * c.session.lend_mwh - rates[c.name] * c.come_h) for c in present}
    for c in present:
        c.content = min(stored, caps[c.name], max(0.0, c.full - rates[c.name] * c.go_h))
        stored -= c.content
    for c in present:
        more = min(stored, caps[c.name] - c.content)
        c.content, stored = c.content + more, stored - more
