"""What is refused at the UFTP door, and that nothing that was taken is lost, doubled or sold twice."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from shapeshifter_uftp import transport
from shapeshifter_uftp.exceptions import ClientTransportException
from shapeshifter_uftp.uftp import (
    DPrognosis,
    FlexOffer,
    FlexOfferRevocation,
    FlexOrder,
    FlexOrderISP,
    FlexOrderResponse,
    FlexRequestResponse,
    FlexReservationUpdate,
    FlexReservationUpdateISP,
    FlexReservationUpdateResponse,
    SignedMessage,
    TestMessageResponse,
    UsefRole,
)
from xsdata.models.datatype import XmlDate, XmlDuration

from adapters.store import Store, open_store
from forecasting.pipeline import Pipeline
from tests.service.api_world import DEMO, demo
from tests.service.conftest import DAY, ZONE, local
from tests.service.uftp_world import ADDRESS, AGR, DSO, PATH, World, day_of, expanded, key_pair, later, served
from vpp.domain import flex_trade as trade
from vpp.domain.flex_trade import TradeStatus
from vpp.domain.forecast import Series
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import QUARTER, TimeGrid, floor_to, local_midnight
from vpp.service.headroom import ledger_of
from vpp.service.inputs import series_used
from vpp.service.series_book import SeriesBook
from vpp.service.system import System
from vpp.service.uftp import Uftp
from vpp.service.uftp_offer import notice_of, situation_for

NOW = local("2016-07-12 07:00")
GRID = TimeGrid.local_day(DAY, ZONE)
AUTUMN = date(2016, 10, 30)
Open = Callable[..., World]


def made_system(store: Store, now: datetime) -> System:
    """The demo without its network on made-up series, with time for its plans on a busy machine."""
    loaded = demo(DEMO)
    begin = floor_to(now, timedelta(days=1)) - timedelta(days=35)
    wave = 0.5 + 0.4 * np.sin(np.arange(96 * 38) * 2 * np.pi / 96)
    archive = loaded.series | {name: Series(name, begin, wave) for name in series_used(loaded.portfolio)}
    patient = tuple(replace(s, deadline=timedelta(seconds=60)) for s in loaded.stages)
    return System(replace(loaded, stages=patient), store, SeriesBook(archive, now), Pipeline(None, workers=1))


def planned_day(system: System, day: date, mw: float) -> DispatchRun:
    """A released day-ahead plan that gives `mw` at the point all day."""
    ids = tuple(a.id for a in system.portfolio.assets)
    grid = TimeGrid.between(
        local_midnight(day, ZONE) - timedelta(hours=14), local_midnight(day + timedelta(days=1), ZONE), QUARTER
    )
    power = np.zeros((len(ids), grid.n))
    power[ids.index("mill-1")] = mw
    plan = Schedule(ids, grid, power, power * 0.0)
    at = grid.start
    return DispatchRun(f"day-{day}", "day_ahead", "plan", at, at, "optimal", "", None, plan, None, "d", {})


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens worlds and closes them."""
    with ExitStack() as stack:

        def make(now: datetime = NOW, day: date | None = DAY, mw: float = -30.0, **offers: Any) -> World:
            store = open_store(tmp_path / "record.db")
            stack.callback(store.close)
            system = made_system(store, now)
            if day is not None:
                store.runs.record(planned_day(system, day, mw), [])
            world = stack.enter_context(served(system, tmp_path, now, **offers))
            world.settle_down()
            return world

        yield make


def made_offer(world: World, **changes: Any) -> trade.FlexOffer:
    """An offer of 0.5 MW in ISP 41 to 44 on the prognosis that was sent, kept as if it had been."""
    (said,) = world.system.store.uftp.trades(trade.Prognosis, GRID.start, GRID.end)
    mw = np.full(GRID.n, np.nan)
    mw[40:44] = 0.5
    assets = tuple(a.id for a in world.uftp.config.groups["feeder-9"])
    made = trade.FlexOffer(str(uuid4()), DSO, str(uuid4()), str(uuid4()), "feeder-9", said.id, assets, GRID, mw,
                           Decimal("100.00"), "EUR", later(NOW, 1))  # fmt: skip
    made = replace(made, **changes)
    world.system.store.uftp.put(NOW, [], [(made, TradeStatus.ACCEPTED)])
    return made


def ordered(world: World, made: trade.FlexOffer, reference: str = "order-1", **changes: Any) -> Any:
    """The response to an order of an offer, with something changed."""
    count = len(world.got(FlexOrderResponse))
    given: dict[str, Any] = {
        "isp_duration": XmlDuration("PT15M"), "time_zone": ZONE, "period": day_of(DAY), "congestion_point": ADDRESS,
        "isps": [FlexOrderISP(power=-500_000, start=41, duration=4)], "flex_offer_message_id": made.id,
        "price": Decimal("100.00"), "currency": "EUR", "order_reference": reference, "message_id": str(uuid4()),
    }  # fmt: skip
    world.client.send_flex_order(FlexOrder(**{**given, **changes}))
    return world.next(FlexOrderResponse, count + 1)


def asked(world: World, request: Any, count: int = 1) -> FlexRequestResponse:
    world.client.send_flex_request(request)
    return world.next(FlexRequestResponse, count, within_s=200.0)


def test_a_day_of_100_isps_is_forecast_requested_and_offered(opened: Open) -> None:
    noon = local("2016-10-29 12:00")
    world = opened(noon, AUTUMN)
    (said,) = world.got(DPrognosis)
    assert len(expanded(said.isps, "power", 100)) == 100 and sum(i.duration for i in said.isps) == 100
    assert asked(world, world.request(AUTUMN, [(97, 4, -800_000, 0)], later(noon, 2))).result == "Accepted"
    (option,) = world.next(FlexOffer).offer_options
    power = expanded(option.isps, "power", 100)
    assert power[96:].tolist() == [-720_000] * 4, "nine tenths of what is asked for, all of which can be given"
    assert np.isnan(power[:96]).all()
    refused = asked(world, world.request(AUTUMN, [(98, 4, -800_000, 0)], later(noon, 2)), 2)
    assert refused.rejection_reason == "ISPs out of bounds: 98+4, the day has 100"


def test_more_consumption_is_offered_where_that_is_asked_for(opened: Open) -> None:
    world = opened(mw=30.0)
    assert asked(world, world.request(DAY, [(41, 2, 200_000, 600_000)], later(NOW, 1))).result == "Accepted"
    (option,) = world.next(FlexOffer).offer_options
    assert [(i.power, i.start, i.duration) for i in option.isps] == [(540_000, 41, 2)]


def test_less_than_what_is_of_use_is_not_offered(opened: Open) -> None:
    world = opened(mw=30.0)
    assert asked(world, world.request(DAY, [(41, 2, -600_000, -200_000)], later(NOW, 1))).result == "Accepted"
    world.settle_down()
    assert world.got(FlexOffer) == [], "30 MW of injection were said, nobody can give more"


def test_open_offers_together_are_no_more_than_can_be_given(opened: Open) -> None:
    """Far more is asked for twice than there is; both offers may be ordered, so the second is what the first left."""
    world = opened(mw=-2.0)
    for count in (1, 2):
        asked(world, world.request(DAY, [(41, 2, -20_000_000, 0)], later(NOW, 1)), count)
    world.settle_down()
    powers = [expanded(o.offer_options[0].isps, "power", 96)[40:42] / -1e6 for o in world.got(FlexOffer)]
    s = situation_for(world.system, GRID.starts[44], NOW)
    high = ledger_of(s).bounds_mw([a.id for a in world.uftp.config.groups["feeder-9"]])[1]
    most = GRID.sample(s.grid, np.asarray(high))[40:42] + 2.0
    assert np.all(powers[0] > 0.5), "the first takes nine tenths of what there is"
    assert np.all(sum(np.nan_to_num(p) for p in powers) <= most + 1e-6)
    assert len(powers) == 1 or np.all(np.nan_to_num(powers[1]) < 0.2 * powers[0])


def test_an_offer_waits_no_longer_than_those_it_moves_can_be_told() -> None:
    portfolio = demo(DEMO).portfolio
    ids, asked = ("battery-plastics", "extruders", "mill-1"), np.array([False, True, True])
    grid = TimeGrid.uniform(NOW, QUARTER, 3)

    def schedule(*rows: list[float]) -> Schedule:
        return Schedule(ids, grid, np.array(rows), np.zeros((3, 3)))

    plain = schedule([0, 0, 0], [0, 0, 0], [0, 0, 0])
    for rows, minutes in (
        (([0, 1, 1], [0, 0, 0], [-1, 0, 0]), 0), (([0, 1, 1], [0, 0.1, 0], [0, 0, 0]), 15),
        (([0, 1, 1], [0, 0.1, 0], [0, 0, -1]), 30), (([0, 0, 0], [0, 0, 0], [0, 0, 0]), 0),
    ):  # fmt: skip
        assert notice_of(portfolio, plain, schedule(*rows), asked) == timedelta(minutes=minutes)


def test_who_is_not_known_or_signs_wrongly_is_refused_and_not_kept(opened: Open) -> None:
    world = opened(day=None)
    url = f"http://127.0.0.1:{world.agr_port}{PATH}"
    request = world.request(DAY, [(41, 4, -1000, 0)], later(NOW, 1), conversation_id=str(uuid4()), sender_domain=DSO,
                            recipient_domain=AGR, time_stamp="2016-07-12T05:00:00Z")  # fmt: skip

    def post(key: str, sender: str = DSO, role: UsefRole = UsefRole.DSO, kind: str = "text/xml") -> int:
        envelope = SignedMessage(sender_domain=sender, sender_role=role, body=transport.seal_message(request, key))
        return httpx.post(url, content=transport.to_xml(envelope), headers={"Content-Type": kind}).status_code

    assert post(key_pair()[0]) == 401
    assert post(world.private, "stranger.example.com") == 419
    assert post(world.private, role=UsefRole.AGR) == 419
    assert post(world.private, kind="application/json") == 400
    assert httpx.post(url, content=b"x" * 2_000_000, headers={"Content-Type": "text/xml"}).status_code == 413
    assert httpx.post(url, content=iter([b"<a/>"]), headers={"Content-Type": "text/xml"}).status_code == 411
    assert world.system.store.uftp.messages() == []
    assert post(world.private) == 200
    assert [m.kind for m in world.system.store.uftp.messages()] == ["FlexRequest"]
    world.client.signing_key = key_pair()[0]
    with pytest.raises(ClientTransportException) as why:
        world.client.send_flex_request(request)
    assert why.value.response.status_code == 401


def test_a_faulty_request_is_refused_with_every_reason(opened: Open) -> None:
    world = opened()
    expired = asked(world, world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER))
    assert expired.rejection_reason.startswith("ExpirationDateTime out of bounds: 2016-07-12T04:45:00Z is past")
    late = asked(world, world.request(DAY, [(41, 4, -1000, 0)], later(NOW, 10)), 2)
    assert late.rejection_reason.endswith("is after the requested ISPs")
    wrong = world.request(
        DAY - timedelta(days=1), [(95, 4, -1, 1), (1, 2, 9, 8), (2, 1, 0, 1)], NOW - QUARTER,
        isp_duration="PT5M", time_zone="Europe/London", congestion_point="ean.999999999999",
    )  # fmt: skip
    reasons = asked(world, wrong, 3).rejection_reason.split("; ")
    assert [r.partition(":")[0] for r in reasons] == [
        "ISP duration rejected", "TimeZone rejected", "ISPs out of bounds", "ISP conflict",
        "Requested Power discrepancy", "Power discrepancy", "Invalid CongestionPoint", "Period out of bounds",
        "ExpirationDateTime out of bounds", "ExpirationDateTime out of bounds",
    ], "the last of them past, and after the ISPs"  # fmt: skip
    nobody = asked(world, world.request(DAY + timedelta(days=1), [(41, 4, -1000, 0)], later(NOW, 1)), 4)
    assert nobody.rejection_reason == "No baseline: no D-Prognosis of that period"
    assert world.got(FlexOffer) == []


def test_a_message_that_comes_twice_is_judged_once_and_answered_again(opened: Open) -> None:
    world = opened()
    request = world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER)
    first = asked(world, request)
    again = asked(world, request, 2)
    assert again == first, "the same answer, with the id it had"
    assert sum(m.incoming and m.kind == "FlexRequest" for m in world.system.store.uftp.messages()) == 1
    other = replace(request, revision=2)
    assert asked(world, other, 3).rejection_reason.startswith("Duplicate Identifier; ExpirationDateTime")


def test_an_error_of_ours_refuses_the_message_and_the_next_is_judged(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = opened()
    with monkeypatch.context() as patch:
        patch.setattr("vpp.service.uftp_inbox.request_faults", lambda *_: 1 / 0)
        failed = asked(world, world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER))
        patch.setattr("vpp.service.uftp_inbox.read", lambda *_: 1 / 0)
        world.client.send_flex_request(world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER))
        world.settle_down()
    assert failed.rejection_reason == "Internal error of the recipient"
    assert any("ZeroDivisionError" in a.message for a in world.system.store.alarms.list())
    assert world.system.store.uftp.waiting() == [], "what cannot even be read is concluded too"
    after = asked(world, world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER), 2)
    assert after.rejection_reason.startswith("ExpirationDateTime")


def test_a_refused_prognosis_is_no_baseline(opened: Open) -> None:
    world = opened(day=None)
    world.desk.accepts = False
    world.system.store.runs.record(planned_day(world.system, DAY, -1.0), [])
    world.next(DPrognosis)
    world.settle_down()
    found = asked(world, world.request(DAY, [(41, 4, -1000, 0)], later(NOW, 1)))
    assert found.rejection_reason.startswith("No baseline")
    assert any("is rejected: not today" in a.message for a in world.system.store.alarms.list())


def test_an_order_that_is_not_the_offer_is_refused_with_every_reason(opened: Open) -> None:
    world = opened()
    made = made_offer(world)
    found = ordered(
        world, made, "", price=Decimal("99.00"), currency="USD", option_reference="half",
        activation_factor=Decimal("0.50"), d_prognosis_message_id=str(uuid4()), period=day_of(DAY + timedelta(days=1)),
    ).rejection_reason.split("; ")  # fmt: skip
    assert [r.partition(":")[0] for r in found] == [
        "Reference Period mismatch", "Unknown D-PrognosisMessageID reference", "Unknown OptionReference",
        "ActivationFactor 0.50 is below the MinActivationFactor 1.00 of the offer", "Price mismatch", "Price mismatch",
        "Invalid Message",
    ]  # fmt: skip

    def reason(**changes: Any) -> str:
        return str(ordered(world, made, **changes).rejection_reason).partition(":")[0]

    assert reason(isps=[FlexOrderISP(power=-500_000, start=41, duration=3)]) == "ISP mismatch"
    assert reason(isps=[FlexOrderISP(power=-400_000, start=41, duration=4)]) == "Power mismatch"
    assert reason(isps=[FlexOrderISP(power=500_000, start=41, duration=4)]) == "Power mismatch"
    assert reason(flex_offer_message_id=str(uuid4())) == "Unknown FlexOfferMessageID reference"
    assert reason(unsolicited=True, flex_offer_message_id=None) == "Unknown FlexOfferMessageID reference"
    old = made_offer(world, expires_at=NOW - QUARTER)
    assert "Reference message expired: FlexOfferMessageID" in ordered(world, old).rejection_reason
    assert world.system.store.uftp.trades(trade.FlexOrder, GRID.start, GRID.end) == []


def test_an_offer_is_sold_once_and_a_reference_used_once(opened: Open) -> None:
    world = opened()
    made, other = made_offer(world), made_offer(world)
    assert ordered(world, made).result == "Accepted"
    assert ordered(world, made, "order-2").rejection_reason == "Already ordered: FlexOfferMessageID"
    assert ordered(world, other).rejection_reason == "Invalid Message: OrderReference order-1 is taken"
    assert ordered(world, other, "order-2").result == "Accepted"
    first, second = world.system.store.uftp.trades(trade.FlexOrder, GRID.start, GRID.end)
    assert (first.number, second.number) == (1, 2)
    np.testing.assert_allclose(trade.owed_mw([first, second], "feeder-9", GRID)[1][40:44], 1.0)


def test_an_order_beyond_the_headroom_is_refused_by_name(opened: Open) -> None:
    world = opened(mw=0.0)
    mw = np.full(GRID.n, np.nan)
    mw[40:44] = 40.0
    made = made_offer(world, mw=mw)
    isps = [FlexOrderISP(power=-40_000_000, start=41, duration=4)]
    reason = ordered(world, made, isps=isps).rejection_reason
    assert reason.startswith("The flexibility is sold already:") and "40.000 MW of demand_response" in reason
    assert any(a.code == "headroom" for a in world.system.store.alarms.list())


def test_offers_that_do_not_hold_any_more_are_revoked(opened: Open) -> None:
    world = opened(mw=0.0)
    little, much = np.full(GRID.n, np.nan), np.full(GRID.n, np.nan)
    little[41], much[40:44] = -0.001, 40.0
    keeps, breaks = made_offer(world, mw=little), made_offer(world, mw=much)
    world.system.store.runs.record(replace(planned_day(world.system, DAY, 0.0), id="newer"), [])
    assert world.next(FlexOfferRevocation).flex_offer_message_id == breaks.id
    status = {o.id: world.system.store.uftp.trade(trade.FlexOffer, o.id)[1] for o in (keeps, breaks)}
    assert status == {keeps.id: TradeStatus.ACCEPTED, breaks.id: TradeStatus.REVOKED}
    refused = ordered(world, breaks, isps=[FlexOrderISP(power=-40_000_000, start=41, duration=4)])
    assert refused.rejection_reason == "Reference message revoked: FlexOfferMessageID"


def test_the_operator_sees_messages_and_takes_an_offer_back(opened: Open) -> None:
    world = opened()
    made = made_offer(world)
    token = world.system.store.access.create_key("operator")[1]
    base, head = f"http://127.0.0.1:{world.agr_port}/v1/uftp", {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{base}/messages").status_code == 401
    seen = httpx.get(f"{base}/messages", headers=head).json()
    assert {m["kind"] for m in seen} == {"DPrognosis", "DPrognosisResponse"} and seen[0]["status"] == "done"
    assert httpx.post(f"{base}/offers/{made.id}/revoke", headers=head).json()["id"] == made.id
    assert world.next(FlexOfferRevocation).flex_offer_message_id == made.id
    assert httpx.post(f"{base}/offers/{made.id}/revoke", headers=head).status_code == 422
    assert httpx.post(f"{base}/offers/nothing/revoke", headers=head).status_code == 404


def test_what_was_kept_is_answered_by_the_next_process(opened: Open) -> None:
    world = opened()
    request = world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER)
    world.client.send_flex_request(request)
    assert [m.kind for m in world.system.store.uftp.waiting()] == ["FlexRequest"], "taken, and nobody has read it"
    reborn = Uftp(world.system, world.uftp.config, world.uftp.lock, lambda: world.now)
    reborn.work()
    assert world.next(FlexRequestResponse).flex_request_message_id == request.message_id


def test_a_grid_operator_that_is_away_gets_everything_in_order_later(opened: Open) -> None:
    world = opened()
    clock, real = [datetime.now(UTC)], world.uftp.courier
    world.uftp.wall = world.uftp.inbox.wall = lambda: clock[0]
    world.uftp.courier = replace(real, endpoints={DSO: "http://127.0.0.1:9/nobody"})
    for _ in range(2):
        world.client.send_flex_request(world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER))
    world.uftp.work()
    first, second = world.system.store.uftp.queued()
    assert (first.attempts, first.reason, second.attempts) == (1, "ConnectionError", 0)
    world.uftp.courier = real
    world.uftp.send()
    assert world.got(FlexRequestResponse) == [], "the first waits its time, and the second for the first"
    clock[0] += timedelta(minutes=1)
    world.next(FlexRequestResponse, 2)
    assert [m.message_id for m in world.got(FlexRequestResponse)] == [first.message_id, second.message_id]
    world.uftp.courier = replace(real, endpoints={DSO: "http://127.0.0.1:9/nobody"})
    world.client.send_flex_request(world.request(DAY, [(41, 4, -1000, 0)], NOW - QUARTER))
    world.uftp.work()
    clock[0] += world.uftp.config.file.deliver_for
    world.uftp.work()
    assert world.system.store.uftp.messages(1)[0].status == "failed"
    assert any("could not be delivered" in a.message for a in world.system.store.alarms.list())


def test_a_test_message_is_answered_and_what_is_not_agreed_is_refused(opened: Open) -> None:
    world = opened(day=None)
    world.client.send_test_message()
    assert world.next(TestMessageResponse).result == "Accepted"
    update = FlexReservationUpdate(
        isp_duration=XmlDuration("PT15M"), time_zone=ZONE, period=XmlDate(2016, 7, 12), congestion_point=ADDRESS,
        contract_id="c", reference="r", isps=[FlexReservationUpdateISP(power=0, start=1)],
    )  # fmt: skip
    world.client.send_flex_reservation_update(update)
    refused = world.next(FlexReservationUpdateResponse)
    assert refused.rejection_reason == "Invalid Message: FlexReservationUpdate is not agreed between us"
    assert b64encode(world.system.store.uftp.messages()[-1].body), "with its signature"
