"""A flexibility request of a grid operator on the public library: offer, order, the next run, the meter, settlement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from shapeshifter_uftp.uftp import (
    DPrognosis,
    FlexOffer,
    FlexOrderResponse,
    FlexRequestResponse,
    FlexSettlementResponse,
)

from adapters.store import open_store
from tests.service.conftest import DAY, ZONE, Make, local
from tests.service.uftp_world import PENALTY, World, expanded, later, served
from vpp.domain.command import MeterRow
from vpp.domain.flex_trade import FlexOrder, TradeStatus
from vpp.domain.schedule import DispatchRun, Schedule
from vpp.domain.time import QUARTER, Array, TimeGrid, local_midnight
from vpp.service.desk import Desk
from vpp.service.headroom import ledger_of
from vpp.service.knowledge import gather
from vpp.service.situation import Situation
from vpp.service.system import System

MORNING = local("2016-07-12 07:00")
GRID = TimeGrid.local_day(DAY, ZONE)
ASKED = slice(40, 44)
"""ISP 41 to 44: from 10:00 to 11:00."""
ROOM_W = 1_500_000


def injection(world: World, plan: Schedule) -> Array:
    """(96,) planned MW of everything at the point, NaN outside the plan."""
    ids = [a.id for a in world.uftp.config.groups["feeder-9"]]
    return GRID.sample(plan.grid, plan.power_mw[[plan.asset_ids.index(i) for i in ids]].sum(axis=0))


def write_meters(world: World, plan: Schedule) -> np.ndarray:
    """The day as the plan has it and a little noise, row by row; (96,) watts of all devices as the grid operator's own
    meter counts them."""
    rng, total, rows = np.random.default_rng(9), np.zeros(GRID.n), []
    for asset in world.uftp.config.groups["feeder-9"]:
        planned = np.nan_to_num(GRID.sample(plan.grid, plan.power_of(asset.id)))
        mw = planned + rng.normal(0.0, 0.002, GRID.n)
        total -= mw
        point, times = asset.metering_point, zip(GRID.starts, mw, strict=True)
        rows += [MeterRow(point, t, 15, float(v), t + QUARTER) for t, v in times]
    world.system.store.meters.write(rows)
    return np.rint(total * 1e6).astype(int)


@pytest.fixture(scope="module")
def traded(
    make: Make, secured: tuple[System, Situation, DispatchRun], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, dict[str, Any]]]:
    """One morning on the demo grid, from the prognosis to the disputed settlement; what was seen on the way."""
    folder = tmp_path_factory.mktemp("uftp")
    store, loaded = open_store(folder / "record.db"), secured[0].loaded
    store.runs.record(secured[2], [])
    patient = tuple(replace(s, deadline=timedelta(seconds=40)) for s in loaded.stages)
    system = make(MORNING, store, stages=patient)
    system.epoch = store.commands.next_epoch(MORNING)
    with served(system, folder, MORNING) as world:
        seen: dict[str, Any] = {"prognosis": world.next(DPrognosis)}
        world.settle_down()
        room = ((45, 8, -ROOM_W, ROOM_W),)
        seen["request"] = world.request(DAY, [(41, 4, -ROOM_W, 0)], later(MORNING, 1), room)
        world.client.send_flex_request(seen["request"])
        seen["offer"] = world.next(FlexOffer, within_s=240.0)
        seen["order"] = world.order(seen["offer"])
        world.client.send_flex_order(seen["order"])
        seen["ordered"] = world.next(FlexOrderResponse, within_s=120.0)
        seen["run"] = Desk(system).intraday(MORNING + QUARTER)
        world.now = MORNING + QUARTER + timedelta(minutes=1)
        seen["again"] = world.next(DPrognosis, 2)
        world.settle_down()
        seen["watts"] = write_meters(world, seen["run"].schedule)
        settle(world, seen)
        yield world, seen
    store.close()


def settle(world: World, seen: dict[str, Any]) -> None:
    """Three settlements of the day after: as the meter has it, with another meter, and before the day was over."""
    honest = {k: int(seen["watts"][k - 1]) for k in range(41, 45)}
    other = {k: w + 400_000 for k, w in honest.items()}
    world.client.send_flex_settlement(world.settlement(seen["order"], seen["prognosis"], honest))
    seen["early"] = world.next(FlexSettlementResponse)
    world.now = local_midnight(DAY + timedelta(days=1), ZONE) + QUARTER
    world.client.send_flex_settlement(world.settlement(seen["order"], seen["prognosis"], honest))
    seen["settled"] = world.next(FlexSettlementResponse, 2)
    world.client.send_flex_settlement(world.settlement(seen["order"], seen["prognosis"], other))
    seen["disputed"] = world.next(FlexSettlementResponse, 3)
    unknown = world.settlement(replace(seen["order"], order_reference="order-9"), seen["prognosis"], honest)
    world.client.send_flex_settlement(unknown)
    seen["left out"] = world.next(FlexSettlementResponse, 4)


def test_the_prognosis_is_the_day_ahead_plan_in_watts(
    traded: tuple[World, dict[str, Any]], secured: tuple[System, Situation, DispatchRun]
) -> None:
    world, seen = traded
    said = seen["prognosis"]
    planned = injection(world, secured[2].schedule)
    assert (said.revision, str(said.period), str(said.isp_duration)) == (1, "2016-07-12", "PT15M")
    np.testing.assert_allclose(expanded(said.isps, "power", GRID.n), -1e6 * planned, atol=0.5)


def test_the_request_is_accepted_and_offered_what_fits_into_it(traded: tuple[World, dict[str, Any]]) -> None:
    world, seen = traded
    (answered,) = world.got(FlexRequestResponse)
    offer, (option,) = seen["offer"], seen["offer"].offer_options
    assert (answered.result, answered.flex_request_message_id) == ("Accepted", seen["request"].message_id)
    assert (offer.flex_request_message_id, offer.d_prognosis_message_id) == (
        seen["request"].message_id, seen["prognosis"].message_id,
    )  # fmt: skip
    power = expanded(option.isps, "power", GRID.n)
    assert np.isfinite(power[ASKED]).any() and not np.isfinite(np.delete(power, np.arange(40, 44))).any()
    assert np.nanmin(power) >= -ROOM_W and np.nanmax(power) < -100_000, "less consumption, at least 0.1 MW of it"
    energy_mwh = -float(np.nansum(power)) / 4e6
    assert option.price >= Decimal("50") * Decimal(repr(round(energy_mwh, 6))) - Decimal("0.01")
    assert offer.currency == "EUR"


def test_the_next_run_honours_the_order_and_stays_secure(traded: tuple[World, dict[str, Any]]) -> None:
    world, seen = traded
    assert (seen["ordered"].result, seen["ordered"].rejection_reason) == ("Accepted", None)
    run, power = seen["run"], expanded(seen["order"].isps, "power", GRID.n)
    owed = np.isfinite(power)
    change_w = -1e6 * injection(world, run.schedule) - expanded(seen["prognosis"].isps, "power", GRID.n)
    assert np.all(change_w[owed] <= power[owed] + 1_000), "at most 1 kW of the order is missing"
    assert run.certificate.verdict == "clean" and run.level == "optimal", run.reason
    kept, status = world.system.store.uftp.trade(FlexOrder, seen["order"].message_id)
    assert status is TradeStatus.ACCEPTED and kept.reference == "order-1"


def test_the_order_is_claimed_once_in_the_headroom_ledger(traded: tuple[World, dict[str, Any]]) -> None:
    world, seen = traded
    s = gather(world.system, "intraday", "roll", MORNING + QUARTER, scenarios=0)
    name = f"uftp:feeder-9:{GRID.start:%Y%m%d}:up"
    assert [c.id for c in s.calls] == [name]
    (claim,) = (c for c in ledger_of(s).claims if c.id == name)
    power = expanded(seen["order"].isps, "power", GRID.n)
    inside = [t for t, start in enumerate(s.grid.starts) if GRID.starts[40] <= start < GRID.starts[44]]
    np.testing.assert_allclose(claim.mw[inside], -power[ASKED] / 1e6)
    assert np.isnan(np.delete(claim.mw, inside)).all()


def test_the_prognosis_is_sent_again_with_the_order_in_it(traded: tuple[World, dict[str, Any]]) -> None:
    world, seen = traded
    first, second = (expanded(seen[k].isps, "power", GRID.n) for k in ("prognosis", "again"))
    assert seen["again"].revision == 2
    past = 4 * 7 + 1
    np.testing.assert_array_equal(second[:past], first[:past])
    np.testing.assert_allclose(second[ASKED], -1e6 * injection(world, seen["run"].schedule)[ASKED], atol=0.5)
    assert len(world.got(DPrognosis)) == 2, "nothing is said twice"


def test_the_settlement_that_matches_the_meter_is_accepted(traded: tuple[World, dict[str, Any]]) -> None:
    world, seen = traded
    settled = seen["settled"]
    assert (settled.result, settled.rejection_reason) == ("Accepted", None)
    (status,) = settled.flex_order_settlement_statuses
    assert (status.order_reference, status.disposition, status.dispute_reason) == ("order-1", "Accepted", None)
    own = world.system.store.events.statement(seen["order"].message_id)
    assert own is not None and own.method == "d-prognosis" and own.totals["payment"] == seen["order"].price
    power, first = expanded(seen["order"].isps, "power", GRID.n), expanded(seen["prognosis"].isps, "power", GRID.n)
    short_w = sum(max(0.0, -power[k] - (first[k] - seen["watts"][k])) for k in np.flatnonzero(np.isfinite(power)))
    assert own.totals["penalty"] == pytest.approx(PENALTY * Decimal(repr(float(short_w) / 4e6)), abs=Decimal("0.01"))
    metered = [float(line.metered_mw) for line in own.lines]
    np.testing.assert_allclose(metered, -seen["watts"][np.isfinite(power)] / 1e6, atol=1e-4)


def test_a_settlement_by_another_meter_is_disputed_with_its_reasons(traded: tuple[World, dict[str, Any]]) -> None:
    _, seen = traded
    (status,) = seen["disputed"].flex_order_settlement_statuses
    assert seen["disputed"].result == "Accepted", "a dispute is no refusal of the message"
    assert status.disposition == "Disputed" and "ISP 41: ActualPower" in status.dispute_reason
    assert "Penalty" in status.dispute_reason


def test_a_settlement_too_early_or_with_an_order_left_out_is_rejected(traded: tuple[World, dict[str, Any]]) -> None:
    _, seen = traded
    assert seen["early"].result == "Rejected" and seen["early"].rejection_reason.startswith("PeriodEnd rejected")
    assert seen["left out"].result == "Rejected"
    assert seen["left out"].rejection_reason == "Missing Settlement Items: order-1"
