"""What a contract rule costs at 10,000 assets: the problem with and without a rule over 40 of its on/off loads.

Half batteries, half mills with minimum times, 96 quarters, one energy product. Both problems are built
and handed to the solver in turn; the median difference of the repetitions is what the rule costs. The
import of Pyomo is measured apart: a service pays it once, when it reads the portfolio.

    python -m benchmarks.rules [--assets 10000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dispatch.block import Context
from dispatch.problem import Problem, assemble
from dispatch.products.energy import bid_energy
from dispatch.registry import KINDS
from dispatch.rules import RuleFile
from dispatch.solvers.highs_door import Living
from vpp.domain.portfolio import Asset, AssetState
from vpp.domain.time import TimeGrid

GRID = TimeGrid.uniform(datetime(2016, 7, 11, 22, tzinfo=UTC), timedelta(minutes=15), 96)
ZONE, RULED = "Europe/Berlin", 40


def rules(b: Any, plan: Any) -> None:
    """At most three quarters of the first forty loads run at once."""
    loads = [f"load-{i}" for i in range(RULED)]

    @b.Constraint(plan.steps)
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


def built(assets: list[Asset], states: dict[str, AssetState]) -> Problem:
    """The stacked problem without a rule."""
    shipped = {"shipments_t_per_h": np.full(GRID.n, 8.0), "rota": np.zeros(GRID.n)}
    inputs = {a.id: shipped if a.kind == "process" else {} for a in assets}
    context = Context(GRID, GRID.start, states, inputs)
    blocks = [KINDS[k].block([a for a in assets if a.kind == k], context) for k in ("battery", "process")]
    ids = [a.id for a in assets]
    price = 60.0 + 40.0 * np.sin(np.arange(GRID.n) * 2 * np.pi / GRID.n)
    return assemble(GRID, ids, [*blocks, bid_energy(ids, ids, GRID, price)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    began = time.perf_counter()
    from dispatch.solvers.pyomo_door import join_rules

    import_s = time.perf_counter() - began
    assets = fleet(given.assets)
    states = {a.id: AssetState(a.id, GRID.start, GRID.start, 0.0, 0.5) for a in assets}
    file = RuleFile("rules.py", "", rules)
    join_rules(built(assets[: given.assets // 2] + assets[-RULED:], states), RuleFile("", "", lambda b, plan: None),
               ZONE, assets, states)  # fmt: skip
    plain_s, rules_s, handover_s = [], [], []
    for _ in range(given.repeat):
        began = time.perf_counter()
        problem = built(assets, states)
        without = time.perf_counter()
        ruled = join_rules(problem, file, ZONE, assets, states)
        with_rule = time.perf_counter()
        Living(problem)
        plain = time.perf_counter()
        Living(ruled)
        handover_s.append(time.perf_counter() - plain - (plain - with_rule))
        plain_s.append(without - began)
        rules_s.append(with_rule - without)
    added = ruled.rows - problem.rows
    print(f"{given.assets} assets: built in {np.median(plain_s):.3f} s; a rule over {RULED} of them: "
          f"+{np.median(rules_s):.3f} s, hand-over {np.median(handover_s):+.3f} s")  # fmt: skip
    print(json.dumps({
        "assets": given.assets, "ruled_assets": RULED, "rules": added, "build_s": float(np.median(plain_s)),
        "rules_s": float(np.median(rules_s)), "handover_difference_s": float(np.median(handover_s)),
        "more_s": float(np.median(rules_s) + np.median(handover_s)), "pyomo_import_s": import_s,
        "rows": ruled.rows, "cols": ruled.columns, "nnz": int(ruled.matrix.nnz),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
