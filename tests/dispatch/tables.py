"""Which kinds the tables beside the blocks do not know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dispatch import accounting, check, follow


def uncovered(kinds: Iterable[str]) -> set[tuple[str, str]]:
    """(table, kind) of every kind a table has no entry for."""
    tables: dict[str, Mapping[str, object]] = {
        "check": check.RECOMPUTE,
        "follow": follow.RULES,
        "accounting": accounting.RULES,
    }
    return {(table, kind) for kind in kinds for table, entries in tables.items() if kind not in entries}
