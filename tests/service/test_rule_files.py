"""A portfolio's rules.py: faults end with exit code 2, and its rules hold in every stage that decides on them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dispatch.problem import columns_of
from dispatch.rules import RuleFile
from tests.service.conftest import DEMO, ISSUED, Make, local
from vpp.domain.errors import InputFaults
from vpp.domain.stage import DAY_AHEAD
from vpp.service import rule_files
from vpp.service.assemble import problem_of, rule_faults
from vpp.service.cascade import committing, run_stage
from vpp.service.cli import main
from vpp.service.knowledge import gather
from vpp.service.portfolio import load_portfolio
from vpp.service.situation import Situation

SHARP = local("2016-07-12 17:00"), local("2016-07-12 20:00")
MISSED_EUR_PER_T = 400.0
Folder = Callable[[str], Path]


@pytest.fixture
def with_rules(tmp_path: Path) -> Folder:
    """The demo with another rules.py."""

    def make(text: str) -> Path:
        folder = tmp_path / "demo"
        shutil.copytree(DEMO, folder, dirs_exist_ok=True)
        (folder / "rules.py").write_text(text)
        return folder

    return make


def faults_of(folder: Path) -> list[str]:
    with pytest.raises(InputFaults) as caught:
        load_portfolio(folder)
    return [str(f) for f in caught.value.faults]


def test_the_demo_has_its_contract_rule_and_its_digest_holds_it(with_rules: Folder) -> None:
    loaded = load_portfolio(DEMO)
    assert loaded.rules is not None
    other = load_portfolio(with_rules("def rules(b, plan):\n    pass\n"))
    assert other.rules is not None
    assert other.rules.digest != loaded.rules.digest
    assert other.digest != loaded.digest


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def rules(b, plan)\n    pass", "rules.py/line 1: is no Python: expected ':'"),
        ("x = 1\ny = x / 0\n", "rules.py/line 2: ZeroDivisionError: division by zero"),
        ("rule = 3\n", "rules.py: has no function rules(b, plan)"),
        ("def rules(b, plan):\n    plan.on['mill-9'][0]\n",
         "rules.py/line 2: no asset mill-9; did you mean mill-3?"),
        ("def rules(b, plan):\n    plan.on['battery-glass'][0]\n",
         "rules.py/line 2: battery-glass has no on to rule: battery does not decide it in one column"),
        ("def rules(b, plan):\n    plan.on['chp'][0].fix(1)\n",
         "rules.py/line 2: plan.on['chp'][0] is fixed; state it as a constraint"),
        ("def rules(b, plan):\n    plan.power['chp'][0]\n",
         "rules.py/line 2: AttributeError: 'PlanView' object has no attribute 'power'"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_a_fault_of_the_portfolio(with_rules: Folder, text: str, told: str) -> None:
    assert told in faults_of(with_rules(text))


def test_all_faults_of_one_file_are_told_at_once(with_rules: Folder) -> None:
    lines = ("plan.on['mill-9'][0]", "plan.stored_mwh['offices'][0]", "plan.on['chp'][96]")
    told = faults_of(with_rules("def rules(b, plan):\n" + "".join(f"    {line}\n" for line in lines)))
    assert [t.partition(":")[0] for t in told] == ["rules.py/line 2", "rules.py/line 3", "rules.py/line 4"]


def test_a_file_from_elsewhere_is_refused(with_rules: Folder, tmp_path: Path) -> None:
    folder, elsewhere = with_rules(""), tmp_path / "elsewhere.py"
    elsewhere.write_text("def rules(b, plan):\n    pass\n")
    (folder / "rules.py").unlink()
    (folder / "rules.py").symlink_to(elsewhere)
    assert faults_of(folder) == ["rules.py: must be a file in the portfolio's own folder"]


def test_the_command_line_ends_with_two_and_every_fault(
    with_rules: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = with_rules("def rules(b, plan):\n    plan.on['mill-9'][0]\n    plan.on['mill-8'][0]\n")
    monkeypatch.setattr(sys, "argv", ["vpp", "plan", "--portfolio", str(folder)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    told = [line.partition(":")[0] for line in capsys.readouterr().err.split("\n") if line.strip()]
    assert told == ["rules.py/line 2", "rules.py/line 3"]


@pytest.fixture(scope="module")
def hungry(make: Make) -> Situation:
    """The demo day without its network, its silo at the floor in the sharp band and product dearer than anything."""
    s = gather(make(ISSUED, network=False), DAY_AHEAD, "plan", ISSUED, scenarios=0)
    inside = np.array([SHARP[0] <= t < SHARP[1] for t in s.grid.starts])
    shipped = np.where(inside, 125.0, 0.0)
    inputs = {a: dict(v) for a, v in s.inputs.items()}
    assets = []
    for asset in s.portfolio.assets:
        if asset.kind == "process":
            silo = asset.params.silo.model_copy(
                update={"missed_eur_per_t": MISSED_EUR_PER_T, "capacity_t": 120.0, "min_t": 60.0}
            )
            asset = replace(asset, params=asset.params.model_copy(update={"silo": silo}))
            inputs[asset.id]["shipments_t_per_h"] = shipped
        assets.append(asset)
    states = {a: replace(v, stored_mwh=1.0) if a.startswith("mill") else v for a, v in s.states.items()}
    return replace(s, portfolio=replace(s.portfolio, assets=tuple(assets)), inputs=inputs, states=states)


def running(s: Situation) -> np.ndarray:
    """Mills that run at once in the sharp band."""
    run = run_stage(s, "ruled", committing())
    assert run.level == "optimal", run.reason
    on = np.sum([run.schedule.commitment[f"mill-{k}"] for k in (1, 2, 3)], axis=0)
    return np.array([n for n, t in zip(on, s.grid.starts, strict=True) if SHARP[0] <= t < SHARP[1]])


def test_the_demo_rule_binds_where_three_mills_would_pay(hungry: Situation) -> None:
    assert running(replace(hungry, rules=None)).max() == 3
    ruled = running(hungry)
    assert len(ruled) == 12
    assert ruled.max() == 2


def test_a_schedule_that_breaks_the_rule_is_not_clean(hungry: Situation) -> None:
    run = run_stage(replace(hungry, rules=None), "free", committing())
    told = [str(f) for f in rule_faults(hungry, run.schedule)]
    assert told
    assert all(t.startswith("rules.py/two_mills_in_the_sharp_band[") and t.endswith("is broken: 3 > 2") for t in told)
    assert rule_faults(replace(hungry, rules=None), run.schedule) == []


def test_real_time_judges_only_what_it_decides(hungry: Situation) -> None:
    """The mills are asked, not tracked: a stage that is given them has no row and no fault of theirs."""
    given = {a.id: np.zeros(hungry.grid.n) for a in hungry.portfolio.assets if a.kind == "process"}
    tracked = replace(hungry, given_mw=given)
    with pytest.raises(KeyError):
        columns_of(problem_of(tracked), "rules", "excess")
    assert len(columns_of(problem_of(hungry), "rules", "excess")) == 24
    free = run_stage(replace(hungry, rules=None), "free", committing())
    assert rule_faults(tracked, free.schedule) == []


def test_the_digest_of_a_situation_holds_the_rules(hungry: Situation) -> None:
    other = RuleFile("rules.py", "another", lambda b, plan: None)
    digests = {replace(hungry, rules=r).digest() for r in (None, hungry.rules, other)}
    assert len(digests) == 3


HEAD, PYOMO = "def rules(b, plan):\n", "    import pyomo.environ as pyo\n"
ON = "plan.on['mill-1'][0]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "    @b.Constraint(plan.steps)\n    def never(b, t):\n        return 0 * plan.on['mill-1'][t] >= 1\n",
         "rules.py/line 3: never [0] can never hold, whatever the plan does: 0 is a constant"),
        (HEAD + PYOMO + f"    b.p = pyo.Param(mutable=True)\n    b.c = pyo.Constraint(expr={ON} <= b.p)\n",
         "rules.py/line 4: c has no value (ValueError: Error evaluating Param value (rules.p)"),
        (HEAD + PYOMO + f"    x = pyo.Var()\n    x.construct()\n    b.c = pyo.Constraint(expr=x + {ON} <= 1)\n",
         "rules.py/line 5: c uses a variable of its own in c"),
        (HEAD + PYOMO + "    b.c = pyo.Constraint(expr=plan.stand_in() <= 1)\n",
         "rules.py/line 3: c uses a stand-in in c"),
        *((HEAD + PYOMO + f"    b.c = pyo.Constraint(expr={row})\n", "rules.py/line 3: c is not finite")
          for row in (f"{ON} <= float('nan')", f"float('nan') * {ON} <= 1", f"float('inf') * {ON} <= 1",
                      f"{ON} <= float('inf')", f"{ON} <= float('-inf')")),
        (HEAD + "    yield 1\n", "rules.py/line 1: rules(b, plan) is a generator or async: it states nothing"),
        ("async " + HEAD + "    pass\n", "rules.py/line 1: rules(b, plan) is a generator or async: it states nothing"),
        ("rules = lambda b, plan: (plan.on for _ in plan.steps)\n", "rules.py: rules(b, plan) is a generator or async"),
        (HEAD + PYOMO + "    b.c = pyo.Constraint(rule=lambda b: pyo.Constraint.Infeasible)\n",
         "rules.py/line 3: c can never hold, whatever the plan does: 1 is a constant"),
        (HEAD + "    plan.on['nosuch'][0]\n    plan.faults.clear()\n", "rules.py/line 2: no asset nosuch"),
        (HEAD + PYOMO + f"    b.c = pyo.Constraint(expr={ON} <= 0)\n    b.deactivate()\n",
         "rules.py/line 4: switches constraints off: they state nothing"),
        (HEAD + "    import sys\n    sys.exit(3)\n", "rules.py/line 3: SystemExit: 3"),
        ("raise SystemExit(4)\n", "rules.py/line 1: SystemExit: 4"),
        (HEAD + "    b.model().del_component('column')\n", "rules.py/line 2: takes away what the plan is made of"),
        (HEAD + "    plan.on['chp'][20]\n", "rules.py/line 2: step 20 is outside the plan, whose steps are 0 to 14"),
        (HEAD + "    plan.on['chp'][0:4]\n", "rules.py/line 2: several steps at once; ask for one at a time"),
        (HEAD + "    plan.on['chp'][True]\n", "rules.py/line 2: True is no step; steps are numbers from 0 to "),
    ],
)  # fmt: skip
def test_what_would_state_nothing_or_end_a_plan_is_a_fault_of_its_line(
    with_rules: Folder, text: str, told: str
) -> None:
    assert any(fault.startswith(told) for fault in faults_of(with_rules(text)))


def test_a_step_may_be_any_whole_number(with_rules: Folder) -> None:
    text = HEAD + "    import numpy as np\n    plan.on['chp'][np.int64(3)]\n"
    assert load_portfolio(with_rules(text)).rules is not None


@pytest.mark.parametrize("text", [HEAD + "    while True:\n        pass\n", "while True:\n    pass\n"])
def test_code_that_never_ends_is_a_fault(with_rules: Folder, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(rule_files, "TRIAL_S", 0.2)
    assert "has not ended after 0.2 s" in faults_of(with_rules(text))[0]
