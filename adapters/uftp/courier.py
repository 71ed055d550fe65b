"""Delivers what is written to the endpoint of its grid operator, by the library's own client.

Failures are temporary (no answer, a server's error, a status that front ends also give: to be tried again) or final.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from shapeshifter_uftp import ShapeshifterAgrDsoClient
from shapeshifter_uftp.exceptions import ClientTransportException

from adapters.uftp.envelope import parse
from adapters.uftp.writing import SPOKEN, VERSION

TEMPORARY = (HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, 419, HTTPStatus.TOO_MANY_REQUESTS)
Client = ShapeshifterAgrDsoClient
SEND: Mapping[str, Callable[[Any, Any], None]] = {
    "DPrognosis": Client.send_d_prognosis,
    "FlexRequestResponse": Client.send_flex_request_response,
    "FlexOffer": Client.send_flex_offer,
    "FlexOfferRevocation": Client.send_flex_offer_revocation,
    "FlexOrderResponse": Client.send_flex_order_response,
    "FlexReservationUpdateResponse": Client.send_flex_reservation_update_response,
    "FlexSettlementResponse": Client.send_flex_settlement_response,
    "TestMessageResponse": Client.send_test_message_response,
}


class Delivery(StrEnum):
    """What became of one attempt."""

    DONE = "done"
    AGAIN = "again"
    FAILED = "failed"


@dataclass(frozen=True)
class Courier:
    """Signs with the key of our `domain`; `endpoints` by the grid operator's domain."""

    domain: str
    signing_key: str
    endpoints: Mapping[str, str]
    timeout_s: int = 20

    def deliver(self, peer: str, kind: str, xml: str) -> tuple[Delivery, str]:
        """One attempt, and why it failed."""
        if peer not in self.endpoints:
            return Delivery.FAILED, f"{peer} is no participant any more"
        message = parse(xml.encode())
        client = Client(
            self.domain, self.signing_key, peer, self.endpoints[peer],
            version=message.version if message.version in SPOKEN else VERSION,
        )  # fmt: skip
        client.request_timeout = self.timeout_s
        try:
            SEND[kind](client, message)
        except ClientTransportException as why:
            status = why.response.status_code
            final = 400 <= status < 500 and status not in TEMPORARY
            return (Delivery.FAILED if final else Delivery.AGAIN), f"HTTP {status}"
        except OSError as why:
            return Delivery.AGAIN, type(why).__name__
        return Delivery.DONE, ""
