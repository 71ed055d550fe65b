"""What a contract rule costs at 10,000 assets: the problem with and without a rule over 40 of its on/off loads.

Half batteries, half mills with minimum times, 96 quarters, one energy product. Both problems are built
and handed to the solver in turn, best of the repetitions: `rules_s` is what making the rule's rows takes
(`rules_cpu_s` of processor time, for machines that do other work beside it), `more_s` the difference of
the two totals, which carries the machine's noise on a build of seconds. The import of Pyomo is measured
apart: a service pays it once, when it reads the portfolio.

    python -m benchmarks.rules [--assets 10000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dispatch.block import Block, Context, Rows
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from dispatch.rule_places import Places
from dispatch.rules import RuleFile
from dispatch.solvers.highs_door import Living
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import TimeGrid

_BEGAN = time.perf_counter()
from dispatch.solvers.pyomo_door import rule_rows  # noqa: E402

IMPORT_S = time.perf_counter() - _BEGAN
GRID = TimeGrid.uniform(datetime(2016, 7, 11, 22, tzinfo=UTC), timedelta(minutes=15), 96)
ZONE, RULED = "Europe/Berlin", 40


def rules(b: Any, plan: Any) -> None:
    """At most three quarters of the first forty loads run at once."""
    loads = [f"load-{i}" for i in range(RULED)]

    @b.Constraint(plan.steps)  # type: ignore[untyped-decorator]
    def enough_rest(b: Any, t: int) -> Any:
        return sum(plan.on[load][t] for load in loads) <= 3 * RULED // 4


def fleet(assets: int) -> list[Asset]:
    """Half batteries, half mills that each fill a silo of their own."""
    battery = KINDS["battery"].Params(
        power_mw=0.5, capacity_mwh=1.0, charge_efficiency=0.95, discharge_efficiency=0.95, wear_eur_per_mwh=8.0
    )
    made = [_asset(f"battery-{i}", "battery", battery) for i in range(assets // 2)]
    for i in range(assets - len(made)):
        silo = {"id": f"silo-{i}", "capacity_t": 200.0, "kwh_per_t": 36.0, "missed_eur_per_t": 40.0}
        load = KINDS["process"].Params(
            power_mw=1.0, kwh_per_t=36.0, min_run_h=1.0, min_stop_h=1.0, start_cost_eur=20.0, silo=silo
        )
        made.append(_asset(f"load-{i}", "process", load))
    return made


def _asset(name: str, kind: str, params: Any) -> Asset:
    return Asset(name, kind, "site", f"mp:{name}", "node", None, params)


def built(assets: list[Asset], states: dict[str, AssetState], file: RuleFile | None) -> tuple[Problem, float]:
    """The stacked problem, and the seconds that it took."""
    began = time.perf_counter()
    shipped = {"shipments_t_per_h": np.full(GRID.n, 8.0), "rota": np.zeros(GRID.n)}
    inputs = {a.id: shipped if a.kind == "process" else {} for a in assets}
    context = Context(GRID, GRID.start, states, inputs)
    blocks = [KINDS[k].block([a for a in assets if a.kind == k], context) for k in ("battery", "process")]
    ids = [a.id for a in assets]
    price = 60.0 + 40.0 * np.sin(np.arange(GRID.n) * 2 * np.pi / GRID.n)
    blocks.append(bid_energy(ids, ids, GRID, price))
    ruled: tuple[list[Block], list[Rows]] = ([], [])
    if file is not None:
        ruled = rule_rows(file, ZONE, assets, states, Places(GRID, ids, blocks))
    problem = assemble(GRID, ids, [*blocks, *ruled[0]], ruled[1])
    return problem, time.perf_counter() - began


def joined_s(
    assets: list[Asset], states: dict[str, AssetState], problem: Problem, file: RuleFile
) -> tuple[float, float]:
    """Seconds of wall time and of the processor to make the rule's rows, apart from what is needed without it too."""
    began, worked = time.perf_counter(), time.process_time()
    rule_rows(file, ZONE, assets, states, Places(GRID, problem.asset_ids, problem.blocks))
    return time.perf_counter() - began, time.process_time() - worked


def handover_s(problem: Problem) -> float:
    began = time.perf_counter()
    Living(problem)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    assets, file = fleet(given.assets), RuleFile("rules.py", "", rules)
    states = {a.id: AssetState(a.id, GRID.start, GRID.start, 0.0, 0.5) for a in assets}
    names = ("build_s", "build_ruled_s", "rows_s", "rows_cpu_s", "handover", "ruled")
    kept: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(given.repeat):
        plain, seconds = built(assets, states, None)
        kept["build_s"].append(seconds)
        wall, worked = joined_s(assets, states, plain, file)
        kept["rows_s"].append(wall)
        kept["rows_cpu_s"].append(worked)
        kept["handover"].append(handover_s(plain))
        rows = plain.rows
        del plain
        ruled, seconds = built(assets, states, file)
        kept["build_ruled_s"].append(seconds)
        kept["ruled"].append(handover_s(ruled))
    best = {name: min(values) for name, values in kept.items()}
    more = best["build_ruled_s"] + best["ruled"] - best["build_s"] - best["handover"]
    print(f"{given.assets} assets built in {best['build_s']:.3f} s; a rule over {RULED} of them takes "
          f"{best['rows_s']:.3f} s of its own, build and hand-over differ by {more:+.3f} s")  # fmt: skip
    print(json.dumps({
        "assets": given.assets, "ruled_assets": RULED, "rules": ruled.rows - rows, "build_s": best["build_s"],
        "build_ruled_s": best["build_ruled_s"], "rules_s": best["rows_s"], "rules_cpu_s": best["rows_cpu_s"],
        "handover_s": best["handover"], "handover_ruled_s": best["ruled"], "more_s": more, "pyomo_import_s": IMPORT_S,
        "rows": ruled.rows, "cols": ruled.columns, "nnz": int(ruled.matrix.nnz),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
