"""The certificate: a plan is clean only if the reference engine and every contingency say so.

The expected case is judged by the reference engine at the taps the batch found, on all steps or on
`reference_steps` (the batch engine judges the rest); contingencies by the batch engine. Scenarios are
counted, not judged: their share without violation is reported. Each batch of scenarios begins with the
expected case, so that every scenario starts from the taps that the plan leads to. Outages and switching
of a network that knows its own contingencies are listed; of those that the network's owner made binding
each broken one is a violation.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from dispatch.exposure import Exposure, Scenarios, bus_injection, reliefs, scenario_injection
from vpp.domain.network import Certificate, FaultCheck, FaultNetwork, Flow, Network, Violation
from vpp.domain.time import Array, TimeGrid

SCENARIO_CHUNK = 50


def certify(
    power_mw: Array,
    network: Network,
    exposure: Exposure,
    scenarios: Scenarios | None,
    grid: TimeGrid,
    *,
    reference_steps: slice | None = None,
) -> Certificate:
    """Certificate of a plan (N,T): "violated" on any violation in the expected case or a contingency.

    `worst` is the violation that exceeds most, or where there is none the element nearest to its rating.
    Steps of violations are those of `grid`. Raises NotConverged where the reference engine does.
    """
    p, q = bus_injection(exposure, power_mw)
    flow = network.flow(grid, p, q)
    with ThreadPoolExecutor(1) as beside:
        expected = beside.submit(_expected, network, flow, reference_steps)
        share, worst_scenario, count = _scenarios(network, power_mw, exposure, scenarios, grid)
        faults = _after_faults(network, flow, exposure, power_mw)
        found = [*expected.result(), *_contingencies(network, flow, exposure.names)]
    found += [v for f in faults if f.binding for c in (*f.broken, *f.lasting) for v in c.violations]
    return Certificate(
        verdict="violated" if found else "clean",
        engine=_engine(network),
        scenarios=count,
        share_clean=share,
        worst=max(found, key=lambda v: v.excess) if found else _nearest(network, flow),
        contingencies={c.name: sum(v.case == c.name for v in found) for c in exposure.cases},
        violations=tuple(found),
        worst_scenario=worst_scenario,
        checked=(*exposure.names, *(check.name for check in faults), *([f"{count} scenarios"] if count else [])),
        after_faults=faults,
    )


def _after_faults(network: Network, flow: Flow, exposure: Exposure, power_mw: Array) -> tuple[FaultCheck, ...]:
    if not isinstance(network, FaultNetwork):
        return ()
    return network.after_faults(flow.case(0), reliefs(exposure, power_mw))


def _engine(network: Network) -> str:
    return str(getattr(network, "engine", type(network).__name__))


def _expected(network: Network, flow: Flow, steps: slice | None) -> list[Violation]:
    first, last, _ = (steps or slice(None)).indices(flow.grid.n)
    judged = network.verdict(_steps(flow, first, last), 0)
    found = [replace(v, step=v.step + first) for v in network.violations(judged)]
    if last - first < flow.grid.n:
        batch = network.violations(flow.case(0))
        found += [v for v in batch if not first <= v.step < last]
    return sorted(found, key=lambda v: v.step)


def _contingencies(network: Network, flow: Flow, names: Sequence[str]) -> list[Violation]:
    return [v for v in network.violations(flow, names) if v.case != names[0]]


def _steps(flow: Flow, first: int, last: int) -> Flow:
    at = slice(first, last)
    return Flow(
        flow.grid.part(first, last), flow.p_mw[:, at], flow.q_mvar[:, at], flow.vm_pu[:, at],
        flow.loading_pct[:, at], flow.taps[:, at], flow.converged[:, at],
    )  # fmt: skip


def _nearest(network: Network, flow: Flow) -> Violation | None:
    """The highest loading of the expected case, as the margin that is left."""
    loading = flow.loading_pct[0]
    if not np.isfinite(loading).any():
        return None
    step, element = np.unravel_index(int(np.nanargmax(loading)), loading.shape)
    return Violation(network.elements[element], int(step), float(loading[step, element]), 100.0, "%")


def scenario_violations(
    power_mw: Array, network: Network, exposure: Exposure, scenarios: Scenarios, grid: TimeGrid
) -> list[Violation]:
    """Every violation of a plan (N,T) in the joint states `scenarios`, whose cases are "scenario 0" and so on."""
    expected, (p, q) = bus_injection(exposure, power_mw), scenario_injection(exposure, power_mw, scenarios)
    found: list[Violation] = []
    for first in range(0, len(p), SCENARIO_CHUNK):
        at = slice(first, first + SCENARIO_CHUNK)
        names = ["expected", *(f"scenario {first + k}" for k in range(len(p[at])))]
        flow = network.flow(grid, *(np.concatenate([e[:1], s[at]]) for e, s in zip(expected, (p, q), strict=True)))
        found += [v for v in network.violations(flow, names) if v.case != "expected"]
    return found


def _scenarios(
    network: Network, power_mw: Array, exposure: Exposure, scenarios: Scenarios | None, grid: TimeGrid
) -> tuple[float, Violation | None, int]:
    """Share without violation, the worst violation in any, and how many there were."""
    if scenarios is None or not len(scenarios.p_background_mw):
        return float("nan"), None, 0
    count, found = len(scenarios.p_background_mw), scenario_violations(power_mw, network, exposure, scenarios, grid)
    worst = max(found, key=lambda v: v.excess, default=None)
    return 1.0 - len({v.case for v in found}) / count, worst, count
