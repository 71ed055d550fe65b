"""The rules of the house that no linter knows, each as a function from a source tree to its offences."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("vpp", "forecasting", "dispatch", "grid_models", "adapters", "benchmarks", "tests")
CODE = FOLDERS[:5]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
BEHIND_ONE_DOOR = {
    "pandapower": "pandapower",
    "simbench": "pandapower",
    "lightgbm": "lightgbm",
    "highspy": "highspy",
    "cvxpy": "cvxpy",
    "pyomo": "pyomo",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(root: Path, folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Every Python file below the `folders` of `root`."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def long_files(root: Path) -> list[str]:
    """Files of more than 400 lines."""
    counts = {path: len(path.read_text().splitlines()) for path in sources(root)}
    return [f"{path.relative_to(root)}: {n} lines" for path, n in counts.items() if n > MAX_FILE_LINES]


def body_lines(function: Function) -> int:
    """Lines from the first statement after the docstring to the end."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def long_functions(root: Path) -> list[str]:
    """Functions whose body has more than 60 lines."""
    return [
        f"{path.relative_to(root)}:{function.lineno} {function.name}: {body_lines(function)} lines"
        for path in sources(root)
        for function in functions(path)
        if body_lines(function) > MAX_FUNCTION_LINES
    ]


def unannotated(root: Path) -> list[str]:
    """Functions of the code without a return type."""
    return [
        f"{path.relative_to(root)}:{function.lineno} {function.name}"
        for path in sources(root, CODE)
        for function in functions(path)
        if function.returns is None
    ]


def imported(path: Path) -> set[str]:
    """Top-level names of every package a file imports, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def shared_doors(root: Path) -> list[str]:
    """Libraries that more than one module of the code imports."""
    importers: dict[str, set[str]] = defaultdict(set)
    for path in sources(root, CODE):
        for name in imported(path) & BEHIND_ONE_DOOR.keys():
            importers[BEHIND_ONE_DOOR[name]].add(str(path.relative_to(root)))
    return [f"{library}: {', '.join(sorted(paths))}" for library, paths in importers.items() if len(paths) > 1]


def filled_roots(root: Path) -> list[str]:
    """`vpp/__init__.py` if it holds anything."""
    path = root / "vpp" / "__init__.py"
    return [str(path.relative_to(root))] if path.read_text().strip() else []


def broken_layers(root: Path) -> list[str]:
    """What import-linter says when a contract of `.importlinter` is broken."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]
