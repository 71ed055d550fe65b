"""API keys: made and revoked by operators; a secret is shown once."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from vpp.domain.errors import Fault, InputFaults
from vpp.service.api.access import ISSUER, SITE, OperatorDep, Role
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import Problem, answers

router = APIRouter(prefix="/v1/keys", tags=["keys"])


class KeyRequest(BaseModel):
    """A key of role `site` names its site, one of role `issuer` who sends limits with it; the others name none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"role": "site", "site": "cement-works", "label": "control room"}},
    )

    role: Role
    site: str | None = None
    issuer: str | None = None
    label: str = Field(default="", max_length=200)


class KeyModel(BaseModel):
    """A key without its secret."""

    id: str
    role: str
    site: str | None
    issuer: str | None
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
    if faults := [*_owner(SITE, body, api), *_owner(ISSUER, body, api)]:
        raise InputFaults(faults)
    key_id, token = api.store.access.create_key(body.role, body.site, body.label, issuer=body.issuer)
    return NewKey(id=key_id, token=token)


def _owner(role: str, body: KeyRequest, api: Api) -> list[Fault]:
    """Faults of the field that names whose key one of `role` is; the field is called like the role."""
    system = api.system
    known = {s.id for s in system.portfolio.sites} if role == SITE else set(system.loaded.received.names)
    named = getattr(body, role)
    if body.role == role and named not in known:
        return [Fault("body", role, f"{named} is no {role} of the portfolio")]
    if body.role != role and named is not None:
        return [Fault("body", role, f"a key of role {body.role} names no {role}")]
    return []


@router.delete("/{key_id}", status_code=204, summary="Revoke a key", responses=answers(401, 403, 404, 409))
def revoke(key_id: str, api: ApiDep, who: OperatorDep) -> None:
    """Refused from now on; a key cannot revoke itself, so that one operator key always remains."""
    if key_id == who.key_id:
        raise Problem(409, "a key cannot revoke itself")
    api.store.access.revoke(key_id)
