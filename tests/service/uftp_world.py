"""A grid operator on the public library's own service and client, and an aggregator served over HTTP beside it.

The library's service reads XML by a route class that the installed FastAPI no longer fits; one of ours takes its place,
which hands the same object to the same function of the library.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import uuid4

import numpy as np
import uvicorn
import yaml
from fastapi import Request, Response
from fastapi.routing import APIRoute
from nacl.bindings import crypto_sign_keypair
from shapeshifter_uftp import ShapeshifterDsoService, transport
from shapeshifter_uftp.client import ShapeshifterDsoAgrClient
from shapeshifter_uftp.service import base_service
from shapeshifter_uftp.uftp import (
    AcceptedRejected,
    AvailableRequested,
    ContractSettlement,
    ContractSettlementISP,
    ContractSettlementPeriod,
    DPrognosis,
    DPrognosisResponse,
    FlexOffer,
    FlexOfferResponse,
    FlexOfferRevocation,
    FlexOfferRevocationResponse,
    FlexOrder,
    FlexOrderISP,
    FlexOrderSettlement,
    FlexOrderSettlementISP,
    FlexRequest,
    FlexRequestISP,
    FlexSettlement,
)
from starlette.concurrency import run_in_threadpool
from xsdata.models.datatype import XmlDate

from vpp.domain import flex_trade as trade
from vpp.domain.flex_trade import Prognosis, TradeStatus
from vpp.service.api.app import create_app
from vpp.service.api.uftp import PATH, uftp_router
from vpp.service.system import System
from vpp.service.uftp import Uftp
from vpp.service.uftp_config import load_uftp

AGR, DSO, ADDRESS = "agr.example.com", "dso.example.com", "ea1.2020-01.com.example.dso:feeder-9"
ZONE, PENALTY = "Europe/Berlin", Decimal("180.00")
EARLY, LATE = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
T = TypeVar("T")


def key_pair() -> tuple[str, str]:
    """(private, public) in base64."""
    public, private = crypto_sign_keypair()
    return b64encode(private).decode(), b64encode(public).decode()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class PlainRoute(APIRoute):
    """Reads a document with the library's parser and gives it to the endpoint."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(request: Request) -> Response:
            signed = transport.from_xml(await request.body())
            answer: Response = await run_in_threadpool(self.endpoint, signed)
            return answer

        return handle


class Desk(ShapeshifterDsoService):
    """Keeps what it is sent; accepts prognoses and offers as a grid operator does, unless told not to."""

    def __init__(self, port: int, private: str, agr_key: str, agr_port: int) -> None:
        self.got: list[Any] = []
        self.accepts = True
        with patch.object(base_service, "XmlRoute", PlainRoute):
            super().__init__(
                DSO, private, key_lookup_function=lambda domain, role: agr_key,
                endpoint_lookup_function=lambda domain, role: f"http://127.0.0.1:{agr_port}{PATH}",
                host="127.0.0.1", port=port,
            )  # fmt: skip
        self.server.config.log_level = "error"

    def _verdict(self, message: Any, field: str) -> dict[str, Any]:
        accepted = AcceptedRejected.ACCEPTED if self.accepts else AcceptedRejected.REJECTED
        return {field: message.message_id, "conversation_id": message.conversation_id, "result": accepted,
                "rejection_reason": None if self.accepts else "not today"}  # fmt: skip

    def process_d_prognosis(self, message: DPrognosis) -> None:
        self.got.append(message)
        said = DPrognosisResponse(**self._verdict(message, "d_prognosis_message_id"))
        self.agr_client(AGR).send_d_prognosis_response(said)

    def process_flex_offer(self, message: FlexOffer) -> None:
        self.got.append(message)
        said = FlexOfferResponse(**self._verdict(message, "flex_offer_message_id"))
        self.agr_client(AGR).send_flex_offer_response(said)

    def process_flex_offer_revocation(self, message: FlexOfferRevocation) -> None:
        self.got.append(message)
        said = FlexOfferRevocationResponse(**self._verdict(message, "flex_offer_revocation_message_id"))
        self.agr_client(AGR).send_flex_offer_revocation_response(said)

    def _keep(self, message: Any, *_: Any) -> None:
        self.got.append(message)

    process_flex_request_response = process_flex_order_response = process_flex_settlement_response = _keep
    process_flex_reservation_update_response = process_dso_portfolio_query_response = _keep
    process_dso_portfolio_update_response = process_metering = process_test_message_response = _keep


def day_of(day: date) -> XmlDate:
    return XmlDate(day.year, day.month, day.day)


def expanded(isps: Any, value: str, n: int) -> np.ndarray:
    """Watts by ISP, NaN where none is stated."""
    found = np.full(n, np.nan)
    for isp in isps:
        found[isp.start - 1 : isp.start - 1 + isp.duration] = getattr(isp, value)
    return found


@dataclass
class World:
    """Both sides; `now` is the aggregator's clock. Its worker runs only when a test says so."""

    system: System
    uftp: Uftp
    desk: Desk
    client: ShapeshifterDsoAgrClient
    private: str
    agr_port: int
    clock: list[datetime] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.clock[0]

    @now.setter
    def now(self, moment: datetime) -> None:
        self.clock[0] = moment

    def got(self, kind: type[T]) -> list[T]:
        """Everything of a kind that reached the grid operator."""
        return [m for m in list(self.desk.got) if isinstance(m, kind)]

    def next(self, kind: type[T], count: int = 1, within_s: float = 30.0) -> T:
        """The `count`-th of a kind; the aggregator works until it is there."""
        until = time.monotonic() + within_s
        while len(self.got(kind)) < count:
            there = [type(m).__name__ for m in self.desk.got]
            alarms = [a.message for a in self.system.store.alarms.list()]
            assert time.monotonic() < until, f"no {kind.__name__}: {there}, {alarms}"
            self.uftp.work()
            time.sleep(0.05)
        return self.got(kind)[count - 1]

    def settle_down(self, within_s: float = 30.0) -> None:
        """Work until every message is concluded and sent, and every prognosis and offer of ours has its verdict."""
        until, record = time.monotonic() + within_s, self.system.store.uftp
        busy = True
        while busy:
            assert time.monotonic() < until
            self.uftp.work()
            time.sleep(0.05)
            said = record.trades(Prognosis, EARLY, LATE, TradeStatus.OPEN)
            offered = record.trades(trade.FlexOffer, EARLY, LATE, TradeStatus.OPEN)
            busy = bool(said or offered) or any(m.status in ("received", "queued") for m in record.messages())

    def request(
        self, day: date, isps: list[tuple[int, int, int, int]], expires: datetime,
        room: tuple[tuple[int, int, int, int], ...] = (), **more: Any,
    ) -> FlexRequest:  # fmt: skip
        """Requested ISPs, and the `room` in others, as (start, duration, min, max) in watts."""
        made = [
            FlexRequestISP(disposition=what, start=s, duration=d, min_power=low, max_power=high)
            for what, parts in ((AvailableRequested.REQUESTED, isps), (AvailableRequested.AVAILABLE, room))
            for s, d, low, high in parts
        ]
        given = {
            "isp_duration": "PT15M", "time_zone": ZONE, "period": day_of(day), "congestion_point": ADDRESS,
            "revision": 1, "isps": made, "expiration_date_time": expires.isoformat(), "message_id": str(uuid4()),
        }  # fmt: skip
        return FlexRequest(**{**given, **more})

    def order(self, offer: FlexOffer, reference: str = "order-1", **more: Any) -> FlexOrder:
        """The offer as it stands."""
        option = offer.offer_options[0]
        isps = [FlexOrderISP(power=i.power, start=i.start, duration=i.duration) for i in option.isps]
        given = {
            "isp_duration": "PT15M", "time_zone": ZONE, "period": offer.period, "congestion_point": ADDRESS,
            "isps": isps, "flex_offer_message_id": offer.message_id, "price": option.price, "currency": "EUR",
            "d_prognosis_message_id": offer.d_prognosis_message_id, "order_reference": reference,
            "option_reference": option.option_reference, "message_id": str(uuid4()),
        }  # fmt: skip
        return FlexOrder(**{**given, **more})

    def settlement(
        self, order: FlexOrder, prognosis: DPrognosis, actual_w: dict[int, int], penalty: Decimal | None = None
    ) -> FlexSettlement:
        """One order settled as the specification's example does it, on the grid operator's own meter by ISP."""
        forecast, lines, missing_w = expanded(prognosis.isps, "power", 100), [], 0
        for isp in order.isps:
            for k in range(isp.start, isp.start + isp.duration):
                base, sign = int(forecast[k - 1]), (1 if isp.power > 0 else -1)
                realised = sign * (actual_w[k] - base)
                short = max(0, abs(isp.power) - realised)
                missing_w += short
                lines.append(
                    FlexOrderSettlementISP(
                        start=k, baseline_power=base, ordered_flex_power=isp.power, actual_power=actual_w[k],
                        delivered_flex_power=sign * min(max(realised, 0), abs(isp.power)), power_deficiency=short,
                    )
                )  # fmt: skip
        owed = (Decimal(missing_w) / 4_000_000 * PENALTY).quantize(Decimal("0.01")) if penalty is None else penalty
        item = FlexOrderSettlement(
            isps=lines, order_reference=order.order_reference, period=order.period, congestion_point=ADDRESS,
            d_prognosis_message_id=order.d_prognosis_message_id, price=order.price, penalty=owed,
            net_settlement=order.price - owed,
        )  # fmt: skip
        nothing = [ContractSettlementISP(start=1, reserved_power=0)]
        none = ContractSettlement(periods=[ContractSettlementPeriod(period=order.period, isps=nothing)])
        return FlexSettlement(
            flex_order_settlements=[item], contract_settlements=[none], period_start=order.period,
            period_end=order.period, currency="EUR", message_id=str(uuid4()),
        )  # fmt: skip


def write_config(directory: Path, dso_port: int, dso_key: str, agr_private: str, **offers: Any) -> None:
    """uftp.yaml and the private key beside it."""
    (directory / "agr.key").write_text(agr_private + "\n")
    body = {
        "domain": AGR, "signing_key": {"file": "agr.key"},
        "operators": [{
            "domain": DSO, "public_key": dso_key, "congestion_points": {"feeder-9": ADDRESS},
            "endpoint": f"http://127.0.0.1:{dso_port}{PATH}", "penalty_eur_per_mwh": str(PENALTY),
        }],
        "offers": offers,
    }  # fmt: skip
    (directory / "uftp.yaml").write_text(yaml.safe_dump(body))


@contextlib.contextmanager
def served(system: System, directory: Path, now: datetime, **offers: Any) -> Iterator[World]:
    """The aggregator and the grid operator, both on HTTP of this machine."""
    (agr_private, agr_public), (dso_private, dso_public) = key_pair(), key_pair()
    agr_port, dso_port = free_port(), free_port()
    write_config(directory, dso_port, dso_public, agr_private, **offers)
    config = load_uftp(directory / "uftp.yaml", system.portfolio, {})
    clock, lock = [now], threading.RLock()
    uftp = Uftp(system, config, lock, lambda: clock[0])
    app = create_app(system, lambda: clock[0], lock, doors=(uftp_router(uftp),))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=agr_port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60.0
    while not server.started:  # the page's start looks at every server there is, and knows no half-made one
        assert time.monotonic() < until and thread.is_alive(), "the aggregator does not start"
        time.sleep(0.02)
    client = ShapeshifterDsoAgrClient(DSO, dso_private, AGR, f"http://127.0.0.1:{agr_port}{PATH}", agr_public)
    try:
        with Desk(dso_port, dso_private, agr_public, agr_port) as desk:
            yield World(system, uftp, desk, client, dso_private, agr_port, clock)
    finally:
        server.should_exit = True
        thread.join(10.0)


def later(moment: datetime, hours: float) -> datetime:
    return moment + timedelta(hours=hours)
