"""Errors as application/problem+json (RFC 9457), with every fault of the request at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from vpp.domain.errors import (
    DataGap,
    Fault,
    InputFaults,
    LookAhead,
    NotFound,
    NotSolved,
    SoldTwice,
    StaleEpoch,
    StaleRevision,
)
from vpp.service.api.semantics import meaning_faults

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"


class FaultModel(BaseModel):
    """One fault: `where` is the body, a parameter or an asset, `field` its field."""

    where: str
    field: str
    reason: str


class ProblemModel(BaseModel):
    """RFC 9457 with the list of all faults."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "about:blank", "title": "Unprocessable Content", "status": 422,
                "detail": "2 faults",
                "faults": [
                    {"where": "body", "field": "asset", "reason": "no asset of the portfolio"},
                    {"where": "body", "field": "reason", "reason": "Field required"},
                ],
            }
        }
    )  # fmt: skip

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[FaultModel] = []


class Problem(Exception):
    """A request that is refused with `status`, `detail` and, where it helps, its faults."""

    def __init__(
        self, status: int, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        self.status, self.detail, self.faults, self.headers = status, detail, tuple(faults), headers
        super().__init__(detail)


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries of the problems an operation may answer with."""
    return {
        s: {"description": HTTPStatus(s).phrase, "content": {MEDIA_TYPE: {"schema": ProblemModel.model_json_schema()}}}
        for s in statuses
    }


def response(
    status: int, detail: str, faults: Sequence[Fault] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A problem as a response."""
    listed = [FaultModel(where=f.where, field=f.field, reason=f.reason) for f in faults]
    body = ProblemModel(title=HTTPStatus(status).phrase, status=status, detail=detail, faults=listed)
    wanted = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(body.model_dump(), status, headers={**wanted, **(headers or {})}, media_type=MEDIA_TYPE)


def counted(faults: Sequence[Fault]) -> str:
    return f"{len(faults)} fault" + ("s" if len(faults) != 1 else "")


def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [([str(part) for part in e["loc"]], str(e["msg"]).removeprefix("Value error, ")) for e in error.errors()]
    faults = [Fault(where, ".".join(path), reason) for (where, *path), reason in found]
    faults += meaning_faults(request, error.body)
    return response(422, counted(faults), faults)


def _input(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputFaults)
    return response(422, counted(error.faults), error.faults)


def _missing(_: Request, error: Exception) -> JSONResponse:
    return response(404, f"there is no {error}")


def _conflict(_: Request, error: Exception) -> JSONResponse:
    return response(409, str(error))


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return response(error.status, error.detail, error.faults, error.headers)


def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return response(error.status_code, str(error.detail), headers=error.headers)


def _broken(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response(500, f"internal error: {type(error).__name__}")


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(InputFaults, _input)
    app.add_exception_handler(NotFound, _missing)
    app.add_exception_handler(Problem, _refused)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)
    for kind in (NotSolved, DataGap, LookAhead, SoldTwice, StaleEpoch, StaleRevision):
        app.add_exception_handler(kind, _conflict)
