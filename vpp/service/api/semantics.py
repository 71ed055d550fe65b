"""All faults of a request at once: those of its meaning beside those of its form.

A body whose form is wrong never reaches its handler. So a handler names, with `means`, the check of its body's
meaning; the answer 422 asks it too, with the fields that are valid by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from vpp.domain.errors import Fault
from vpp.service.api.context import Api, api_of

Meaning = Callable[[Api, Mapping[str, Any]], Sequence[Fault]]
Handler = TypeVar("Handler", bound=Callable[..., Any])
ATTRIBUTE = "check_of_meaning"
NO_NAN = ConfigDict(allow_inf_nan=False)


def means(model: type[BaseModel], check: Meaning) -> Callable[[Handler], Handler]:
    """Names `check` as what decides on the meaning of a handler's body of the form `model`."""

    def mark(handler: Handler) -> Handler:
        setattr(handler, ATTRIBUTE, (model, check))
        return handler

    return mark


def fitting(model: type[BaseModel], raw: object) -> dict[str, Any]:
    """The fields of `raw` that are valid by themselves."""
    found = {}
    for name, field in model.model_fields.items():
        if isinstance(raw, dict) and name in raw:
            try:
                kind: Any = Annotated[field.annotation, field]
                found[name] = TypeAdapter(kind, config=NO_NAN).validate_python(raw[name])
            except ValidationError:
                continue
    return found


def meaning_faults(request: Request, body: object) -> list[Fault]:
    """Faults of the meaning of a body whose form is faulty."""
    marked = getattr(request.scope.get("endpoint"), ATTRIBUTE, None)
    if marked is None:
        return []
    model, check = marked
    return list(check(api_of(request), fitting(model, body)))
