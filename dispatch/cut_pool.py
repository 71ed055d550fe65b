"""The network cuts of a plan: which are taken from a round, how deep, and their rows.

A cut is

    sum_i keep[i] (dp[bus_i] + tan_phi_i dq[bus_i]) p_i[t] - excess <= limit - background - fixed parts,

divided by its largest coefficient, so that `excess` is in MW of the asset that acts best. Its price
lies above every economic value, so a limit is exceeded only where nothing of ours can keep it. A round
takes at most one new cut per element and step, the one missed most, and a handful per step. An element
cut for a third time at the same step is cut deeper by a share of what the linearisation missed, at most
by 0.2 %; cuts are in percent of a rating or of nominal voltage and keep a margin of 1 % and 0.1 %, so that
the minutes inside a quarter, whose mean is planned, stay inside the limits too, and beside it what 95 % of
the forecast's joint errors add at most: a chance constraint per element and step,

    P(flow(plan) + dp @ error_p + dq @ error_q <= limit) >= 0.95,

read off the sample (D. Bienstock, M. Chertkov, S. Harnett, Chance-constrained optimal power flow: risk-aware
network control under uncertainty, SIAM Review 56, 2014). So margins are wide a day ahead and narrow an hour ahead.

Assets at one bus with one tan phi act alike. Where there are many of them, their sum is a column of its
own (`bus_block`) and a cut has as many coefficients as there are buses, not assets.

A. S. Xavier et al., Transmission constraint filtering in large-scale security-constrained unit
commitment, IEEE Trans. Power Syst. 34 (2019): few and late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp

from dispatch.block import INF, Block, Columns, Rows
from dispatch.exposure import Errors, Exposure
from dispatch.problem import Bools, Ints
from vpp.domain.network import Cut, Flow
from vpp.domain.time import Array, TimeGrid

EXCESS_EUR_PER_MWH = 20_000.0
EXCESS_MW = 1e-6
MARGIN_LOADING_PCT, MARGIN_VOLTAGE_PCT = 1.0, 0.1
KEPT_SHARE = 0.95
DEEPER, DEEPEST_PCT = 0.25, 0.2
HANDFUL = 5
ALIKE = 3
SMALL = 1e-7
Key = tuple[str, int, str]


@dataclass
class CutPool:
    """Cuts in the order of their rows; `repeats` counts them by element, step and case.

    `rows` are the cuts' rows in the problem; those at the places `replaced` bound nothing any more.
    """

    names: Sequence[str]
    errors: Errors | None = None
    cuts: list[Cut] = field(default_factory=list)
    repeats: Counter[Key] = field(default_factory=Counter)
    helpless: set[Key] = field(default_factory=set)
    rows: list[int] = field(default_factory=list)
    replaced: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[Cut]:
        """The cuts that bound."""
        return [c for i, c in enumerate(self.cuts) if i not in self.replaced]

    def key(self, cut: Cut) -> Key:
        return cut.element, cut.step, self.names[cut.case]

    def taken(self, offered: Sequence[Cut], flow: Flow) -> list[Cut]:
        """The cuts of one round out of those `offered` at `flow`: the one missed most per element and step."""
        missed = [self._missed(c, flow) for c in offered]
        order = sorted(range(len(offered)), key=lambda i: -missed[i][0])
        elements: set[tuple[str, int]] = set()
        per_step: Counter[int] = Counter()
        found = []
        for i in order:
            cut, (past, deeper) = offered[i], missed[i]
            fresh = past > 0.0 or not self.repeats[self.key(cut)]
            place = cut.element, cut.step
            if fresh and place not in elements and per_step[cut.step] < HANDFUL and self.key(cut) not in self.helpless:
                elements.add(place)
                per_step[cut.step] += 1
                found.append(deeper)
        return sorted(found, key=lambda c: (c.step, c.element, c.case))

    def _missed(self, cut: Cut, flow: Flow) -> tuple[float, Cut]:
        """By how much `flow` is past the cut with its margin, %, and the cut with margin and depth."""
        past, aimed = self.aimed(cut, flow)
        deeper = min(DEEPEST_PCT, max(0.0, past) * DEEPER * max(0, self.repeats[self.key(cut)] - 1))
        return past, replace(aimed, limit=aimed.limit - deeper)

    def aimed(self, cut: Cut, flow: Flow) -> tuple[float, Cut]:
        """By how much `flow` is past the cut with its margin, % (negative: what it has left), and the cut with it."""
        margin = MARGIN_VOLTAGE_PCT if cut.element.startswith("bus") else MARGIN_LOADING_PCT
        margin += 0.0 if self.errors is None else self.errors.passed(cut, KEPT_SHARE)
        p, q = flow.p_mw[cut.case, cut.step], flow.q_mvar[cut.case, cut.step]
        past = float(cut.dp @ p + cut.dq @ q) - cut.limit + margin
        return past, replace(cut, limit=cut.limit - margin)

    def add(self, kept: Sequence[Cut], offered: Sequence[Cut], *, seeds: bool = False) -> None:
        """Keep cuts whose rows were added, and remember those `offered` that nobody of ours acts on.

        Nothing was missed where `seeds` stand, so they are no repeats.
        """
        self.repeats.update(self.key(c) for c in kept if not seeds)
        self.helpless |= {self.key(c) for c in offered} - {self.key(c) for c in kept}
        self.cuts += kept


@dataclass(frozen=True)
class Alike:
    """Assets that act alike: `group` (N,) of each asset, one bus and one tan phi a group."""

    group: Ints
    count: int

    def matrix(self, steps: int) -> sp.csr_array:
        """(count*T, N*T) sums of injections per group and step."""
        n = len(self.group)
        pick = sp.csr_array((np.ones(n), (self.group, np.arange(n))), shape=(self.count, n))
        return sp.csr_array(sp.kron(pick, sp.eye_array(steps), format="csr"))


def alike(exposure: Exposure) -> Alike | None:
    """The groups of assets, where each has `ALIKE` members on average and no case treats members differently."""
    bus = exposure.incidence @ np.arange(1.0, exposure.incidence.shape[1] + 1.0)
    _, group = np.unique(np.stack([bus, exposure.tan_phi]), axis=1, return_inverse=True)
    group = np.asarray(group).ravel()
    count = int(group.max(initial=-1)) + 1
    whole = all(c.keep.all() or not c.keep.any() for c in exposure.all_cases)
    return Alike(group, count) if whole and count * ALIKE <= len(group) else None


def bus_block(groups: Alike, grid: TimeGrid) -> Block:
    """Columns `group_mw` (groups, T): the net injection of each group."""
    size = groups.count * grid.n
    columns = Columns("group_mw", (groups.count, grid.n), -INF, INF, term="network")
    own = sp.csr_array(-sp.eye_array(size))
    return Block("buses", (columns,), (Rows("group", 0.0, 0.0, own=own, injection=groups.matrix(grid.n)),))


def cut_block(name: str, cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid) -> tuple[Block, list[Cut]]:
    """The rows of `cuts` over injections with a priced excess, and the cuts that an asset of ours can act on."""
    matrix, rhs, kept = cut_rows(cuts, exposure, grid)
    own = sp.csr_array(-sp.eye_array(len(kept)))
    return Block(name, (_excess(kept, grid),), (Rows("cuts", -np.inf, rhs, own=own, injection=matrix),)), kept


def excess_block(name: str, cuts: Sequence[Cut], grid: TimeGrid) -> Block:
    """The priced excess of `cuts` alone, for rows over groups (`group_cut_rows`)."""
    return Block(name, (_excess(cuts, grid),), ())


def _excess(cuts: Sequence[Cut], grid: TimeGrid) -> Columns:
    price = EXCESS_EUR_PER_MWH * grid.hours[np.array([c.step for c in cuts], dtype=np.int64)]
    return Columns("excess_mw", (1, len(cuts)), cost=price, term="network")


def cut_rows(cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid) -> tuple[sp.csr_array, Array, list[Cut]]:
    """Coefficients (m, N*T) with a largest of one, right sides (m,); cuts nobody acts on are left out."""
    size = exposure.incidence.shape[0]
    coefficient, rhs, acts = _scaled(cuts, exposure)
    step = np.array([cuts[i].step for i in acts.tolist()], dtype=np.int64)
    row, asset = np.nonzero(np.abs(coefficient) > SMALL)
    at = row, asset * grid.n + step[row]
    matrix = sp.csr_array((coefficient[row, asset], at), shape=(len(acts), size * grid.n))
    return matrix, rhs, [cuts[i] for i in acts.tolist()]


def group_cut_rows(
    cuts: Sequence[Cut], exposure: Exposure, grid: TimeGrid, groups: Alike, first: int, columns: int
) -> tuple[sp.csr_array, Array, list[Cut]]:
    """`cut_rows` over the columns `group_mw`, which begin at `first` of `columns`; (m, columns)."""
    coefficient, rhs, acts = _scaled(cuts, exposure)
    member = np.zeros(groups.count, dtype=np.int64)
    member[groups.group] = np.arange(len(groups.group))
    by_group = coefficient[:, member]
    step = np.array([cuts[i].step for i in acts.tolist()], dtype=np.int64)
    row, group = np.nonzero(np.abs(by_group) > SMALL)
    at = row, first + group * grid.n + step[row]
    matrix = sp.csr_array((by_group[row, group], at), shape=(len(acts), columns))
    return matrix, rhs, [cuts[i] for i in acts.tolist()]


def scales(cuts: Sequence[Cut], exposure: Exposure) -> Array:
    """(m,) what each cut's row is divided by, % per MW of the asset that acts best; 0 where nobody acts."""
    dp, dq = np.stack([c.dp for c in cuts]), np.stack([c.dq for c in cuts])
    effect = dp @ exposure.incidence.T + (dq @ exposure.incidence.T) * exposure.tan_phi
    most: Array = np.abs(np.where(_kept(cuts, exposure)[0], effect, 0.0)).max(axis=1, initial=0.0)
    return most


def _scaled(cuts: Sequence[Cut], exposure: Exposure) -> tuple[Array, Array, Ints]:
    """Coefficients (m, N) with a largest of one and right sides (m,) of the cuts `acts` (m,) that somebody acts on."""
    if not cuts:
        return np.empty((0, exposure.incidence.shape[0])), np.empty(0), np.empty(0, dtype=np.int64)
    step = np.array([c.step for c in cuts], dtype=np.int64)
    dp, dq = np.stack([c.dp for c in cuts]), np.stack([c.dq for c in cuts])
    effect = dp @ exposure.incidence.T + (dq @ exposure.incidence.T) * exposure.tan_phi
    keep, fixed = _kept(cuts, exposure)
    background = (dp * exposure.p_background_mw[step]).sum(1) + (dq * exposure.q_background_mvar[step]).sum(1)
    rhs = np.array([c.limit for c in cuts]) - background - np.where(keep, 0.0, effect * fixed).sum(1)
    coefficient = np.where(keep, effect, 0.0)
    scale = np.abs(coefficient).max(axis=1, initial=0.0)
    acts = np.flatnonzero(scale > SMALL * np.maximum(1.0, np.abs(dp).max(axis=1)))
    return coefficient[acts] / scale[acts, None], rhs[acts] / scale[acts], acts


def _kept(cuts: Sequence[Cut], exposure: Exposure) -> tuple[Bools, Array]:
    """(m, N) which assets keep their plan in each cut's case, and what the others inject."""
    cases = exposure.all_cases
    keep = np.stack([cases[c.case].keep[:, c.step] for c in cuts])
    return keep, np.stack([cases[c.case].fixed_mw[:, c.step] for c in cuts])
