"""Compiled networks on disk, keyed by the digest of everything they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid_models.background import Background
from grid_models.names import names_of
from grid_models.spec import NetworkSpec
from grid_models.tables import NetTables
from vpp.domain.forecast import Series
from vpp.domain.time import Array

if TYPE_CHECKING:
    from grid_models.pandapower_net import Reference

GRID, NET, NAMES = "grid.pickle", "net.pickle", "names.json"
SOURCES = (
    "background.py", "cache.py", "cells.py", "checks.py", "injections.py", "names.py", "pandapower_net.py", "spec.py",
    "tables.py", "tabulate.py", "tap_rules.py",
)  # fmt: skip


def digest(spec: NetworkSpec) -> str:
    """SHA-256 of specification, network file content, parser versions and importer source."""
    sha = hashlib.sha256(spec.model_dump_json(exclude={"contingencies"}).encode())
    if spec.file is not None and Path(spec.file).is_file():
        sha.update(Path(spec.file).read_bytes())
    for package in ("pandapower", "simbench", "numpy", "pandas"):
        sha.update(f"{package}={_version(package)};".encode())
    for name in SOURCES:
        sha.update((Path(__file__).parent / name).read_bytes())
    return sha.hexdigest()[:24]


def ensure(spec: NetworkSpec, cache_dir: Path) -> Path:
    """The folder of the compiled network, made if it is not there. Raises UnknownElement."""
    folder = cache_dir / f"grid-{digest(spec)}"
    if not (folder / GRID).is_file() or not (folder / NET).is_file():
        from grid_models import injections
        from grid_models import pandapower_net as door
        from grid_models.tabulate import tabulate

        net, profiles = door.read(spec)
        series, q_values = injections.series_of(net, profiles)
        content = (tabulate(net, spec), injections.background(net, spec, bool(profiles)), series, q_values)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / NET, net)
        (folder / NAMES).write_text(json.dumps(names_of(net)))
        _write(folder / GRID, content)
    return folder


def names(folder: Path) -> dict[str, str]:
    """What the source calls buses and elements (see `names_of`)."""
    found: dict[str, str] = json.loads((folder / NAMES).read_text())
    return found


def read(folder: Path) -> tuple[NetTables, Background, Mapping[str, Series], Mapping[str, Array]]:
    """Tables, background, series and reactive values of a compiled network."""
    with (folder / GRID).open("rb") as file:
        tables, background, series, q_values = pickle.load(file)
    return tables, background, series, q_values


def reference(folder: Path) -> Reference:
    """The reference engine of a compiled network; imports pandapower."""
    from grid_models.pandapower_net import Reference

    return Reference((folder / NET).read_bytes())


def _write(path: Path, content: Any) -> None:
    """Writes beside and renames, so that a reader never sees half a file."""
    beside = path.with_suffix(f".{os.getpid()}")
    with beside.open("wb") as file:
        pickle.dump(content, file, protocol=pickle.HIGHEST_PROTOCOL)
    beside.replace(path)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"
