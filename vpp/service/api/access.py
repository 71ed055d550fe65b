"""Who asks: an API key in the Authorization header, or the session a key opened on the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from adapters.store import Store
from vpp.service.api.context import ApiDep
from vpp.service.api.problems import Problem

OPERATOR, SITE, DESK, ISSUER = "operator", "site", "desk", "issuer"
Role = Literal["operator", "site", "desk", "issuer"]
SESSION_KEY = "key"
BEARER = HTTPBearer(auto_error=False, description="An API key: `Authorization: Bearer <id>.<secret>`")


@dataclass(frozen=True)
class Principal:
    """A verified key: its id, role, its site where the role is `site`, its issuer of limits where it is `issuer`."""

    key_id: str
    role: str
    site: str | None
    issuer: str | None = None


def principal_of_token(store: Store, token: str) -> Principal | None:
    """Whoever holds this token; None for an unknown or revoked one."""
    found = store.access.verify(token)
    return Principal(token.partition(".")[0], *found) if found else None


def principal_of_session(store: Store, key_id: str | None) -> Principal | None:
    """Whoever signed in on the page, as long as the key is not revoked."""
    key = next((k for k in store.access.list() if k.id == key_id), None) if key_id else None
    return Principal(key.id, key.role, key.site, key.issuer) if key and key.revoked_at is None else None


def principal(
    request: Request, api: ApiDep, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Principal:
    """Raises a 401 problem without a valid key or session."""
    if given is not None:
        found = principal_of_token(api.store, given.credentials)
    else:
        found = principal_of_session(api.store, request.session.get(SESSION_KEY))
    if found is None:
        raise Problem(401, "a valid API key is required: Authorization: Bearer <key>")
    return found


PrincipalDep = Annotated[Principal, Depends(principal)]


def allowed(*roles: str) -> Callable[[Principal], Principal]:
    """A dependency that refuses every other role with 403."""

    def check(who: PrincipalDep) -> Principal:
        if who.role not in roles:
            raise Problem(403, f"this needs a key of role {' or '.join(roles)}; yours is {who.role}")
        return who

    return check


OperatorDep = Annotated[Principal, Depends(allowed(OPERATOR))]
DeskDep = Annotated[Principal, Depends(allowed(DESK, OPERATOR))]


def site_of(who: Annotated[Principal, Depends(allowed(SITE))]) -> str:
    """The site of a site key."""
    if who.site is None:
        raise Problem(403, "this key names no site")
    return who.site


SiteDep = Annotated[str, Depends(site_of)]
LimitsDep = Annotated[Principal, Depends(allowed(ISSUER, OPERATOR))]


def issuer_of(who: Annotated[Principal, Depends(allowed(ISSUER))]) -> str:
    """The issuer of an issuer's key."""
    if who.issuer is None:
        raise Problem(403, "this key names no issuer")
    return who.issuer


IssuerDep = Annotated[str, Depends(issuer_of)]


class Session(BaseModel):
    """Who is signed in on the page."""

    key_id: str
    role: str
    site: str | None
    issuer: str | None
