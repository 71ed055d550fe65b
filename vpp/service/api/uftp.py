"""Where grid operators post UFTP messages, and what of it the operator sees.

Grid operators are known by the signature of what they send, not by a key of ours.
"""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from adapters.uftp.envelope import MOST_BYTES
from vpp.service.api.access import OperatorDep
from vpp.service.api.problems import answers
from vpp.service.uftp import Uftp

PATH = "/shapeshifter/api/v3/message"


class MessageView(BaseModel):
    """A message that came in (`received`, `done`, `refused`) or goes out (`queued`, `sent`, `failed`)."""

    number: int
    incoming: bool
    peer: str
    message_id: str
    kind: str
    at: datetime
    status: str
    reason: str
    attempts: int


class Revoked(BaseModel):
    """An offer that was taken back."""

    id: str
    peer: str
    congestion_point: str


def uftp_router(uftp: Uftp) -> APIRouter:
    """The protocol's one route, and the operator's view."""
    router = APIRouter(tags=["UFTP"])

    async def post(request: Request) -> Response:
        length = request.headers.get("content-length")
        if length is None or not length.isdigit():
            return Response(status_code=HTTPStatus.LENGTH_REQUIRED)
        if int(length) > MOST_BYTES:
            return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body, kind = await request.body(), request.headers.get("content-type", "")
        status, text = await run_in_threadpool(uftp.receive, body, kind)
        return Response(text, status_code=status, media_type="text/plain")

    def messages(_: OperatorDep, last: Annotated[int, Query(ge=1, le=1000)] = 100) -> Any:
        """Newest first."""
        found = uftp.system.store.uftp.messages(last)
        return [MessageView(**{name: getattr(m, name) for name in MessageView.model_fields}) for m in found]

    def revoke(offer_id: str, _: OperatorDep) -> Any:
        """Refused once it is ordered, revoked or expired."""
        made = uftp.revoke(offer_id)
        return Revoked(id=made.id, peer=made.peer, congestion_point=made.congestion_point)

    router.add_api_route(PATH, post, methods=["POST"], include_in_schema=False)
    router.add_api_route("/v1/uftp/messages", messages, methods=["GET"], summary="Messages",
                         response_model=list[MessageView], responses=answers(401, 403))  # fmt: skip
    router.add_api_route("/v1/uftp/offers/{offer_id}/revoke", revoke, methods=["POST"], summary="Take an offer back",
                         response_model=Revoked, responses=answers(401, 403, 404, 422))  # fmt: skip
    return router
