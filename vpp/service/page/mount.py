"""The page on the parent application, so that one cookie serves page and API.

NiceGUI is one application per process: the first service app starts and stops it, a later one in the same
process (tests) only shows it. Which service a request belongs to travels in the request's scope.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.types import ASGIApp, Receive, Scope, Send

from vpp.service.api.access import DESK, OPERATOR, SESSION_KEY, Principal, principal_of_session
from vpp.service.api.context import Api
from vpp.service.api.session import SIGN_IN_PATH
from vpp.service.page.desk_view import DeskPage
from vpp.service.page.view import Page, build_sign_in
from vpp.service.page.words import DEFAULT, LANGUAGES

SCOPE_KEY = "vpp.api"
LANGUAGE = "language"
DESK_PATH = "/desk"
ANYBODY = Principal("open page", DESK, None)
"""Who looks at an open page without a key: shown no more than a grid desk is."""


class ServiceInScope:
    """Puts the served system into every request's scope."""

    def __init__(self, app: ASGIApp, api: Api) -> None:
        self.app, self.api = app, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[SCOPE_KEY] = self.api
        await self.app(scope, receive, send)


def mount_page(app: FastAPI) -> None:
    """Mount the page on `app` below its routes; `app.state.api` is what it shows."""
    app.add_middleware(ServiceInScope, api=app.state.api)
    if nicegui_app.config.has_run_config:
        app.mount("/", nicegui_app)
    else:
        ui.run_with(app, title="VPP", show_welcome_message=False, reconnect_timeout=10.0)


def _language(request: Request) -> str:
    """The language asked for in the address, kept in the session."""
    asked = request.query_params.get("lang")
    if asked in LANGUAGES:
        request.session[LANGUAGE] = asked
    return str(request.session.get(LANGUAGE, DEFAULT))


@ui.page("/")
def main_page(request: Request) -> Response | None:
    """The operator's page; a grid desk is led to its own, anybody else to the sign-in."""
    api: Api = request.scope[SCOPE_KEY]
    language = _language(request)
    who = principal_of_session(api.store, request.session.get(SESSION_KEY))
    if not api.open_page and (who is None or who.role != OPERATOR):
        return RedirectResponse(DESK_PATH if who is not None and who.role == DESK else SIGN_IN_PATH, 303)
    Page(api, language).build()
    return None


@ui.page(DESK_PATH)
def desk_page(request: Request) -> Response | None:
    """The grid desk's page, for operators too; to the sign-in without such a session."""
    api: Api = request.scope[SCOPE_KEY]
    language = _language(request)
    who = principal_of_session(api.store, request.session.get(SESSION_KEY))
    if who is None or who.role not in (DESK, OPERATOR):
        if not api.open_page:
            return RedirectResponse(SIGN_IN_PATH, 303)
        who = ANYBODY
    DeskPage(api, language, who).build()
    return None


@ui.page(SIGN_IN_PATH)
def sign_in_page(request: Request) -> None:
    """A form that posts the key to the service."""
    build_sign_in(_language(request), wrong="wrong" in request.query_params)
