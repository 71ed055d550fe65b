"""Process: mills of one silo follow a wish together.

At each step a mill that its interlock holds keeps running. The others run where they are wished to, the
running ones first, as long as the crew is large enough, starts are left of the last 24 h, and everything
that must run on from here fits into the silo, minimum runs of new starts included; so the silo runs
over only where mills held from before fill it. Where the silo would fall below its minimum, further
mills are started. What no mill can prevent is missed or spilled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from dispatch.follow.tools import EPS
from dispatch.wish import Path, Switch, Wish
from vpp.domain.time import Array

DAY_MIN = 1440


def follow(wishes: Sequence[Wish]) -> list[Path]:
    """Silo by silo."""
    silos: dict[str, list[Wish]] = {}
    for wish in wishes:
        silos.setdefault(wish.asset.params.silo.id, []).append(wish)
    paths = {
        wish.asset.id: path for group in silos.values() for wish, path in zip(group, _mills(group), strict=True)
    }  # fmt: skip
    return [paths[wish.asset.id] for wish in wishes]


@dataclass
class _Silo:
    """The walk of one silo: contents in tonnes, times in minutes from the start of the grid."""

    wishes: Sequence[Wish]
    switches: list[Switch]
    rates: Array
    shipped: Array
    hours: Array
    times: Array
    content: float
    low: float
    top: float

    @classmethod
    def of(cls, wishes: Sequence[Wish]) -> _Silo:
        silo, grid = wishes[0].asset.params.silo, wishes[0].grid
        content = max(sum(w.state.stored_mwh for w in wishes), 0.0) * 1000.0 / silo.kwh_per_t
        return cls(
            wishes,
            [Switch.of(w.state, w.asset.params.min_run_h, w.asset.params.min_stop_h) for w in wishes],
            np.array([w.asset.params.power_mw * 1000.0 / w.asset.params.kwh_per_t for w in wishes]),
            np.maximum(wishes[0].inputs["shipments_t_per_h"], 0.0),
            grid.hours,
            np.concatenate([[0.0], np.cumsum(grid.minutes[:-1], dtype=float)]),
            content, min(silo.min_t, content), max(silo.capacity_t, content),
        )  # fmt: skip

    @property
    def crew(self) -> float:
        limits = [w.asset.params.crew_limit for w in self.wishes]
        return min((float(k) for k in limits if k is not None), default=np.inf)

    def fits(self, running: Iterable[int], t: int, capacity_t: float) -> bool:
        """Whether the silo holds what `running` mills make in step t and what they must make after it.

        Beyond the grid, shipments are taken to go on as in the last step.
        """
        chosen, content = list(running), self.content
        held = np.array([self._held_until(k, t) for k in chosen])
        rates = self.rates[chosen]
        for s in range(t, len(self.hours)):
            making = rates if s == t else rates[held > self.times[s] + 1e-6]
            if not making.size:
                return True
            content = max(content + self.hours[s] * float(making.sum() - self.shipped[s]), self.low)
            if content > capacity_t + EPS:
                return False
        rest_h = np.maximum(held - self.times[-1] - 60.0 * self.hours[-1], 0.0) / 60.0
        beyond = float(rates @ rest_h) - float(self.shipped[-1]) * float(rest_h.max(initial=0.0))
        return content + beyond <= capacity_t + EPS

    def _held_until(self, k: int, t: int) -> float:
        switch = self.switches[k]
        return float(self.times[t]) + (switch.held_minutes if switch.on else 60.0 * switch.run_h)

    def dry(self, running: Iterable[int], t: int, least_t: float) -> bool:
        """Whether the silo would fall below `least_t` in step t."""
        made = float(self.rates[list(running)].sum())
        return float(self.content + self.hours[t] * (made - self.shipped[t])) < least_t - EPS


def _mills(wishes: Sequence[Wish]) -> list[Path]:
    """What the mills of one silo will do, in the order given."""
    silo, steps = _Silo.of(wishes), wishes[0].grid.n
    started = [_started_before(w) for w in wishes]
    on = np.zeros((len(wishes), steps))
    stored, missed, spilled = (np.zeros(steps) for _ in range(3))
    for t, h in enumerate(silo.hours):
        recent = np.array([sum(silo.times[t] - s < DAY_MIN for s in of) for of in started])
        running = _choose(silo, recent, t)
        for k, switch in enumerate(silo.switches):
            if k in running and not switch.on:
                started[k].append(float(silo.times[t]))
            switch.step(k in running, wishes[0].grid.minutes[t])
        on[list(running), t] = 1.0
        after = silo.content + h * (float(silo.rates @ on[:, t]) - silo.shipped[t])
        missed[t], spilled[t] = max(0.0, silo.low - after), max(0.0, after - silo.top)
        silo.content = stored[t] = after + missed[t] - spilled[t]
    share = stored * wishes[0].asset.params.silo.kwh_per_t / 1000.0 / len(wishes)
    extra = {"missed_t": missed, "spilled_t": spilled}
    return [
        Path(-w.asset.params.power_mw * on[k], on[k], share, {"silo_t": stored, **(extra if k == 0 else {})})
        for k, w in enumerate(wishes)
    ]


def _choose(silo: _Silo, starts: Array, t: int) -> set[int]:
    """The mills that run in step t; `starts` are those of the last 24 h."""
    params = silo.wishes[0].asset.params.silo
    running = {k for k, s in enumerate(silo.switches) if s.on and not s.may_change()}
    free = [k for k, s in enumerate(silo.switches) if k not in running and s.may_change()]
    able = [k for k in free if silo.switches[k].on or _may_start(silo.wishes[k], starts[k])]
    able = [k for k in able if np.broadcast_to(silo.wishes[k].lower_mw, silo.hours.shape)[t] <= -_power(silo, k) + EPS]
    able.sort(key=lambda k: not silo.switches[k].on)
    wished = [k for k in able if silo.wishes[k].wanted_mw[t] <= -_power(silo, k) / 2.0]
    for k in [*wished, *(k for k in able if k not in wished)]:
        needed = k in wished or silo.dry(running, t, params.min_t)
        if needed and len(running) < silo.crew and silo.fits({*running, k}, t, params.capacity_t):
            running.add(k)
    return running


def _power(silo: _Silo, k: int) -> float:
    return float(silo.wishes[k].asset.params.power_mw)


def _started_before(wish: Wish) -> list[float]:
    """Minutes from the start of the grid to each start before it, all negative."""
    ages = ((moment - wish.grid.start).total_seconds() / 60.0 for moment in wish.state.started)
    return [age for age in ages if age < 0.0]


def _may_start(wish: Wish, recent_starts: float) -> bool:
    most = wish.asset.params.max_starts_per_day
    return most is None or recent_starts < most
