"""Hand-made blocks and a three-bus net with exact limits, small enough to know every optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from dispatch.block import INF, AssetResult, Block, Columns, Rows, eye
from dispatch.exposure import Case, Exposure
from vpp.domain.network import LOADING_TOLERANCE_PCT, Asked, Cut, Flow, Violation
from vpp.domain.time import Array, TimeGrid


def grid(steps: int, minutes: int = 15) -> TimeGrid:
    return TimeGrid.uniform(datetime(2016, 7, 12, tzinfo=UTC), timedelta(minutes=minutes), steps)


def generator(name: str, on: TimeGrid, upper: float | Array, cost: float | Array, lower: float = 0.0) -> Block:
    """p in [lower, upper] at `cost` per MWh."""
    column = Columns("p_mw", (1, on.n), lower=lower, upper=upper, cost=np.asarray(cost) * on.hours, term="fuel")
    return Block(name, (column,), (), (name,), eye(on.n))


def load(name: str, mw: Array) -> Block:
    """A load nobody controls."""
    return Block(name, (), (), (name,), None, power_offset=-mw)


def mill(name: str, on: TimeGrid, power_mw: float, runs: int, cost: Array | float = 0.0) -> Block:
    """p = -power on, on binary, exactly `runs` steps on; running at t costs cost[t]."""
    column = Columns("on", (1, on.n), upper=1.0, cost=cost, integer=True, term="starts")
    quota = Rows("quota", runs, runs, sp.csr_array(np.ones((1, on.n))))

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        value = -duals["quota"] * np.ones(on.n) if duals else None
        return {name: AssetResult(commitment=np.round(x), marginal_value=value)}

    return Block(name, (column,), (quota,), (name,), sp.csr_array(-power_mw * eye(on.n)), read=read)


def battery(name: str, on: TimeGrid, power_mw: float, capacity_mwh: float, start_mwh: float) -> Block:
    """Lossless, ends at least where it began."""
    n = on.n
    columns = (
        Columns("p_mw", (1, n), lower=-power_mw, upper=power_mw, term="wear"),
        Columns("e_mwh", (1, n), lower=np.r_[np.zeros(n - 1), start_mwh], upper=capacity_mwh),
    )
    step = sp.csr_array(sp.eye_array(n) - sp.eye_array(n, k=-1))
    own = sp.csr_array(sp.hstack([sp.diags_array(on.hours), step], format="csr"))
    begin = np.r_[start_mwh, np.zeros(n - 1)]
    power = sp.csr_array(sp.hstack([sp.eye_array(n), sp.csr_array((n, n))], format="csr"))

    def read(x: Array, duals: Mapping[str, Array]) -> Mapping[str, AssetResult]:
        return {name: AssetResult(stored_mwh=x[n:], marginal_value=-duals["balance"] if duals else None)}

    return Block(name, columns, (Rows("balance", begin, begin, own),), (name,), power, read=read)


def fleet(name: str, on: TimeGrid, ids: Sequence[str]) -> Block:
    """Many lossless stores of 1 MW and 4 MWh in one block."""
    size = len(ids) * on.n
    change = sp.eye_array(size) - sp.kron(sp.eye_array(len(ids)), sp.eye_array(on.n, k=-1))
    own = sp.csr_array(sp.hstack([sp.diags_array(np.tile(on.hours, len(ids))), change], format="csr"))
    power = sp.csr_array(sp.hstack([sp.eye_array(size), sp.csr_array((size, size))], format="csr"))
    shape = (len(ids), on.n)
    columns = (Columns("p_mw", shape, lower=-1.0, upper=1.0), Columns("e_mwh", shape, upper=4.0))
    return Block(name, columns, (Rows("balance", 0.0, 0.0, own),), tuple(ids), power)


def idle(name: str, on: TimeGrid, bound_mw: float = INF) -> Block:
    """Injects what it likes within +-bound for nothing."""
    return Block(name, (Columns("p_mw", (1, on.n), lower=-bound_mw, upper=bound_mw),), (), (name,), eye(on.n))


@dataclass(frozen=True)
class ThreeBusNet:
    """Bus 0 is the source; line 0 feeds bus 1, line 1 feeds bus 2 behind it. Loading of a line is
    (|P| + bend P^2) / rating: linear where bend is 0, and then the cuts are exact."""

    rating_mw: tuple[float, float] = (2.0, 1.0)
    bend: float = 0.0
    engine: str = "three buses by hand"

    @property
    def buses(self) -> tuple[int, ...]:
        return (0, 1, 2)

    @property
    def elements(self) -> tuple[str, ...]:
        return ("line 0", "line 1")

    def _line_mw(self, p_mw: Array) -> Array:
        return np.stack([-p_mw[..., 1] - p_mw[..., 2], -p_mw[..., 2]], axis=-1)

    def flow(self, grid: TimeGrid, p_mw: Array, q_mvar: Array, taps: NDArray[np.int64] | None = None) -> Flow:
        line = np.abs(self._line_mw(p_mw))
        loading = 100.0 * (line + self.bend * line**2) / np.asarray(self.rating_mw)
        shape = p_mw.shape[:2]
        return Flow(
            grid, p_mw, q_mvar, np.ones_like(p_mw), loading, np.zeros((*shape, 0), dtype=np.int64),
            np.ones(shape, dtype=bool),
        )  # fmt: skip

    def verdict(self, flow: Flow, case: int = 0) -> Flow:
        one = slice(case, case + 1)
        return self.flow(flow.grid, flow.p_mw[one], flow.q_mvar[one])

    def violations(self, flow: Flow, names: Sequence[str] = ("expected",)) -> list[Violation]:
        past = np.argwhere(flow.loading_pct > 100.0 + LOADING_TOLERANCE_PCT)
        return [
            Violation(self.elements[e], int(t), float(flow.loading_pct[c, t, e]), 100.0, "%", names[c])
            for c, t, e in past
        ]

    def cuts(self, flow: Flow, near_pct: float = 100.0, per_step: int = 5, asked: Asked | None = None) -> list[Cut]:
        line = self._line_mw(flow.p_mw)
        slope = 100.0 * np.sign(line) * (1 + 2 * self.bend * np.abs(line)) / np.asarray(self.rating_mw)
        behind = np.array([[0.0, -1.0, -1.0], [0.0, 0.0, -1.0]])
        found = []
        wanted = np.argwhere(flow.loading_pct > near_pct)
        if asked is not None:
            wanted = np.array([(c, t, self.elements.index(e)) for (c, t), names in asked.items() for e in names])
        for c, t, e in wanted:
            dp = slope[c, t, e] * behind[e]
            limit = 100.0 - flow.loading_pct[c, t, e] + float(dp @ flow.p_mw[c, t])
            found.append(Cut(self.elements[e], int(t), int(c), dp, np.zeros(3), float(limit)))
        return found


def exposure(asset_buses: Sequence[int], background_mw: Array, cases: Sequence[Case] = ()) -> Exposure:
    """Assets at the given buses of the net; background (T,3)."""
    n = len(asset_buses)
    incidence = sp.csr_array((np.ones(n), (np.arange(n), np.asarray(asset_buses))), shape=(n, 3))
    return Exposure(incidence, np.zeros(n), background_mw, np.zeros_like(background_mw), tuple(cases))


def with_cases(of: Exposure, *cases: Case) -> Exposure:
    return replace(of, cases=cases)
