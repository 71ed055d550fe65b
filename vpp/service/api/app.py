"""The served application: routes, problems, session, and the page on the same app. It runs no clocks."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware
from starlette.routing import Match, Route

from vpp.domain.time import rfc3339
from vpp.service.api import (
    desk,
    desk_network,
    jobs,
    keys,
    limits,
    operations,
    overrides,
    runs,
    scores,
    session,
    site,
    trade,
)
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.problems import Problem, install
from vpp.service.page import mount_page
from vpp.service.system import System

VERSION = "1"
ABOUT = """
Dispatch of a virtual power plant. Injection is positive, consumption negative; MW, MWh, RFC 3339 times, half-open
intervals. Every request carries `Authorization: Bearer <key>`; a key has one of four roles: `operator`, `site`
(only its own site's things), `desk` (the grid desk), `issuer` (a grid operator that sends limits). Long work answers
202 with a job to poll. Errors are `application/problem+json` and list every fault.
"""
ROUTERS = (session, runs, jobs, overrides, operations, scores, trade, keys, limits, site, desk, desk_network)


class Health(BaseModel):
    """`now` is the service's clock, simulated or real."""

    status: str
    portfolio: str
    now: str


def create_app(
    system: System, clock: Callable[[], datetime], lock: threading.RLock, *, open_page: bool = False,
    doors: Sequence[APIRouter] = (),
) -> FastAPI:  # fmt: skip
    """The API and the page of `system`. `lock` is held by whoever ticks its loop; `clock` gives aware UTC.

    Jobs that another service left unfinished on the record are failed.

    `open_page` shows the page without a key, for a demo on one's own machine. `doors` are routes of protocols that
    the portfolio speaks besides.
    """
    app = FastAPI(title="VPP dispatch", version=VERSION, description=ABOUT, docs_url=None, redoc_url=None)
    app.state.api = Api(system, clock, lock, open_page)
    jobs.interrupted(system.store, datetime.now(UTC))
    app.add_middleware(
        SessionMiddleware, secret_key=secrets.token_urlsafe(32), session_cookie="vpp_session", same_site="strict"
    )
    install(app)
    for router in (*(module.router for module in ROUTERS), *doors):
        app.include_router(router)
    app.add_api_route("/healthz", health, summary="Is it alive", response_model=Health, tags=["health"])
    app.add_api_route("/v1/{rest:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                      include_in_schema=False)  # fmt: skip
    mount_page(app)
    return app


def health(api: ApiDep) -> Any:
    """Needs no key."""
    return Health(status="ok", portfolio=api.system.portfolio.id, now=rfc3339(api.clock()))


def unknown(rest: str, request: Request) -> None:
    """Anything else below /v1 is a problem, not a page; a known path asked in another way is a 405."""
    routes = [r for module in ROUTERS for r in module.router.routes if isinstance(r, Route)]
    known = [r.methods or set() for r in routes if r.matches(request.scope)[0] is Match.PARTIAL]
    if known:
        allowed = ", ".join(sorted(set().union(*known)))
        raise Problem(405, f"/v1/{rest} takes {allowed}", headers={"Allow": allowed})
    raise Problem(404, f"there is no /v1/{rest}")
