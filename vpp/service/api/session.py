"""Sign in on the page with an API key; the cookie then serves page and API."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict

from vpp.service.api.access import SESSION_KEY, Principal, PrincipalDep, Session, principal_of_token
from vpp.service.api.context import ApiDep
from vpp.service.api.problems import Problem, answers

router = APIRouter(tags=["session"])
SIGN_IN_PATH = "/sign-in"


class SignIn(BaseModel):
    """The key to sign in with."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"token": "1a2b3c4d5e6f.secret"}})

    token: str


def _view(who: Principal) -> Session:
    return Session(key_id=who.key_id, role=who.role, site=who.site, issuer=who.issuer)


@router.post("/v1/session", status_code=201, summary="Sign in", response_model=Session, responses=answers(401, 422))
def sign_in(body: SignIn, request: Request, api: ApiDep) -> Any:
    """Sets a signed cookie that names the key, not its secret; it ends with the key or with the service."""
    who = principal_of_token(api.store, body.token.strip())
    if who is None:
        raise Problem(401, "this key is not valid")
    request.session[SESSION_KEY] = who.key_id
    return _view(who)


@router.get("/v1/session", summary="Who is signed in", response_model=Session, responses=answers(401))
def who_is_it(who: PrincipalDep) -> Any:
    """By cookie or key."""
    return _view(who)


@router.delete("/v1/session", status_code=204, summary="Sign out")
def sign_out(request: Request) -> None:
    """Forgets the cookie."""
    request.session.clear()


@router.post("/session", include_in_schema=False)
async def sign_in_form(request: Request, api: ApiDep) -> RedirectResponse:
    """The page's form: back to the page, signed in or told that the key is not valid."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    who = principal_of_token(api.store, form.get("token", [""])[0].strip())
    if who is None:
        return RedirectResponse(f"{SIGN_IN_PATH}?wrong=1", 303)
    request.session[SESSION_KEY] = who.key_id
    return RedirectResponse("/", 303)


@router.get("/sign-out", include_in_schema=False)
def sign_out_link(request: Request) -> RedirectResponse:
    """The page's link."""
    request.session.clear()
    return RedirectResponse(SIGN_IN_PATH, 303)
