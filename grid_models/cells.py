"""Cells of pandapower's tables, which know several kinds of missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def text(value: Any) -> str:
    """A cell as text, empty for every kind of missing."""
    return "" if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) else str(value)


def number(row: pd.Series[Any], name: str, default: float = np.nan) -> float:
    """A cell as a number, `default` for every kind of missing."""
    value = row.get(name, default)
    return default if value is None or pd.isna(value) else float(value)


def in_service(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of an element table that are in service."""
    return table[table["in_service"].astype(bool)]
