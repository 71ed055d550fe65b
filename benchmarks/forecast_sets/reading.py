"""Tables of the data sets, read with what is wrong with them named in one line.

A stamp off its clock, a missing column or an empty file is refused. Rows told twice are one row where they agree; a
value on which they do not agree is a gap; both are named on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Minutes = NDArray[np.int64]
LISTED = 3


class BadSet(ValueError):
    """What is wrong with a data set or with what was asked of it, in one line."""


def told(script: str, run: Callable[[], Mapping[str, Any]]) -> None:
    """Print what `run` made as one JSON line; a bad data set is one line on standard error and exit code 2."""
    try:
        line = json.dumps(run(), allow_nan=False)
    except (BadSet, OSError) as why:
        print(f"{Path(script).name}: {why}", file=sys.stderr)
        sys.exit(2)
    print(line)


def span_refusal(data: Path, first: date | None, last: date | None) -> str:
    """What is wrong with a folder and a range of days, "" where nothing is."""
    if first is not None and last is not None and first > last:
        return f"--from {first} lies after --to {last}"
    return "" if data.is_dir() else f"no folder {data}"


def table(path: Path, keys: Sequence[str], numbers: Sequence[str] | str) -> pd.DataFrame:
    """Columns `keys` and `numbers` of a Parquet file; `numbers` may be a pattern of their names.

    Raises BadSet that names the file and its fault.
    """
    try:
        whole = pd.read_parquet(path)
    except FileNotFoundError as why:
        raise BadSet(f"not there: {path}") from why
    except (ValueError, OSError) as why:
        raise BadSet(f"{path} cannot be read as Parquet: {str(why).splitlines()[0]}") from why
    values = list(whole.filter(regex=numbers).columns) if isinstance(numbers, str) else list(numbers)
    missing = [c for c in (*keys, *values) if c not in whole] or ([str(numbers)] if not values else [])
    if missing:
        raise BadSet(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, whole.columns))}")
    if whole.empty:
        raise BadSet(f"{path} has no rows")
    made = whole[[*keys, *values]]
    for name in values:
        try:
            made = made.assign(**{name: pd.to_numeric(made[name])})
        except (ValueError, TypeError) as why:
            raise BadSet(f"{path}: {name} is not a number: {why}") from why
    return made


def once(name: str, rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """`rows` with one row a key; a value told twice and not alike is NaN."""
    twice = rows.duplicated(list(keys), keep=False)
    if not twice.any():
        return rows
    groups = rows[twice].groupby(list(keys), dropna=False)
    low, high = groups.min(), groups.max()
    unlike = (low < high).any(axis=1)
    for kind, found in (("conflict", low.index[unlike]), ("duplicate", low.index[~unlike])):
        if len(found):
            more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
            print(f"{name}: {kind} at {', '.join(_key(k) for k in found[:LISTED])}{more}", file=sys.stderr)
    agreed = low.where(~(low < high)).reset_index()
    return pd.concat([rows[~twice], agreed], ignore_index=True).sort_values(list(keys), ignore_index=True)


def _key(key: Any) -> str:
    return " ".join(str(part) for part in (key if isinstance(key, tuple) else (key,)))


def minutes(name: str, stamps: pd.Series[Any] | NDArray[Any], step: int) -> Minutes:
    """Minutes since 1970 of the starts or ends of intervals of `step` minutes.

    Raises BadSet for a stamp that is none, carries a time zone, or lies off the clock.
    """
    values = stamps.to_numpy() if isinstance(stamps, pd.Series) else np.asarray(stamps)
    if values.dtype.kind != "M":
        raise BadSet(f"{name}: the stamps are {getattr(stamps, 'dtype', values.dtype)}, not times without a zone")
    off = np.isnat(values)
    whole = np.where(off, np.datetime64(0, "m"), values).astype("M8[m]")
    off |= (whole != np.where(off, whole, values)) | (whole.astype(np.int64) % step != 0)
    if off.any():
        first = values[np.argmax(off)]
        raise BadSet(f"{name}: {int(off.sum())} stamps are not whole intervals of {step} minutes, first {first}")
    made: Minutes = whole.astype(np.int64)
    return made
