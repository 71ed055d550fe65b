"""API keys: made and revoked by operators; a secret is shown once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from vpp.domain.errors import Fault, InputFaults
from vpp.service.api.access import SITE, OperatorDep, Role
from vpp.service.api.context import ApiDep
from vpp.service.api.problems import Problem, answers

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyRequest(BaseModel):
    """A key of role `site` names its site, the others name none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"role": "site", "site": "cement-works", "label": "control room"}},
    )

    role: Role
    site: str | None = None
    label: str = Field(default="", max_length=200)


class KeyModel(BaseModel):
    """A key without its secret."""

    id: str
    role: str
    site: str | None
    label: str
    created_at: datetime
    revoked_at: datetime | None


class NewKey(BaseModel):
    """`token` cannot be read again."""

    id: str
    token: str


@router.get("", summary="Keys", response_model=list[KeyModel], responses=answers(401, 403))
def keys(api: ApiDep, _: OperatorDep) -> Any:
    """In order of creation, revoked ones included."""
    return [KeyModel(**vars(k)) for k in api.store.access.list()]


@router.post("", status_code=201, summary="Make a key", response_model=NewKey, responses=answers(401, 403, 422))
def create(body: KeyRequest, api: ApiDep, _: OperatorDep) -> Any:
    """256 random bits, stored hashed; the answer is the only time the token is shown."""
    known = {s.id for s in api.system.portfolio.sites}
    if body.role == SITE and body.site not in known:
        raise InputFaults([Fault("body", "site", f"{body.site} is no site of the portfolio")])
    if body.role != SITE and body.site is not None:
        raise InputFaults([Fault("body", "site", f"a key of role {body.role} names no site")])
    key_id, token = api.store.access.create_key(body.role, body.site, body.label)
    return NewKey(id=key_id, token=token)


@router.delete("/{key_id}", status_code=204, summary="Revoke a key", responses=answers(401, 403, 404, 409))
def revoke(key_id: str, api: ApiDep, who: OperatorDep) -> None:
    """Refused from now on; a key cannot revoke itself, so that one operator key always remains."""
    if key_id == who.key_id:
        raise Problem(409, "a key cannot revoke itself")
    api.store.access.revoke(key_id)
