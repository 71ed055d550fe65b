"""What a committed unit can generate: limits from its starts and stops, and its ramps.

Power q is counted above minimum output, su[s] is the highest output in the step of a start at s, sd[e] the
highest in the step before a stop at e, RU[t] and RD[t] the ramps from step t - 1 to t. Where a unit has been
on since a start at s, or stops at e, its output at t is at most

    up(s,t) = su[s] + sum RU[s+1..t],        down(e,t) = sd[e] + sum RD[t+1..e-1]

Starts inside one minimum up time, and a stop that falls into it, exclude each other, so that

    q[t] <= (max - min) on[t] - sum_s (max - up(s,t))+ start[s] - sum_e (max - down(e,t))+ stop[e]

for every set of starts and stops of which at most one can happen. The families are `trajectory` (starts
that keep the unit on beyond t, and the stop at t + 1), `starts` (starts that keep it on at t), and
`trajectories` (several stops as well). Where a unit may start at t and stop at t + 1, two rows replace the
first family. Sources: K. Pan and Y. Guan, "A polyhedral study of the integrated minimum-up/-down time and
ramping polytope", arXiv:1604.02184, 2016; C. Gentile, G. Morales-España and A. Ramos, "A tight MIP
formulation of the unit commitment problem with start-up and shut-down constraints", EURO J. Comput.
Optim. 5, 2017; B. Knueven, J. Ostrowski and J.-P. Watson, "On mixed-integer programming formulations
for the unit commitment problem", INFORMS J. Comput. 32 (4), 2020. Ramps are those of P. Damcı-Kurt,
S. Küçükyavuz, D. Rajan and A. Atamtürk, "A polyhedral study of production ramping", Math. Prog. 158, 2016:

    q[t] - q[t-1] <= RU[t] on[t] + (su[t] - min - RU[t]) start[t]
    q[t-1] - q[t] <= RD[t] on[t-1] + (sd[t] - min - RD[t]) stop[t]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dispatch.assets._bands import Bools, Positions, Term, shifted
from vpp.domain.time import Array

EPS_MIN = 1e-6
EPS_MW = 1e-9


@dataclass(frozen=True)
class Shape:
    """What limits output: `low`, `high` (n,1) MW; `start`, `stop`, `ramp_up`, `ramp_down` (n,T) MW at a step;
    `times`, `minutes` (T,); `up` (n,1) minutes; `excused` (n,T) steps without minimum time.
    """

    low: Array
    high: Array
    start: Array
    stop: Array
    ramp_up: Array
    ramp_down: Array
    times: Array
    minutes: Array
    up: Array
    excused: Bools

    @property
    def size(self) -> tuple[int, int]:
        n, steps = self.start.shape
        return n, steps

    @property
    def brief(self) -> Bools:
        """(n,T) a start at t may be followed by a stop at t + 1."""
        brief: Bools = (self.minutes >= self.up - EPS_MIN) | self.excused
        return brief

    @property
    def fast(self) -> Bools:
        """(n,) the ramps cover the whole range in every step, so that starts and stops alone limit output."""
        least = np.minimum(self.ramp_up, self.ramp_down).min(axis=1, keepdims=True)
        return np.asarray(least >= self.high - self.low - EPS_MW)[:, 0]


@dataclass(frozen=True)
class Limit:
    """`q[t] <= sum of terms` where `keep` (n,T); `plain` says that no start before t and no later stop takes part."""

    label: str
    keep: Bools
    terms: tuple[Term, ...]
    plain: Bools


def _patient(shape: Shape) -> Bools:
    """(n,1) units all of whose starts carry their minimum up time."""
    return np.asarray(~shape.excused.any(axis=1, keepdims=True))


def _start_loss(shape: Shape, lag: int) -> Array:
    """(n,T) MW below maximum at t after a start at t - lag; 0 where that start is not in the grid."""
    risen = np.cumsum(shape.ramp_up, axis=1)
    reach = shifted(np.asarray(shape.start - risen), lag, np.inf) + risen
    loss: Array = np.maximum(shape.high - reach, 0.0)
    return loss


def _stop_loss(shape: Shape, lead: int) -> Array:
    """(n,T) MW below maximum at t before a stop at t + lead; 0 where that stop is not in the grid."""
    fallen = np.cumsum(shape.ramp_down, axis=1)
    before = fallen - shape.ramp_down
    reach = shifted(np.asarray(shape.stop + before), -lead, np.inf) - fallen
    loss: Array = np.maximum(shape.high - reach, 0.0)
    return loss


def _since(shape: Shape, lag: int) -> Array:
    """(T,) minutes from the start of step t - lag to the start of step t; inf outside the grid."""
    moved: Array = shape.times - shifted(shape.times[None, :], lag, -np.inf)[0]
    return moved


def _start_losses(shape: Shape, spare_min: Array) -> list[tuple[int, Array]]:
    """(lag, (n,T) MW lost) of the starts at or before t that keep the unit on until `spare_min` after t begins."""
    patient = _patient(shape)
    losses = [(0, _start_loss(shape, 0))]
    for lag in range(1, shape.size[1]):
        inside = patient & (_since(shape, lag) + spare_min < shape.up - EPS_MIN)
        if not inside.any():
            break
        losses.append((lag, np.where(inside, _start_loss(shape, lag), 0.0)))
    return losses


def _lost(position: Positions, losses: Sequence[tuple[int, Array]]) -> list[Term]:
    return [Term(position, -loss, lag) for lag, loss in losses if loss.any()]


def trajectory(shape: Shape, on: Positions, start: Positions, stop: Positions) -> list[Limit]:
    """The stop at t + 1 with the starts that exclude it; where a start at t does not, the two rows instead."""
    going = np.ones(shape.size, dtype=bool)
    going[:, -1] = False
    losses = _start_losses(shape, shape.minutes)
    stop_loss, start_loss = _stop_loss(shape, 1), losses[0][1]
    full, brief = Term(on, shape.high - shape.low), shape.brief & going
    early = np.any([loss > 0.0 for _, loss in losses[1:]], axis=0) if losses[1:] else np.zeros(shape.size, dtype=bool)
    both = (start_loss > EPS_MW) & (stop_loss > EPS_MW)
    plain = np.ones(shape.size, dtype=bool)
    by_start = (full, Term(start, -start_loss), Term(stop, -np.maximum(stop_loss - start_loss, 0.0), -1))
    by_stop = (full, Term(stop, -stop_loss, -1), Term(start, -np.maximum(start_loss - stop_loss, 0.0)))
    return [
        Limit("trajectory", ~shape.brief & going, (full, *_lost(start, losses), Term(stop, -stop_loss, -1)), ~early),
        Limit("start_limit", brief, by_start, plain),
        Limit("stop_limit", brief & both, by_stop, plain),
    ]


def starts(shape: Shape, on: Positions, start: Positions) -> Limit:
    """All starts that keep the unit on at t, where they are more than in `trajectory`; always at the last step."""
    losses, fewer = _start_losses(shape, np.zeros(1)), dict(_start_losses(shape, shape.minutes))
    nothing = np.zeros(shape.size)
    keep, early = np.zeros(shape.size, dtype=bool), np.zeros(shape.size, dtype=bool)
    for lag, loss in losses[1:]:
        keep |= (loss > 0.0) & (fewer.get(lag, nothing) == 0.0)
        early |= loss > 0.0
    keep[:, -1] = True
    return Limit("starts", keep, (Term(on, shape.high - shape.low), *_lost(start, losses)), ~early)


def trajectories(shape: Shape, on: Positions, start: Positions, stop: Positions) -> Limit:
    """Two or more stops that exclude each other, with the starts that exclude them; it holds for output, not headroom.

    A start that excludes all of these stops but the last takes part with what it loses beyond that stop.
    """
    begins, steps = np.broadcast_to(shape.times, shape.size), shape.size[1]
    terms, leads = [Term(on, shape.high - shape.low)], np.zeros(shape.size, dtype=int)
    final, before, loss_last = begins.copy(), begins.copy(), np.zeros(shape.size)
    for lead in range(1, steps):
        inside = _patient(shape) & (-_since(shape, -lead) - shape.minutes < shape.up - EPS_MIN)
        loss = np.where(inside & (leads == lead - 1), _stop_loss(shape, lead), 0.0)
        if not loss.any():
            break
        more, at = loss > 0.0, shifted(begins, -lead, 0.0)
        leads, before, final = leads + more, np.where(more, final, before), np.where(more, at, final)
        loss_last = np.where(more, loss, loss_last)
        terms.append(Term(stop, -loss, -lead))
    for lag in range(steps):
        since, loss = shifted(begins, lag, -np.inf), _start_loss(shape, lag)
        whole, partly = final - since < shape.up - EPS_MIN, before - since < shape.up - EPS_MIN
        if not partly.any():
            break
        loss = np.where(whole, loss, np.where(partly, np.maximum(loss - loss_last, 0.0), 0.0))
        terms.append(Term(start, -loss, lag))
    return Limit("trajectories", leads >= 2, tuple(terms), np.zeros(shape.size, dtype=bool))


def ramps(
    shape: Shape, on: Positions, start: Positions, stop: Positions, was_on: Array, before: Array
) -> tuple[Limit, Array, Limit, Array]:
    """Ramps up and down with the constant each has at the first step, where the unit was on at `before` MW, both (n,1).

    A ramp is left out where the step is long enough for the whole range; the first also where the unit was off.
    """
    first = np.zeros(shape.size, dtype=bool)
    first[:, 0] = True
    reach = shape.high - shape.low
    risen = np.where(first, was_on * (before - shape.low), 0.0)
    short = (was_on > 0.0) & (shape.ramp_up < shape.high - before - EPS_MW)
    up = np.where(first, short, shape.ramp_up < reach - EPS_MW)
    rise = (Term(on, shape.ramp_up), Term(start, shape.start - shape.low - shape.ramp_up))
    stop_first = np.where(first, np.minimum(shape.stop, np.maximum(before, shape.low)), shape.stop)
    steep = (shape.ramp_down < before - shape.low - EPS_MW) | (shape.stop < before - EPS_MW)
    down = np.where(first, (was_on > 0.0) & steep, shape.ramp_down < reach - EPS_MW)
    fall = (Term(on, shape.ramp_down, 1), Term(stop, stop_first - shape.low - shape.ramp_down))
    fallen = np.where(first, was_on * (shape.ramp_down - (before - shape.low)), 0.0)
    none = np.zeros(shape.size, dtype=bool)
    return Limit("ramp_up", up, rise, none), risen, Limit("ramp_down", down, fall, none), fallen
