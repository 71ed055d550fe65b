"""Domain dataclasses to JSON text and back, exactly, driven by their type hints.

Floats keep every bit (Python's shortest repr), NaN and infinities included; arrays are lists;
Decimal is text; times are RFC 3339 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from adapters.store.types import moment, stamp

Reader = Callable[[Any], Any]
T = TypeVar("T")


def dumps(value: Any) -> str:
    """Compact JSON of plain values, dataclasses, arrays, times and decimals."""
    return json.dumps(value, default=_plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def loads(kind: type[T], text: str) -> T:
    """The dataclass `kind` that `dumps` wrote."""
    found: T = restore(kind, json.loads(text))
    return found


def restore(kind: Any, value: Any) -> Any:
    """`value`, parsed JSON, as the type hint `kind`."""
    return _reader(kind)(value)


@cache
def _reader(kind: Any) -> Reader:
    scalar: dict[Any, Reader] = {datetime: moment, Decimal: Decimal, float: float}
    if kind in scalar:
        return scalar[kind]
    if is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin is np.ndarray:
        dtype = get_args(args[1])[0]
        return lambda value: np.array(value, dtype=dtype)
    if origin in (Union, UnionType):
        return _optional_reader([a for a in args if a is not NoneType])
    if origin is tuple:
        item = _reader(args[0])
        return lambda value: tuple(item(v) for v in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        entry = _reader(args[1])
        return lambda value: {k: entry(v) for k, v in value.items()}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    if kind in (Any, str, int, bool) or origin is Literal:
        return lambda value: value
    raise TypeError(f"{kind} cannot be read back")


def _optional_reader(kinds: list[Any]) -> Reader:
    if len(kinds) != 1:
        raise TypeError(f"a union of {kinds} cannot be read back")
    inner = _reader(kinds[0])
    return lambda value: None if value is None else inner(value)


def _dataclass_reader(kind: Any) -> Reader:
    hints = get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields(kind) if f.init}
    return lambda value: kind(**{name: read(value[name]) for name, read in readers.items() if name in value})
