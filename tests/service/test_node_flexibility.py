"""The answer to a grid desk on the demo: shape, physics, network, and every fault of a question."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from dispatch.convex import beyond, segment
from dispatch.pq_region import ASSETS, Around, Cell, Spot
from dispatch.pq_search import regions
from dispatch.product import Contract
from dispatch.products import connection_limit
from tests.dispatch.tiny import ThreeBusNet
from tests.service.conftest import local
from vpp.domain.errors import InputFaults
from vpp.domain.ledger import Claim, Ledger
from vpp.domain.network import Flow
from vpp.domain.portfolio import Portfolio, Site
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import QUARTER, TimeGrid, rfc3339
from vpp.service.api.disclosure import without_names
from vpp.service.assemble import exposure_of
from vpp.service.flexibility_answer import answer, random_response, switching_of
from vpp.service.flexibility_place import Place, bus_number, effects, element_name, source_names
from vpp.service.flexibility_report import question
from vpp.service.node_flexibility import (
    NOTICE,
    ORDERED,
    Asked,
    judged,
    node_region,
    plan_flow,
    rating_mva,
    reach_of,
    spots_of,
)  # fmt: skip
from vpp.service.situation import Situation
from vpp.service.system import System

Secured = tuple[System, Situation, DispatchRun]
AT = local("2016-07-12 17:30")
HOUR = timedelta(hours=1)
INTERVAL = {
    "start", "p_min_mw", "p_max_mw", "q_min_mvar", "q_max_mvar", "polygon", "p50_mw", "p90_mw", "p50_down_mw",
    "p90_down_mw", "planned", "binding", "violated", "effect_pct_per_mw", "hosting_mw",
}  # fmt: skip
WHOLE = {"intervals", "sustain_mwh", "rebound", "merit", "baseline_mw", "binding", "certificate", "wall_s", "notice",
         "opposite", "switching", "effect", "assets", "sites", "held_to_plan", "place", "at", "horizon",
         "baseline"}  # fmt: skip


@pytest.fixture(scope="module")
def told(secured: Secured) -> dict[str, Any]:
    _, s, run = secured
    return answer(s, run.schedule, Place(bus="bus 93"), AT, HOUR)


def test_an_answer_has_the_fields_of_the_contract(told: dict[str, Any]) -> None:
    assert set(told) == WHOLE and len(told["intervals"]) == 4
    assert all(set(i) == INTERVAL for i in told["intervals"])
    assert told["assets"] == ["chambers", "battery-cold-store"] and told["notice"] == "PT15M"
    assert told["wall_s"]["total"] == pytest.approx(sum(v for k, v in told["wall_s"].items() if k != "total"), rel=1e-3)
    assert [r["hours"] for r in told["sustain_mwh"]] == [0.25, 0.5, 1.0]


def test_every_corner_is_clean_by_the_reference_engine(told: dict[str, Any]) -> None:
    certificate = told["certificate"]
    assert certificate["engine"] == "pandapower" and certificate["verdict"] == "clean"
    assert certificate["corners"] == certificate["corners_clean"] == sum(len(i["polygon"]) for i in told["intervals"])
    assert certificate["corners"] >= 16 and certificate["outages"] == ["section-84"]


def test_the_polygon_holds_the_plan_and_its_bounds_are_its_own(told: dict[str, Any]) -> None:
    for i, base in zip(told["intervals"], told["baseline_mw"], strict=True):
        corners = np.array(i["polygon"])
        assert (i["p_min_mw"], i["p_max_mw"]) == (corners[:, 0].min(), corners[:, 0].max())
        assert (i["q_min_mvar"], i["q_max_mvar"]) == (corners[:, 1].min(), corners[:, 1].max())
        assert beyond(corners, np.array([i["planned"]]))[0] <= 1e-6
        assert i["planned"][0] == pytest.approx(base)
        assert 0.0 <= i["p90_mw"] <= i["p50_mw"] == pytest.approx(i["p_max_mw"] - base)
        hosted = i["hosting_mw"]["93"]
        assert 0.0 < hosted["load"] < 20.0 and 0.0 < hosted["generation"] < 20.0
        assert np.ptp(corners[:, 1]) > 1.0, "the battery's inverter gives Q"


def test_no_window_holds_more_than_its_intervals_and_the_merit_curve_ends_there(told: dict[str, Any]) -> None:
    first = told["intervals"][0]
    up, down = first["p_max_mw"] - first["planned"][0], first["planned"][0] - first["p_min_mw"]
    for row in told["sustain_mwh"]:
        assert row["up_mw"] <= up + 1e-3 and row["down_mw"] <= down + 1e-3
        assert row["up_mwh"] == pytest.approx(row["up_mw"] * row["hours"])
    mw = [m for m, _ in told["merit"]]
    assert mw == sorted(mw) and mw[0] == pytest.approx(-down, abs=2e-3) and mw[-1] == pytest.approx(up, abs=2e-3)
    assert {"held_mw", "start", "end", "mwh", "mw_by_bus"} == set(told["rebound"]["up"])
    (unit,) = told["opposite"]
    assert unit["unit"] == "demo-unit" and unit["up_mw"] > 0.5 and unit["down_mw"] > 0.5


def test_a_region_by_one_call_is_that_of_the_answer(secured: Secured, told: dict[str, Any]) -> None:
    _, s, run = secured
    found = node_region(s, run.schedule, 93, s.grid.index_of(AT))
    assert found.corners == pytest.approx(np.array(told["intervals"][0]["polygon"]), abs=1e-6)
    with pytest.raises(ValueError, match="no controllable asset at bus 1"):
        node_region(s, run.schedule, 1, 0)


def test_random_points_inside_are_feasible_in_the_network(secured: Secured, told: dict[str, Any]) -> None:
    """At the point itself, everything else as planned, by a flow of all buses."""
    _, s, run = secured
    side, exposure, t = s.grid_side, exposure_of(s), s.grid.index_of(AT)
    assert side is not None and exposure is not None
    rng, bus = np.random.default_rng(3), side.network.buses.index(93)
    corners = np.array(told["intervals"][0]["polygon"])
    points = rng.dirichlet(np.full(len(corners), 0.4), 60) @ corners
    flow = plan_flow(s, run.schedule)
    assert flow is not None
    network = side.network.starting_at([int(k) for k in flow.taps[0, t - 1]])
    p, q = (np.repeat(v[:, t : t + 1], 61, axis=0) for v in (flow.p_mw, flow.q_mvar))
    base = np.array(told["intervals"][0]["planned"])
    p[1:, 0, bus] += points[:, 0] - base[0]
    q[1:, 0, bus] += points[:, 1] - base[1]
    assert network.violations(network.flow(s.grid.part(t, t + 1), p, q), [str(k) for k in range(61)]) == []


def test_an_element_is_answered_by_the_assets_that_act_on_it(secured: Secured) -> None:
    """Line 18 is protected by a congestion point; its relief per MW is what a flow with one MW more says."""
    _, s, run = secured
    told = answer(s, run.schedule, Place(element="line 18"), AT, QUARTER)
    assert {"mill-1", "cooling", "battery-plastics"} <= set(told["assets"])
    assert told["effect"]["element"] == "line 18" and told["effect"]["buses"] == [93, 98, 101, 104, 106]
    t, flow = s.grid.index_of(AT), plan_flow(s, run.schedule)
    assert flow is not None and s.grid_side is not None
    network, e = s.grid_side.network, s.grid_side.network.elements.index("line 18")
    p = flow.p_mw[:1, t : t + 1].copy()
    p[0, 0, network.buses.index(98)] += 0.5
    moved = network.flow(s.grid.part(t, t + 1), p, flow.q_mvar[:1, t : t + 1], flow.taps[:1, t : t + 1])
    change = (moved.loading_pct[0, 0, e] - flow.loading_pct[0, t, e]) / 0.5
    assert told["intervals"][0]["effect_pct_per_mw"][1] == pytest.approx(change, rel=0.05)
    assert abs(change) > 5.0


def test_an_element_that_no_point_protects_names_those_with_a_tenth_of_the_greatest_effect(secured: Secured) -> None:
    _, s, run = secured
    flow, t = plan_flow(s, run.schedule), s.grid.index_of(AT)
    assert flow is not None and s.grid_side is not None
    told = answer(s, run.schedule, Place(element="17"), AT, QUARTER)
    buses = sorted({a.bus for a in s.portfolio.assets if a.bus is not None and a.control != "none"})
    effect = np.abs(effects(s.grid_side.network, flow, buses, "line 17", [t])[0])
    acting = {b for b, v in zip(buses, effect, strict=True) if v >= 0.1 * effect.max()}
    assert {s.portfolio.asset(a).bus for a in told["assets"]} == acting


def test_an_order_and_a_notice_bind_and_the_plan_stays_inside(secured: Secured) -> None:
    _, s, run = secured
    t, n = s.grid.index_of(AT), s.grid.n
    ordered = replace(s, limits={"battery-cold-store": (np.full(n, -0.1), np.full(n, 0.2))})
    asked = Asked(ordered, run.schedule, ("chambers", "battery-cold-store"), t, t + 2)
    found = reach_of(asked).ranges[("battery-cold-store",)]
    planned = run.schedule.power_of("battery-cold-store")[t : t + 2]
    assert (found.high_mw <= np.maximum(0.2, planned) + 1e-9).all()
    late = replace(s, now=s.grid.starts[t + 1] - timedelta(minutes=15))
    chambers = reach_of(replace(asked, s=late)).ranges[("chambers",)]
    assert chambers.low_mw[0] == chambers.high_mw[0] and chambers.low_mw[1] < chambers.high_mw[1]
    later = replace(s, now=s.grid.starts[t + 4])
    assert reach_of(replace(asked, s=later)).held["chambers"] == NOTICE


def test_what_is_held_as_reserve_is_not_offered_again(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> None:
    _, s, run = secured
    t, n, name = s.grid.index_of(AT), s.grid.n, "battery-glass"
    rated, held = np.full(n, 1.5), Claim("r up", "r", ("battery-glass",), np.full(n, 1.2))
    book = Ledger(s.grid, {name: -rated}, {name: rated}, (held,))
    monkeypatch.setattr("vpp.service.node_flexibility.ledger_of", lambda _: book)
    selling = replace(s, contracts=(Contract("reserve", None, (name,)),))
    found = reach_of(Asked(selling, run.schedule, (name,), t, t + 4)).ranges[(name,)]
    planned = run.schedule.power_of(name)[t : t + 4]
    assert (found.high_mw <= np.maximum(0.3, planned) + 1e-6).all()
    free = reach_of(Asked(s, run.schedule, (name,), t, t + 4)).ranges[(name,)]
    assert free.high_mw.max() > 1.0 and (free.low_mw == pytest.approx(found.low_mw))


class Stricter(ThreeBusNet):
    """A net whose reference engine knows lines of less than their rating."""

    strict: float = 0.9

    def verdict(self, flow: Flow, case: int = 0) -> Flow:
        told = super().verdict(flow, case)
        return replace(told, loading_pct=told.loading_pct / self.strict)


@pytest.mark.parametrize(("strict", "lost"), [(0.999, False), (0.9, True)])
def test_a_corner_that_the_reference_engine_refuses_is_drawn_in(strict: float, lost: bool) -> None:
    net = Stricter()
    object.__setattr__(net, "strict", strict)
    grid = TimeGrid.uniform(AT, QUARTER, 1)
    given = Around(net, grid, np.zeros((1, 3)), np.zeros((1, 3)))
    spot = Spot((Cell(2, segment(-4.0, 4.0, 0.0), np.zeros(2)),))
    before = regions(given, [spot], 4)
    after, dropped = judged(given, [spot], list(before))
    assert before[0].bounds(0)[1] > 0.99
    if lost:
        assert dropped == 0 and after[0].bounds(0) == pytest.approx((-0.9, 0.9), abs=0.01)
    else:
        assert dropped == 0 and 0.98 < after[0].bounds(0)[1] <= strict * 1.0 + 1e-5


def test_what_a_plan_does_not_decide_is_held(secured: Secured) -> None:
    _, s, run = secured
    given = replace(s, given_mw={"chambers": run.schedule.power_of("chambers")})
    found = reach_of(Asked(given, run.schedule, ("chambers",), 100, 101))
    assert found.held == {"chambers": ORDERED}
    assert found.ranges[("chambers",)].low_mw == found.ranges[("chambers",)].high_mw


def test_an_inverter_is_rated_by_its_entry_or_its_kind(secured: Secured) -> None:
    portfolio = secured[1].portfolio
    rated = {a: rating_mva(portfolio.asset(a)) for a in ("battery-glass", "pv-83", "chambers")}
    assert rated == {"battery-glass": 1.65, "pv-83": 1.05, "chambers": 0.0}


def test_price_takers_are_random_and_batteries_are_not(secured: Secured) -> None:
    """Nine times in ten a price-taker of 15 % gives 1 - 1.2816 * 0.15 of what it is asked for."""
    _, s, run = secured
    t = s.grid.index_of(AT)
    asked = Asked(s, run.schedule, ("melting",), t, t + 1)
    reach = reach_of(asked)
    region = node_region(s, run.schedule, 64, t)
    one = reach.ranges[("melting",)]
    base = float(run.schedule.power_of("melting")[t])
    ends = np.array([[one.low_mw[0], 0.0], [one.high_mw[0], 0.0]])
    alone = replace(region, corners=ends, planned=np.array([base, 0.0]))
    found = random_response(asked, reach, alone, 0)
    assert found["p90_mw"] == pytest.approx((1.0 - 1.2816 * 0.15) * found["p50_mw"]) and found["p50_mw"] > 0.01
    sure = Asked(s, run.schedule, ("battery-glass",), t, t + 1)
    likely = random_response(sure, reach_of(sure), region, 0)
    assert likely["p90_mw"] == pytest.approx(likely["p50_mw"])


def test_machines_that_run_whole_are_told_apart_from_the_polygon(secured: Secured) -> None:
    """The polygon keeps the mills on and off as planned; a start or a stop is whole mills, and says what it breaks."""
    _, s, run = secured
    mills, watts = ("mill-1", "mill-2", "mill-3"), (1.2, 1.5, 1.8)
    on = np.abs(np.sum([run.schedule.power_of(m) for m in mills], axis=0))
    t = int(np.flatnonzero((on > 1.0) & (on < 4.0))[-1])
    asked = Asked(s, run.schedule, mills, t, t + 1)
    reach = reach_of(asked)
    assert all(r.low_mw[0] == pytest.approx(r.high_mw[0], abs=1e-3) for r in reach.ranges.values())
    found = switching_of(asked, reach, plan_flow(s, run.schedule))
    assert found and all(tuple(sorted(r["assets"])) == mills for r in found)
    sums = {round(sum(w for w, k in zip(watts, bits, strict=True) if k), 6) for bits in np.ndindex(2, 2, 2)}
    for row in found:
        end = on[t] - row["mw"] if row["side"] == "up" else on[t] + row["mw"]
        assert round(float(end), 3) in {round(x, 3) for x in sums}
        assert row["violated"] == [] or row["side"] == "down"
    assert switching_of(replace(asked, assets=("battery-glass",)), reach_of(replace(asked, assets=("battery-glass",))),
                        None) == []  # fmt: skip


def test_the_limit_of_a_connection_bounds_regions_and_what_is_held(secured: Secured) -> None:
    """Behind a connection that exports no more than planned, a battery gives only what the load beside it leaves."""
    _, s, run = secured
    members = ("chambers", "battery-cold-store")
    planned = float(np.sum([run.schedule.power_of(m) for m in members], axis=0)[s.grid.index_of(AT)])
    limit = connection_limit.Terms(id="cold", of={"assets": list(members)}, export_mw=0.05, import_mw=5.0)
    free = answer(s, run.schedule, Place(bus="93"), AT, HOUR)
    bound = answer(replace(s, contracts=(Contract("connection_limit", limit, members),)), run.schedule,
                   Place(bus="93"), AT, HOUR)  # fmt: skip
    assert free["intervals"][0]["p_max_mw"] > 0.2
    assert bound["intervals"][0]["p_max_mw"] == pytest.approx(max(0.05, planned), abs=2e-3)
    assert bound["sustain_mwh"][0]["up_mw"] == pytest.approx(max(0.05, planned) - planned, abs=2e-3)


def test_the_envelope_of_a_site_is_that_of_its_assets(secured: Secured) -> None:
    _, s, run = secured
    told = answer(s, run.schedule, Place(site="plastics-works"), AT, QUARTER)
    assert told["assets"] == ["extruders", "battery-plastics"] and told["sites"] == 1
    bus = node_region(s, run.schedule, 104, s.grid.index_of(AT))
    assert (told["intervals"][0]["p_min_mw"], told["intervals"][0]["p_max_mw"]) == pytest.approx(bus.bounds(0))


def test_cells_are_buses_and_without_a_network_nothing_is_certified(secured: Secured) -> None:
    _, s, run = secured
    t = s.grid.index_of(AT)
    asked = Asked(s, run.schedule, ("chambers", "battery-cold-store", "cooling"), t, t + 1)
    assert len(spots_of(asked, reach_of(asked))[0].cells) == 2
    told = answer(replace(s, grid_side=None), run.schedule, Place(point="feeder-9"), AT, QUARTER)
    assert told["certificate"] is None and told["effect"] is None
    assert set(told["intervals"][0]["binding"].values()) == {ASSETS}


def test_every_fault_of_a_question_is_listed_at_once(secured: Secured) -> None:
    _, s, run = secured
    place = Place(bus="7777", element="line 9999", point="nowhere", site="nobody")
    with pytest.raises(InputFaults) as wrong:
        answer(s, run.schedule, place, s.grid.end, timedelta(minutes=20))
    assert [f.field for f in wrong.value.faults] == ["bus", "bus", "element", "point", "site", "horizon", "at"]
    with pytest.raises(InputFaults, match="the window ends after the plan"):
        answer(s, run.schedule, Place(bus="93"), s.grid.end - QUARTER, HOUR)


def test_every_fault_of_form_is_listed_at_once() -> None:
    with pytest.raises(InputFaults) as wrong:
        question(Place("93", "line 18"), "2016-07-12T17:30:00", "4 hours")
    assert [f.field for f in wrong.value.faults] == ["bus", "at", "horizon"]
    place, at, horizon = question(Place("93"), "2016-07-12T17:30:00+02:00", "PT4H")
    assert (place, at, horizon) == (Place(bus="93"), AT, timedelta(hours=4))
    assert isinstance(at, datetime) and rfc3339(at) == "2016-07-12T15:30:00Z"


def test_names_of_buses_and_elements() -> None:
    names = {"MV4.101 Bus 85": "bus 93", "MV4.101 Line 19": "line 18"}
    found = [bus_number(n, names) for n in ("93", "bus 93", "MV4.101 Bus 85", "Bus", "-1", "9" * 12, "MV4.101 Line 19")]
    assert found == [93, 93, 93, None, None, None, None]
    known = ("line 18", "trafo 0")
    elements = [element_name(n, known, names) for n in ("18", "line 18", "trafo 0", "0", "MV4.101 Line 19", "x")]
    assert elements == ["line 18", "line 18", "trafo 0", None, "line 18", None]


def test_a_bus_may_be_called_as_the_network_s_source_does(secured: Secured) -> None:
    _, s, run = secured
    assert s.grid_side is not None
    name = next(n for n, number in source_names(s.grid_side.network).items() if number == "bus 93")
    told = answer(s, run.schedule, Place(bus=name), AT, QUARTER)
    assert told["assets"] == ["chambers", "battery-cold-store"] and told["place"] == {"bus": name}


def test_a_grid_desk_sees_names_only_where_all_sites_may_be_shown() -> None:
    def portfolio(*single: bool) -> Portfolio:
        sites = tuple(Site(f"s{i}", "", show) for i, show in enumerate(single))
        asset: Any = type("A", (), {})
        assets = []
        for i in range(len(single)):
            one = asset()
            one.id, one.site, one.bus = f"a{i}", f"s{i}", i
            assets.append(one)
        return Portfolio("p", "", "UTC", "EUR", sites, (), tuple(assets), ())

    told = {"assets": ["a0", "a1"], "held_to_plan": {"a0": "why"}, "merit": [[1.0, 2.0]], "switching": [1],
            "rebound": {"up": {"mw_by_bus": {"0": [1.0, 2.0], "1": [0.5, 0.5]}}, "unknown": "why"},
            "opposite": [{"unit": "u", "sites": 2}, {"unit": "v", "sites": 3}]}  # fmt: skip
    assert without_names(told, portfolio(True, True))["assets"] == ["a0", "a1"]
    hidden = without_names(told, portfolio(True, False))
    assert (hidden["assets"], hidden["held_to_plan"], hidden["merit"]) == ([], {}, [[1.0, 2.0]])
    assert hidden["switching"] == []
    assert hidden["rebound"]["up"]["mw_by_bus"] == {"all": [1.5, 2.5]} and hidden["rebound"]["unknown"] == "why"
    assert [u["unit"] for u in hidden["opposite"]] == ["v"]
