"""Signed messages in and out: what is no message is refused by status, what is a faulty one by every reason."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from nacl.bindings import crypto_sign
from shapeshifter_uftp import transport
from shapeshifter_uftp.uftp import (
    AvailableRequested,
    DPrognosis,
    FlexRequest,
    FlexRequestISP,
    FlexRequestResponse,
    PayloadMessage,
    SignedMessage,
    TestMessage,
    TestMessageResponse,
    UsefRole,
)
from xsdata.models.datatype import XmlDate, XmlDuration

from adapters.uftp.envelope import MOST_BYTES, Refused, key_fault, open_envelope, xml_of
from adapters.uftp.reading import Incoming, Names, read
from adapters.uftp.writing import answer, offer, prognosis
from tests.service.uftp_world import key_pair
from vpp.domain import flex_trade as trade
from vpp.domain.time import TimeGrid

XML = "text/xml; charset=utf-8"
DSO, AGR, POINT = "dso.example.com", "agr.example.com", "ean.123456789012"
NAMES = Names(AGR, "Europe/Berlin", {"feeder-9": POINT})
PRIVATE, PUBLIC = key_pair()
KEYS = {DSO: PUBLIC}
NOW = datetime(2016, 7, 12, 6, 0, tzinfo=UTC)
DAY = date(2016, 7, 12)


def isp(start: int, low: int, high: int, duration: int = 1, kind: str = "Requested") -> FlexRequestISP:
    return FlexRequestISP(
        disposition=AvailableRequested(kind), start=start, duration=duration, min_power=low, max_power=high
    )


def request(**changes: Any) -> FlexRequest:
    """A sound one: 1 MW less consumption in ISP 41 to 44, room for 0.5 MW more in 45."""
    given: dict[str, Any] = {
        "version": "3.1.0", "sender_domain": DSO, "recipient_domain": AGR, "time_stamp": "2016-07-12T06:00:00Z",
        "message_id": str(uuid4()), "conversation_id": str(uuid4()), "isp_duration": XmlDuration("PT15M"),
        "time_zone": "Europe/Amsterdam", "period": XmlDate(2016, 7, 12), "congestion_point": POINT, "revision": 1,
        "expiration_date_time": "2016-07-12T07:00:00+00:00",
        "isps": [isp(41, -1_000_000, 0, 4), isp(45, 0, 500_000, kind="Available")],
    }  # fmt: skip
    return FlexRequest(**{**given, **changes})


def sealed(message: PayloadMessage, private: str = PRIVATE, **changes: Any) -> bytes:
    """The body of an HTTP request."""
    given = {"sender_domain": DSO, "sender_role": UsefRole.DSO, "body": transport.seal_message(message, private)}
    return transport.to_xml(SignedMessage(**{**given, **changes})).encode()


def taken(message: PayloadMessage) -> Incoming:
    return read(open_envelope(sealed(message), XML, KEYS), NAMES)


def status_of(body: bytes, kind: str = XML) -> int:
    with pytest.raises(Refused) as why:
        open_envelope(body, kind, KEYS)
    return int(why.value.status)


def test_a_signed_message_is_opened_and_its_proof_kept() -> None:
    message = request()
    opened = open_envelope(sealed(message), XML, KEYS)
    assert opened.message == message and opened.domain == DSO
    assert transport.unseal_message(opened.sealed, PUBLIC) == message, "the library accepts what we keep"
    assert b"FlexRequest" in xml_of(opened.sealed) and len(opened.digest) == 64
    assert open_envelope(sealed(message), "application/xml", KEYS).digest == opened.digest


def test_what_is_no_message_is_refused_by_status() -> None:
    good, other = sealed(request()), key_pair()[0]
    assert status_of(good, "application/json") == 400 and status_of(good, "text/xml; charset=latin-1") == 400
    assert status_of(sealed(request(), other)) == 401, "another key"
    assert status_of(good.replace(b'Body="', b'Body="QUJD')) == 401, "another text"
    assert status_of(sealed(request(), sender_domain="stranger.example.com")) == 419
    assert status_of(good.replace(b'SenderRole="DSO"', b'SenderRole="CRO"')) == 419
    for nonsense in (b"<nothing/>", b"", good[:90], "<a>é</a>".encode("latin-1")):
        assert status_of(nonsense) == 400
    assert status_of(b'<!DOCTYPE a [<!ENTITY b "c">]>' + good.partition(b"?>")[2]) == 400
    assert status_of(b" " * (MOST_BYTES + 1)) == 413
    assert status_of(transport.to_xml(request()).encode()) == 400, "not signed at all"
    for name, wrong in (("MinPower", "abc"), ("Period", "2016-13-40"), ("ISP-Duration", "soon")):
        xml = transport.to_xml(request()).split(f'{name}="')
        xml[1] = wrong + xml[1][xml[1].index('"') :]
        envelope = SignedMessage(sender_domain=DSO, sender_role=UsefRole.DSO, body=signed(f'{name}="'.join(xml)))
        assert status_of(transport.to_xml(envelope).encode()) == 400


def signed(xml: str) -> bytes:
    """Any text with a signature that holds."""
    return crypto_sign(xml.encode(), b64decode(PRIVATE))


def test_a_request_becomes_injection_in_megawatts() -> None:
    message = request()
    found = taken(message)
    assert found.faults == () and (found.kind, found.id, found.peer) == ("FlexRequest", message.message_id, DSO)
    asked = found.content
    assert isinstance(asked, trade.FlexRequest)
    assert asked.congestion_point == "feeder-9" and asked.grid == TimeGrid.local_day(DAY, "Europe/Berlin")
    assert np.flatnonzero(asked.requested).tolist() == [40, 41, 42, 43]
    assert (asked.low_mw[40], asked.high_mw[40]) == (0.0, 1.0), "less consumption is more injection"
    assert (asked.low_mw[44], asked.high_mw[44]) == (-0.5, 0.0) and np.isnan(asked.low_mw[45])
    assert asked.direction.tolist() == [0.0] * 40 + [1.0] * 4 + [0.0] * 52
    assert asked.expires_at == datetime(2016, 7, 12, 7, 0, tzinfo=UTC)
    down = taken(request(isps=[isp(41, 0, 300_000)])).content
    assert isinstance(down, trade.FlexRequest) and down.direction[40] == -1.0


def test_every_fault_of_a_request_is_listed() -> None:
    wrong = request(
        version="2.0.0", sender_domain="other.example.com", recipient_domain="nobody.example.com", message_id="17",
        time_stamp="yesterday", isp_duration=XmlDuration("PT5M"), time_zone="Europe/London",
        congestion_point="ean.999999999999", expiration_date_time="2016-07-12 at noon",
        isps=[isp(96, 5, 4, 2, "Available"), isp(3, -1, 1, kind="Available"), isp(3, 0, 1, kind="Available")],
    )  # fmt: skip
    faults = taken(wrong).faults
    for start in (
        "Mismatch SenderDomain", "Unknown RecipientDomain", "Invalid Message: version 2.0.0",
        "Invalid Message: MessageID is no UUID", "Invalid Message: TimeStamp", "ISP duration rejected: PT5M",
        "TimeZone rejected: Europe/London", "ISPs out of bounds: 96+2", "ISP conflict: 3",
        "Power discrepancy: ISP 96", "Lacking Requested Disposition", "Invalid CongestionPoint: ean.999999999999",
        "ExpirationDateTime out of bounds",
    ):  # fmt: skip
        assert sum(f.startswith(start) for f in faults) == 1, (start, faults)
    assert len(faults) == 13
    assert taken(request(isps=[isp(3, -1, 1)])).faults == ("Requested Power discrepancy: ISP 3 has no direction",)


def test_numbers_beyond_any_calendar_are_faults() -> None:
    far = taken(request(period=XmlDate(9999, 12, 31), revision=10**30, isps=[isp(10**15, -1, 0, 10**15)])).faults
    assert [f.partition(":")[0] for f in far] == ["Period out of bounds", "ISPs out of bounds", "Invalid Message"]
    assert taken(request(period=XmlDate(-44, 3, 15))).faults[0] == "Period out of bounds: -0044-03-15"
    huge = taken(request(isps=[isp(41, -(10**40), 0)]))
    assert huge.faults == () and isinstance(huge.content, trade.FlexRequest)
    assert huge.content.high_mw[40] == pytest.approx(1e34)


@pytest.mark.parametrize(("period", "count"), [(XmlDate(2016, 3, 27), 92), (XmlDate(2016, 10, 30), 100)])
def test_days_of_the_clock_change(period: XmlDate, count: int) -> None:
    found = taken(request(period=period, isps=[isp(1, -1000, 0, count)]))
    assert isinstance(found.content, trade.FlexRequest)
    assert found.faults == () and found.content.grid.n == count and found.content.requested.all()
    faults = taken(request(period=period, isps=[isp(1, -1000, 0, count + 1)])).faults
    assert faults == (f"ISPs out of bounds: 1+{count + 1}, the day has {count}",)


def test_what_an_aggregator_does_not_take_is_named() -> None:
    names = ("sender_domain", "recipient_domain", "time_stamp", "message_id", "conversation_id")
    given = {name: getattr(request(), name) for name in names}
    answered = TestMessage(**given)
    assert taken(answered).faults == () and taken(answered).content is None
    said = answer(taken(answered), NAMES, NOW)
    assert said is not None and isinstance(transport.from_xml(said.xml), TestMessageResponse)
    misdirected = DPrognosis(
        **given, isp_duration=XmlDuration("PT15M"), period=XmlDate(2016, 7, 12), congestion_point=POINT, revision=1,
        isps=list(transport.from_xml(prognosis(made_prognosis(), NAMES).xml).isps),
    )  # fmt: skip
    assert taken(misdirected).faults == ("Invalid Message: DPrognosis is not for an aggregator",)
    assert answer(taken(misdirected), NAMES, NOW, ["x"]) is None


def made_prognosis() -> trade.Prognosis:
    grid = TimeGrid.local_day(DAY, "Europe/Berlin")
    mw = np.round(np.sin(np.arange(grid.n) / 7.0), 3)
    return trade.Prognosis(str(uuid4()), DSO, "feeder-9", grid, mw, np.zeros(grid.n), 3, "r1", NOW)


def test_a_prognosis_states_every_isp_of_its_day() -> None:
    made = made_prognosis()
    sent = transport.from_xml(prognosis(made, NAMES).xml)
    assert isinstance(sent, DPrognosis) and (sent.revision, sent.message_id) == (3, made.id)
    assert (sent.sender_domain, sent.recipient_domain, sent.congestion_point) == (AGR, DSO, POINT)
    watts = [i.power for i in sent.isps for _ in range(i.duration)]
    assert watts == [-round(v * 1e6) for v in made.mw]


def test_an_offer_and_an_answer_are_what_the_library_reads() -> None:
    grid, to = TimeGrid.local_day(DAY, "Europe/Berlin"), taken(request())
    mw = np.full(grid.n, np.nan)
    mw[40:44] = [0.5, 0.5, 0.25, -0.125]
    made = trade.FlexOffer(str(uuid4()), DSO, to.conversation, to.id, "feeder-9", str(uuid4()), ("a",), grid, mw,
                           Decimal("123.45"), "EUR", NOW)  # fmt: skip
    sent = transport.from_xml(offer(made, NAMES, NOW).xml)
    (option,) = sent.offer_options
    stated = [(i.start, i.duration, i.power) for i in option.isps]
    assert stated == [(41, 2, -500_000), (43, 1, -250_000), (44, 1, 125_000)]
    assert option.price == Decimal("123.45")
    assert (sent.flex_request_message_id, sent.conversation_id) == (to.id, to.conversation)
    letter = answer(to, NAMES, NOW, ["ISP conflict", "Power discrepancy"])
    assert letter is not None
    said = transport.from_xml(letter.xml)
    assert isinstance(said, FlexRequestResponse) and said.flex_request_message_id == to.id
    assert (said.result, said.rejection_reason) == ("Rejected", "ISP conflict; Power discrepancy")
    accepted = answer(replace(to, version="3.0.0"), NAMES, NOW)
    assert accepted is not None and 'Version="3.0.0"' in accepted.xml and 'Result="Accepted"' in accepted.xml


def test_keys_are_checked_before_they_are_used() -> None:
    assert key_fault(PUBLIC) is None and key_fault(PRIVATE, private=True) is None
    assert key_fault("no base64!") == "is not base64"
    assert key_fault(PRIVATE) == "has 64 bytes, 32 are needed"
    assert key_fault(PUBLIC, private=True) == "has 32 bytes, 64 are needed"
    forged = b64encode(b64decode(key_pair()[0])[:32] + b64decode(PUBLIC)).decode()
    assert key_fault(forged, private=True) == "is no private key: its public half does not belong to it"
