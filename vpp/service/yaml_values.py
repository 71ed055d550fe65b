"""Values as YAML gives them: whether they can be walked, which numbers are none, which booleans stand for others."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

NO_BOOL = "must not be true or false"
MOST_VALUES, DEEPEST = 500_000, 100


def unsound(raw: object) -> str | None:
    """Why values that refer to themselves, or to each other without end, cannot be walked; None where they can."""
    waiting, count = [(raw, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST:
            return f"it is nested deeper than {DEEPEST} levels, or refers to itself"
        if count > MOST_VALUES:
            return f"it holds more than {MOST_VALUES} values"
        if isinstance(value, dict):
            waiting += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            waiting += [(item, depth + 1) for item in value]
    return None


def is_finite(number: float) -> bool:
    """Whether a float holds it: also an integer may be too large."""
    return abs(number) <= sys.float_info.max if isinstance(number, int) else math.isfinite(number)


def non_finite(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a nested value holds NaN, infinity, or an integer beyond every float."""
    if isinstance(value, int | float) and not is_finite(value):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from non_finite(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from non_finite(item, (*path, at))


def _leaves(annotation: Any) -> Iterator[Any]:
    """The types a value of this annotation is made of."""
    inner = get_args(annotation)
    if not inner or get_origin(annotation) is Literal:
        yield annotation
    for part in inner if get_origin(annotation) is not Literal else ():
        yield from _leaves(part)


def misplaced_bools(
    annotation: Any, value: object, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """Where `value` says true or false although the annotation or model asks for something else."""
    leaves = list(_leaves(annotation))
    if isinstance(value, bool) and bool not in leaves and Any not in leaves:
        yield path
    elif isinstance(value, Mapping) and get_origin(annotation) is dict:
        for key, item in value.items():
            yield from misplaced_bools(get_args(annotation)[1], item, (*path, str(key)))
    elif isinstance(value, Mapping):
        model = next((leaf for leaf in leaves if isinstance(leaf, type) and issubclass(leaf, BaseModel)), None)
        for key, item in value.items():
            field = model.model_fields.get(str(key)) if model is not None else None
            if field is not None:
                yield from misplaced_bools(field.annotation, item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from misplaced_bools(annotation, item, (*path, at))
