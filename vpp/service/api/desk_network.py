"""What a grid desk reads of the network beside loading and voltage: outages ranked, and the headroom of every bus.

Headroom is the hosting capacity beside the plan in one step: MW more load, at the power factor of `HOSTED_TAN_PHI`, and
more generation at one bus alone, all else as planned. Both are kept by run, so that looking again costs nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from dispatch.hosting import hosting_mw
from dispatch.pq_region import Around
from vpp.domain.errors import Fault, InputFaults, NotFound
from vpp.domain.network import Flow, Network, RankedNetwork
from vpp.domain.schedule import DispatchRun
from vpp.domain.time import Array, rfc3339, utc
from vpp.service.api import jobs
from vpp.service.api.access import DeskDep
from vpp.service.api.context import Api, ApiDep
from vpp.service.api.network_view import keep, plan_flow
from vpp.service.api.outages import RankedOutage, outage_json, ranked
from vpp.service.api.problems import answers
from vpp.service.moments import Moment
from vpp.service.node_flexibility import HOSTED_MW, HOSTED_TAN_PHI

router = APIRouter(prefix="/v1/desk", tags=["grid desk"])


def ranked_outages(api: Api, run: DispatchRun, flow: Flow) -> tuple[RankedOutage, ...]:
    """The outages of a run's plan, worst first. Raises NotFound for a network that cannot try them."""
    network = api.system.network
    if network is None or not isinstance(network, RankedNetwork):
        raise NotFound("network model that tries outages")
    with api.ranking:
        if run.id not in api.outages:
            keep(api.outages, run.id, ranked(network, flow))
        return api.outages[run.id]


def headroom_mw(api: Api, run: DispatchRun, flow: Flow, step: int) -> Array:
    """(B, 2) MW more load and more generation at each bus of the network; 0 where the plan itself breaks a limit."""
    network = api.system.network
    if network is None:
        raise NotFound("network model")
    with api.probing:
        if (run.id, step) not in api.headroom:
            taps = flow.taps[0, step - 1] if step else network.taps
            span = slice(step, step + 1)
            around = Around(
                network.starting_at([int(k) for k in taps]), flow.grid.part(step, step + 1), flow.p_mw[0, span],
                flow.q_mvar[0, span],
            )  # fmt: skip
            found = hosting_mw(around, range(len(network.buses)), HOSTED_MW, HOSTED_TAN_PHI)
            keep(api.headroom, (run.id, step), found[:, :, 0])
        return api.headroom[run.id, step]


def _looked_at(api: Api) -> tuple[Network, DispatchRun, Flow]:
    """Network, plan in force and its flow. Raises NotFound where one is missing."""
    network, run = api.system.network, api.current()
    flow = plan_flow(api, run) if run is not None and network is not None else None
    if network is None or run is None or flow is None:
        missing = "network model" if network is None else "released plan" if run is None else "forecast of the plan"
        raise NotFound(missing)
    return network, run, flow


@router.get("/contingencies", status_code=202, summary="Outages under the plan, worst first",
            response_model=jobs.Accepted, responses=answers(401, 403, 404))  # fmt: skip
def contingencies(api: ApiDep, who: DeskDep) -> Any:
    """The job's result has every element that carries current out alone at every step of the plan in force, with what
    is worst after it, and the open point to close where load is cut off. Limits are emergency ratings.
    """
    _, run, flow = _looked_at(api)

    def work() -> dict[str, Any]:
        rows = ranked_outages(api, run, flow)
        return {"run": run.id, "outages": [outage_json(row, flow.grid.starts) for row in rows]}

    return jobs.start(api, "contingencies", who, {"run": run.id}, work)


@router.get("/headroom", summary="Headroom of every bus", responses=answers(401, 403, 404, 422))
def headroom(
    api: ApiDep, _: DeskDep, at: Annotated[Moment, Query(description="a moment of the plan in force")]
) -> dict[str, Any]:
    """MW more load and generation that each bus alone takes beside the plan in the step that holds `at`."""
    network, run, flow = _looked_at(api)
    step = _step(flow, at)
    found = headroom_mw(api, run, flow, step)
    return {
        "run": run.id, "at": rfc3339(flow.grid.starts[step]), "most_mw": HOSTED_MW,
        "buses": [
            {"number": bus, "load_mw": float(load), "generation_mw": float(generation)}
            for bus, (load, generation) in zip(network.buses, found, strict=True)
        ],
    }  # fmt: skip


def _step(flow: Flow, at: datetime) -> int:
    grid = flow.grid
    if not grid.start <= utc(at) < grid.end:
        span = f"{rfc3339(grid.start)} to {rfc3339(grid.end)}"
        raise InputFaults([Fault("request", "at", f"{rfc3339(at)} is outside the plan, {span}")])
    return grid.index_of(utc(at))
