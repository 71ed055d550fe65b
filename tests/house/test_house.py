"""The house rules hold for this tree, and each of them fails on a tree that breaks it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import rules

ROOT = Path(__file__).resolve().parents[2]
LONG_BODY = "def f() -> None:\n" + "    pass\n" * 61

BROKEN: dict[Callable[[Path], list[str]], dict[str, str]] = {
    rules.long_files: {"dispatch/long.py": "x = 1\n" * 401},
    rules.long_functions: {"dispatch/long.py": LONG_BODY},
    rules.unannotated: {"dispatch/loose.py": "def f(x: int):\n    return x\n"},
    rules.shared_doors: {
        "dispatch/one.py": "import pandapower as pp\n",
        "grid_models/two.py": "def f() -> None:\n    from simbench import converter\n",
    },
    rules.filled_roots: {"vpp/__init__.py": "VERSION = 1\n"},
    rules.broken_layers: {"dispatch/upward.py": "import vpp.service\n"},
}
IMPURE = {
    "sibling": {"forecasting/sideways.py": "import dispatch\n"},
    "socket": {"dispatch/wire.py": "import socket\n"},
    "lazy database": {"vpp/domain/db.py": "def f() -> None:\n    import sqlalchemy\n"},
    "plant": {"vpp/plant/shared.py": "import dispatch\n"},
}


def tree(root: Path, files: dict[str, str]) -> Path:
    """A minimal good tree under `root` with `files` added."""
    shutil.copy(ROOT / ".importlinter", root)
    for package in (*rules.CODE, "vpp/domain", "vpp/service", "vpp/plant"):
        (root / package).mkdir(parents=True, exist_ok=True)
        (root / package / "__init__.py").write_text("")
    for name, text in files.items():
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_rule_holds(rule: Callable[[Path], list[str]]) -> None:
    assert rule(ROOT) == []


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_rule_can_fail(rule: Callable[[Path], list[str]], tmp_path: Path) -> None:
    assert rule(tree(tmp_path, {})) == []
    assert len(rule(tree(tmp_path, BROKEN[rule]))) == 1


@pytest.mark.parametrize("case", IMPURE)
def test_every_contract_can_fail(case: str, tmp_path: Path) -> None:
    assert rules.broken_layers(tree(tmp_path, IMPURE[case])) != []


def test_tests_may_share_a_library(tmp_path: Path) -> None:
    good = tree(tmp_path, {"dispatch/one.py": "import cvxpy\n"})
    (good / "tests").mkdir()
    (good / "tests" / "test_it.py").write_text("import cvxpy\n")
    assert rules.shared_doors(good) == []
