"""YAML at the edge: every fault of a file becomes a `Fault`, none ends the reading of the others."""

from __future__ import annotations

import difflib
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from vpp.domain.errors import Fault
from vpp.service.yaml_values import NO_BOOL, misplaced_bools, non_finite, unsound

Model = TypeVar("Model", bound=BaseModel)
UNITS = ("mw", "kw", "w", "mwh", "kwh", "wh", "mva", "kva", "mw_th", "kw_th", "mwh_th", "kwh_th", "t", "kg", "h", "min")


def _iso_8601(value: object) -> object:
    if not isinstance(value, timedelta) and not (isinstance(value, str) and value.lstrip("+-").startswith("P")):
        raise ValueError("must be an ISO 8601 duration such as PT30M")
    return value


Duration = Annotated[timedelta, BeforeValidator(_iso_8601)]


class Edge(BaseModel):
    """Base of every model of a configuration file: frozen, no unknown field, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Loader(yaml.SafeLoader):
    """Refuses a mapping that states a key twice; only true and false are booleans, so `on` is a name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain name", key.start_mark)
            if key.value in seen and key.value != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_mapping(path: Path, faults: list[Fault], optional: bool = False) -> dict[str, Any] | None:
    """The mapping in a YAML file, None where it could not be read, with the reason among `faults`.

    A file that is not there is no fault where it is `optional`.
    """
    if not path.exists():
        if not optional:
            faults.append(Fault(path.name, "", "the file is missing"))
        return None
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        if (reason := unsound(raw)) is not None:
            raise ValueError(reason)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        faults.append(Fault(path.name, f"line {line}", f"unreadable YAML: {error.problem}"))
        return None
    except RecursionError:
        faults.append(Fault(path.name, "", "unreadable YAML: it is nested too deeply"))
        return None
    except (yaml.YAMLError, ValueError, OverflowError, OSError) as error:
        faults.append(Fault(path.name, "", f"unreadable YAML: {error}"))
        return None
    if not isinstance(raw, dict):
        faults.append(Fault(path.name, "", "must be a mapping"))
        return None
    return raw


def did_you_mean(name: str, known: list[str]) -> str:
    """A hint at the field that was probably meant; the same quantity in another unit comes first."""
    stem = next((name[: -len(u) - 1] for u in sorted(UNITS, key=len, reverse=True) if name.endswith(f"_{u}")), None)
    if stem is not None:
        for candidate in (f"{stem}_{unit}" for unit in UNITS):
            if candidate in known:
                return f"; did you mean {candidate}?"
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _fields_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """Field names of the model that holds `loc`'s last entry, as far as plain nesting tells."""
    here: Any = model
    for step in loc[:-1]:
        info = here.model_fields.get(step) if isinstance(step, str) and hasattr(here, "model_fields") else None
        if info is None:
            continue
        inner = [info.annotation, *getattr(info.annotation, "__args__", ())]
        here = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), here)
    return list(here.model_fields)


def _field_of(model: type[BaseModel], loc: tuple[str | int, ...], message: str) -> str:
    """Dotted field of an error; one of a whole model is named for the first field its message mentions."""
    if loc:
        return ".".join(map(str, loc))
    return next((word for word in re.findall(r"\w+", message) if word in model.model_fields), "")


def explained(model: type[BaseModel], error: ValidationError, where: str) -> list[Fault]:
    """Pydantic's errors as faults of `where`."""
    faults = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        field = _field_of(model, loc, item["msg"])
        if item["type"] == "extra_forbidden":
            reason = "unknown field" + did_you_mean(str(loc[-1]), _fields_at(model, loc))
        elif item["type"] == "missing":
            reason = "is missing"
        elif item["type"] == "finite_number":
            reason = "is not a finite number"
        else:
            given = item["input"]
            shown = f", got {given!r}" if isinstance(given, str | int | float) else ""
            message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
            reason = message[:1].lower() + message[1:] + shown
        faults.append(Fault(where, field, reason))
    return faults


def validated(model: type[Model], raw: object, where: str, faults: list[Fault]) -> Model | None:
    """`raw` as a `model`, or None with its faults appended."""
    found = (path[1:] if path[:1] == ("params",) else path for path in non_finite(raw))
    bad = [Fault(where, ".".join(map(str, path)), "is not a finite number") for path in found]
    bad += [Fault(where, ".".join(map(str, path)), NO_BOOL) for path in misplaced_bools(model, raw)]
    try:
        made = model.model_validate(raw)
    except ValidationError as error:
        named = {fault.field for fault in bad}
        bad += [fault for fault in explained(model, error, where) if fault.field not in named]
        made = None
    faults += bad
    return None if bad else made


def items(model: type[Model], raw: object, section: str, file: str, faults: list[Fault]) -> list[Model]:
    """The valid entries of one list of a file; each fault is named for its entry's id, repeated ids too."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        faults.append(Fault(file, section, "must be a list"))
        return []
    seen: set[str] = set()
    made = []
    for at, entry in enumerate(raw):
        name = str(entry["id"]) if isinstance(entry, dict) and "id" in entry else f"{file}/{section}[{at}]"
        if name in seen:
            faults.append(Fault(name, "id", f"duplicate id in {section}"))
        seen.add(name)
        one = validated(model, entry, name, faults)
        if one is not None:
            made.append(one)
    return made


def raw_ids(raw: object) -> set[str]:
    """Ids of all entries of a list, the faulty ones too, so that one fault does not name another."""
    entries = raw if isinstance(raw, list) else []
    return {str(entry["id"]) for entry in entries if isinstance(entry, dict) and "id" in entry}
