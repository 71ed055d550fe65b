"""A file of a portfolio that builds on another: it states what differs.

    base: ../demo/portfolio.yaml

A field of the file takes the place of the base's, and its lists are joined to the base's; paths inside the base's
entries are read from the file's own folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp.domain.errors import Fault
from vpp.service.yaml_files import read_mapping

BASE = "base"


def read_layered(path: Path, faults: list[Fault], optional: bool, bases: list[Path]) -> dict[str, Any] | None:
    """The mapping in a YAML file on top of its base, whose path joins `bases`; see `read_mapping`."""
    own = read_mapping(path, faults, optional)
    if own is None or BASE not in own:
        return own
    named = own.pop(BASE)
    below = path.parent / named if isinstance(named, str) and named else None
    if below is None or not below.is_file():
        faults.append(Fault(path.name, BASE, f"{named} is no file"))
        return None
    stated = read_mapping(below, faults)
    if stated is None:
        return None
    if BASE in stated:
        faults.append(Fault(path.name, BASE, f"{named} builds on another file itself"))
        return None
    bases.append(below)
    joined = {
        key: [*stated[key], *value]
        for key, value in own.items()
        if isinstance(value, list) and isinstance(stated.get(key), list)
    }
    return {**stated, **own, **joined}
