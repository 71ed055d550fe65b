"""Capacity sold before energy, held by every plan; contracts of market.yaml with every fault; nothing sold twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.service.conftest import DEMO, ISSUED, Make, local
from tests.service.test_desk import quick
from vpp.domain.errors import InputFaults, SoldTwice
from vpp.domain.ledger import Claim
from vpp.domain.market import Acceptance, Event, EventStatus, FlexibilityOffer, Position
from vpp.domain.time import QUARTER, TimeGrid
from vpp.service import dr
from vpp.service.capacity import reserve_issues, rounded
from vpp.service.contracts import contracts_over
from vpp.service.desk import Desk
from vpp.service.event_clock import EventClock
from vpp.service.headroom import claim_positions, ledger_of
from vpp.service.knowledge import gather
from vpp.service.loop import Loop
from vpp.service.portfolio import LoadedPortfolio, load_portfolio
from vpp.service.system import System
from vpp.service.truth import capacity_income

RESERVE = {
    "id": "fast-reserve", "direction": "up", "of": {"sites": ["glass-works", "steel-shop", "shopping-centre"]},
    "issue": "08:30", "gate": "09:00", "award": "09:30", "interval_min": 240, "min_mw": 0.1, "step_mw": 0.1,
    "most_mw": 1.0, "activation_min": 5, "sustain_h": 0.5, "recovery_h": 2, "penalty_eur_per_mw_h": 400,
    "hourly_eur_per_mw_h": [40.0] * 24, "price_cap_eur_per_mw_h": 200, "share_awarded": 0.8,
}  # fmt: skip
STEEL = ["mp:finishing-shop", "mp:battery-steel"]
HOLDERS = ("battery-glass", "battery-steel", "battery-shopping")
SOLD_AT = local("2016-07-11 08:30")


def portfolio(folder: Path, **sections: object) -> Path:
    """The demo with further sections in its market."""
    shutil.copytree(DEMO, folder)
    path = folder / "market.yaml"
    path.write_text(path.read_text() + "\n" + yaml.safe_dump(sections))
    return folder


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedPortfolio:
    contracts = [
        {"product": "connection_limit", "id": "plastics-cable", "of": {"sites": ["plastics-works"]}, "import_mw": 1.1},
        {"product": "demand_charge", "id": "steel-peak", "of": {"metering_points": STEEL}, "price_eur_per_mw": 3000,
         "expected_peak_mw": 0.3},
    ]  # fmt: skip
    return load_portfolio(portfolio(tmp_path_factory.mktemp("trade") / "p", reserve=[RESERVE], contracts=contracts))


@pytest.fixture(scope="module")
def traded(make: Make, loaded: LoadedPortfolio) -> Iterator[System]:
    """Capacity, energy and plan of the demo day, off the grid."""
    patient = tuple(replace(s, deadline=timedelta(seconds=90)) for s in quick(loaded.stages))
    system = make(ISSUED, network=False, stages=patient, contracts=loaded.contracts)
    Loop(Desk(system), EventClock(system)).sell(ISSUED)
    yield system
    system.store.close()


def capacity(system: System) -> list[Position]:
    day = TimeGrid.local_day(datetime(2016, 7, 12).date(), "Europe/Berlin")
    return system.store.market.positions("demo-unit", day.start, day.end, "fast-reserve")


def test_contracts_bind_whom_they_name(loaded: LoadedPortfolio) -> None:
    bound = {c.id: c.assets for c in loaded.contracts}
    assert bound["plastics-cable"] == ("extruders", "battery-plastics")
    assert bound["steel-peak"] == ("battery-steel", "finishing-shop")
    assert bound["fast-reserve"] == ("battery-glass", "battery-steel", "battery-shopping")


def test_capacity_is_sold_before_energy_in_whole_steps(traded: System) -> None:
    bid = next(b for b in traded.store.market.bids() if b.product == "fast-reserve")
    assert bid.issued_at == SOLD_AT and bid.gate == local("2016-07-11 09:00")
    assert bid.mw.shape == (5, 6) and (np.diff(bid.mw, axis=0) >= -1e-9).all() and bid.mw.max() > 0.0
    awarded = capacity(traded)
    assert awarded
    for p in awarded:
        assert p.mw == pytest.approx(round(p.mw, 1)) and 0.1 <= p.mw <= 0.8
        assert p.end - p.start == timedelta(hours=4)
    stages = [c.stage for c in traded.store.runs.cycles()]
    assert {"capacity", "bid", "day_ahead"} == set(stages)
    assert not traded.store.alarms.list()


def test_every_plan_holds_what_is_firm(traded: System) -> None:
    plan = traded.store.runs.latest("day_ahead", "plan")
    assert plan is not None and plan.level == "optimal", plan
    grid, told = plan.schedule.grid, plan.schedule.products["fast-reserve"]
    firm = np.zeros(grid.n)
    for p in capacity(traded):
        firm += [p.mw * (p.start <= t < p.end) for t in grid.starts]
    np.testing.assert_allclose(told["sold_mw"], firm, atol=1e-6)
    held = sum(plan.schedule.decisions[a]["reserve_up_mw:fast-reserve"] for a in HOLDERS)
    np.testing.assert_allclose(held, firm - told["short_up_mw"], atol=1e-5)
    assert told["short_up_mw"].max() < 1e-6
    peak = plan.schedule.products["steel-peak"]["peak_mw"]
    steel = [plan.schedule.asset_ids.index(a) for a in ("battery-steel", "finishing-shop")]
    assert peak.max() >= -plan.schedule.power_mw[steel].sum(axis=0).min() - 1e-6
    plastics = [plan.schedule.asset_ids.index(a) for a in ("extruders", "battery-plastics")]
    assert plan.schedule.power_mw[plastics].sum(axis=0).min() >= -1.1 - 1e-6


def test_firm_capacity_is_paid_by_the_hour(traded: System) -> None:
    day = TimeGrid.local_day(datetime(2016, 7, 12).date(), "Europe/Berlin")
    expected = sum(4.0 * 40.0 * p.mw for p in capacity(traded))
    assert capacity_income(traded, day) == pytest.approx(expected)
    first = capacity(traded)[0]
    begin = day.index_of(first.start)
    assert capacity_income(traded, day.part(begin, begin + 8)) == pytest.approx(2.0 * 40.0 * first.mw)


def test_the_intraday_plan_and_the_minute_hold_it_too(traded: System) -> None:
    start = capacity(traded)[0].start
    s = gather(traded, "intraday", "roll", start, scenarios=0)
    contract = next(c for c in s.contracts if c.id == "fast-reserve")
    assert contract.known["firm_mw"][0] == pytest.approx(capacity(traded)[0].mw)
    assert np.isfinite(s.positions[0].mw).any(), "capacity is no energy"
    assert np.nanmax(np.abs(s.positions[0].mw - capacity(traded)[0].mw)) > 0.1


def test_a_megawatt_is_not_sold_twice(traded: System) -> None:
    s = gather(traded, "day_ahead", "plan", ISSUED, scenarios=0)
    ledger = ledger_of(s)
    names = {c.id for c in ledger.claims}
    assert "energy demo-unit" in names and any(n.startswith("fast-reserve up battery") for n in names)
    again = [replace(p, mw=8.0) for p in capacity(traded)]
    with pytest.raises(SoldTwice, match=r"fast-reserve up: 8\.000 MW .* beside .*fast-reserve up battery-"):
        claim_positions(s, again)
    desk = Desk(traded)
    bid = next(b for b in traded.store.market.bids() if b.product == "fast-reserve")
    Loop(desk, EventClock(traded))._firm(bid, again, ISSUED)
    assert max(p.mw for p in capacity(traded)) <= 0.8, "nothing was entered"
    assert any("refused" in a.message and "fast-reserve" in a.message for a in traded.store.alarms.list())
    low, high = ledger.bounds_mw(s.positions[0].assets)
    free_low, free_high = replace(ledger, claims=()).bounds_mw(s.positions[0].assets)
    firm = np.nan_to_num(next(c for c in s.contracts if c.product == "reserve").known["firm_mw"])
    np.testing.assert_allclose(free_high - high, firm, atol=1e-6)
    np.testing.assert_allclose(low, free_low)


def test_no_bid_sells_what_is_held_as_reserve(traded: System) -> None:
    bid = next(b for b in traded.store.market.bids() if b.product == "day_ahead_energy")
    s = gather(traded, "day_ahead", "bid", ISSUED, scenarios=0)
    _, high = ledger_of(s).bounds_mw(s.positions[0].assets)
    most = bid.grid.sample(s.grid, high)
    assert (bid.mw <= most + 0.05).all()
    small = traded.market.energy.min_mw
    assert ((np.abs(bid.mw) >= small) | (bid.mw == 0.0)).all()


def test_a_call_gets_no_more_than_reserve_leaves(make: Make, loaded: LoadedPortfolio) -> None:
    """An answer that would stop what is held as reserve is cut to what is left, by name, before it is owed."""
    now, start = local("2016-07-12 15:00"), local("2016-07-12 17:30")
    system = make(now, network=False, stages=quick(loaded.stages), contracts=loaded.contracts)
    grid = TimeGrid.between(start, start + 4 * QUARTER, QUARTER)
    evening = local("2016-07-12 16:00"), local("2016-07-12 20:00")
    system.store.market.save_positions([Position("demo-unit", "fast-reserve", *evening, 2.6, 40.0, now)])
    event = Event("x", 1, "p", "feeder-9", now, start, grid.end, 2.0, Decimal(500), Decimal(100), now,
                  EventStatus.OFFERED)  # fmt: skip
    system.store.events.save(event)
    all_of_it, none = np.full(4, 1.5), np.zeros(4)
    offer = FlexibilityOffer("x:glass-works", "x", "glass-works", ("battery-glass",), grid, all_of_it, all_of_it,
                             Decimal(500), none, "ten", grid, none, 0)  # fmt: skip
    system.store.events.save_offer(offer)
    system.store.events.save_acceptance(Acceptance("x", "glass-works", now, np.full(4, 1.5)))
    dr.order(system, "x", now)
    owed = system.store.events.acceptances("x")[0].mw
    assert owed == pytest.approx(np.full(4, 1.5 - 2.6 / 3))
    assert any("answer of glass-works cut" in a.message for a in system.store.alarms.list())
    s = gather(system, "day_ahead", "offer", now, scenarios=0)
    cut = dr._unsold(offer, ledger_of(s, without="x:"), [system.portfolio.asset("battery-glass")])
    np.testing.assert_allclose(cut.mw, 1.5 - 2.6 / 3, atol=1e-9)
    free = Claim("free", dr.ORDERS, ("battery-cold-store",), np.full(s.grid.n, 0.1), from_mw=np.zeros(s.grid.n))
    assert ledger_of(s).with_claim(free).claims
    system.store.close()


def test_the_peak_already_set_comes_from_the_meter(make: Make, loaded: LoadedPortfolio) -> None:
    from vpp.domain.command import MeterRow

    now = local("2016-07-12 10:00")
    system = make(now, network=False, contracts=loaded.contracts)
    for day, mw in ((11, -0.9), (12, -0.4)):
        at = local(f"2016-07-{day} 07:00")
        rows = [MeterRow(p, at, 15, mw / 2, at + QUARTER) for p in ("mp:finishing-shop", "mp:battery-steel")]
        system.store.meters.write(rows)
    grid = TimeGrid.uniform(local("2016-07-31 20:00"), QUARTER, 32)
    for moment, already in ((now, 0.9), (local("2016-07-11 05:00"), 0.0)):
        known = next(c for c in contracts_over(system, grid, moment, "plan") if c.product == "demand_charge").known
        np.testing.assert_allclose(known["already_mw"], [already] * 16 + [0.0] * 16, err_msg=str(moment))
        assert known["period"].tolist() == [2016 * 12 + 7] * 16 + [2016 * 12 + 8] * 16
    system.store.close()


def test_nothing_is_sold_after_the_gate_or_without_a_section(traded: System, make: Make) -> None:
    s = gather(traded, "day_ahead", "plan", ISSUED, scenarios=0)
    contract = next(c for c in s.contracts if c.id == "fast-reserve")
    assert ((contract.known["interval"] >= 0.0) == np.isfinite(contract.known["firm_mw"])).all()
    plain = make(ISSUED, network=False)
    assert reserve_issues(plain, ISSUED) == [] and plain.loaded.contracts == ()
    plain.store.close()


def test_capacity_is_rounded_down() -> None:
    np.testing.assert_allclose(rounded(np.array([0.04, 0.1, 0.299999999, 0.3, 0.77]), 0.1, 0.2), [0, 0, 0.3, 0.3, 0.7])


def test_every_fault_of_contracts_is_named_at_once(tmp_path: Path) -> None:
    bad_reserve = [
        {**RESERVE, "gate": "07:00", "interval_min": 50, "of": {"assets": ["mill-1", "chambers", "offices", "nobody"]}},
        {**RESERVE, "id": "mill-1"}, "nonsense",
    ]  # fmt: skip
    contracts = [
        {"product": "connection_limit", "id": "c", "of": {"sites": ["nowhere"]}, "import_mw": -1},
        {"product": "connection_limit", "id": "c", "of": {"sites": ["cold-store"]}, "import_kw": 3},
        {"product": "reserve", "id": "r"}, {"product": "swap", "id": "s"},
        {"product": "demand_charge", "id": "d", "of": {}, "price_eur_per_mw": float("nan")},
        {"product": "connection_limit", "id": "e", "of": {"trading_units": ["u"]}, "export_mw": 1},
    ]  # fmt: skip
    folder = portfolio(tmp_path / "p", reserve=bad_reserve, contracts=contracts)
    with pytest.raises(InputFaults) as caught:
        load_portfolio(folder)
    found = "\n".join(map(str, caught.value.faults))
    for part in (
        "fast-reserve/", "issue lies after the gate", "interval_min", "mill-1/id: is taken",
        "reserve[2]: must be a mapping",
        "c/import_mw", "c/id: is taken", "import_kw: unknown field; did you mean import_mw?", "unknown product reserve",
        "unknown product swap", "names nobody", "d/price_eur_per_mw: is not a finite number", "unknown trading unit u",
    ):  # fmt: skip
        assert part in found, f"{part}\n{found}"
    good = {**RESERVE, "of": {"assets": ["mill-1", "chambers", "offices", "nobody"]}}
    with pytest.raises(InputFaults) as caught:
        load_portfolio(portfolio(tmp_path / "q", reserve=[good]))
    found = "\n".join(map(str, caught.value.faults))
    for part in (
        "mill-1/reserve fast-reserve: needs 0:30:00 of notice", "chambers/reserve fast-reserve: a price_elastic",
        "offices/reserve fast-reserve: a fixed_load sells none", "of.assets: unknown asset nobody",
    ):  # fmt: skip
        assert part in found, f"{part}\n{found}"


def test_microgrids_lie_within_each_other_or_apart(tmp_path: Path) -> None:
    def grids(*members: tuple[str, ...]) -> list[dict[str, Any]]:
        return [
            {"product": "microgrid", "id": f"grid-{k}", "of": {"assets": list(of)}, "import_mw": 1.0, "export_mw": 1.0}
            for k, of in enumerate(members)
        ]

    nested = grids(("battery-steel", "biomass"), ("biomass",), ("chp",))
    assert len(load_portfolio(portfolio(tmp_path / "nested", contracts=nested)).contracts) == 3
    crossed = grids(("battery-steel", "biomass"), ("biomass", "chp"))
    with pytest.raises(InputFaults) as caught:
        load_portfolio(portfolio(tmp_path / "crossed", contracts=crossed))
    assert [str(f) for f in caught.value.faults] == [
        "grid-1/of: shares biomass with grid-0, and neither lies within the other"
    ]
