"""The API on a real SQLite record: who may ask what, how errors read, runs and their release."""

import threading
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient

from tests.service.api_world import NOW, World, made_run, world
from vpp.domain.network import Certificate, Violation
from vpp.domain.time import QUARTER, rfc3339
from vpp.service.api.app import create_app

pytestmark = pytest.mark.usefixtures("world")
__all__ = ["world"]

OPERATOR_PATHS = [
    ("GET", "/v1/runs"), ("GET", "/v1/runs/r1"), ("GET", "/v1/runs/r2/difference"), ("GET", "/v1/runs/r2/explain"),
    ("POST", "/v1/runs/r2/release"),
    ("POST", "/v1/runs"), ("GET", "/v1/schedule"), ("GET", "/v1/overrides"), ("POST", "/v1/overrides"),
    ("DELETE", "/v1/overrides/x"), ("GET", "/v1/alarms"), ("POST", "/v1/alarms/1/ack"), ("GET", "/v1/commands"),
    ("GET", "/v1/positions"), ("GET", "/v1/bids"), ("GET", "/v1/forecasts"), ("GET", "/v1/forecasts/steel"),
    ("GET", "/v1/forecasts/scores"), ("GET", "/v1/forecasts/models"),
    ("GET", "/v1/assets"), ("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/x"), ("GET", "/v1/events"),
    ("GET", "/v1/events/dr-1"),
]  # fmt: skip
SITE_PATHS = [
    ("GET", "/v1/site/assets"), ("GET", "/v1/site/events"), ("GET", "/v1/site/events/dr-1"),
    ("POST", "/v1/site/events/dr-1/acceptance"), ("POST", "/v1/site/events/dr-1/withdrawal"),
    ("GET", "/v1/site/events/dr-1/statement"), ("POST", "/v1/site/events/dr-1/dispute"),
    ("POST", "/v1/site/unavailability"), ("GET", "/v1/site/unavailability"), ("DELETE", "/v1/site/unavailability/x"),
]  # fmt: skip
DESK_PATHS = [
    ("GET", "/v1/desk/events"), ("POST", "/v1/desk/events"), ("GET", "/v1/desk/events/dr-1"),
    ("POST", "/v1/desk/events/dr-1/order"), ("GET", "/v1/desk/flexibility"), ("GET", "/v1/desk/network"),
    ("GET", "/v1/desk/contingencies"), ("GET", "/v1/desk/headroom"),
    ("GET", "/v1/jobs/x"),
]  # fmt: skip
ISSUER_PATHS = [("GET", "/v1/limits"), ("POST", "/v1/limits")]
MAY = {
    "operator": [*OPERATOR_PATHS, *DESK_PATHS, ("GET", "/v1/limits")],
    "site": SITE_PATHS, "desk": DESK_PATHS, "issuer": ISSUER_PATHS,
}  # fmt: skip
PATHS = OPERATOR_PATHS + SITE_PATHS + DESK_PATHS + ISSUER_PATHS


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_each_path_answers_its_roles_and_nobody_else(world: World, method: str, path: str) -> None:
    anybody = world.client.request(method, path)
    assert anybody.status_code == 401
    assert anybody.headers["content-type"] == "application/problem+json"
    tokens = {"operator": world.operator, "site": world.data_centre, "desk": world.desk, "issuer": world.issuer}
    for role, token in tokens.items():
        status = world.ask(token, method, path).status_code
        assert (status == 403) != ((method, path) in MAY[role]), (role, status)
        assert status != 401


def test_the_matrix_above_names_every_path_of_the_api(world: World) -> None:
    said = {(m.upper(), p) for p, item in world.client.get("/openapi.json").json()["paths"].items() for m in item}
    shapes = {(m, p.split("?")[0]) for m, p in PATHS}
    named = {"r1", "r2", "x", "1", "dr-1", "steel"}
    matched = {(m, "/".join("{}" if part in named else part for part in p.split("/"))) for m, p in shapes}
    generic = {(m, "/".join("{}" if part.startswith("{") else part for part in p.split("/"))) for m, p in said}
    open_to_all = {("GET", "/healthz"), ("POST", "/v1/session"), ("GET", "/v1/session"), ("DELETE", "/v1/session")}
    assert generic - open_to_all == matched


def test_a_job_that_a_restart_cut_off_is_failed_and_says_so(world: World) -> None:
    job = world.store.jobs.create("run", {"role": "operator"})
    world.store.jobs.update(job, "running", 0.3)
    assert world.ask(world.operator, "GET", f"/v1/jobs/{job}").json()["status"] == "running"
    create_app(world.system, lambda: world.now, world.lock)
    found = world.ask(world.operator, "GET", f"/v1/jobs/{job}").json()
    assert (found["status"], found["error"]) == ("failed", "interrupted by a restart")


def test_health_needs_no_key_and_tells_the_simulated_clock(world: World) -> None:
    assert world.client.get("/healthz").json() == {"status": "ok", "portfolio": "demo", "now": rfc3339(NOW)}


def test_wrong_and_revoked_keys_are_refused(world: World) -> None:
    assert world.ask("nonsense", "GET", "/v1/runs").status_code == 401
    made = world.ask(world.operator, "POST", "/v1/keys", json={"role": "operator"}).json()
    assert world.ask(made["token"], "GET", "/v1/runs").status_code == 200
    assert world.ask(world.operator, "DELETE", f"/v1/keys/{made['id']}").status_code == 204
    assert world.ask(made["token"], "GET", "/v1/runs").status_code == 401


def test_a_key_cannot_revoke_itself(world: World) -> None:
    own = world.operator.partition(".")[0]
    assert world.ask(world.operator, "DELETE", f"/v1/keys/{own}").status_code == 409
    assert world.ask(world.operator, "GET", "/v1/keys").status_code == 200


def test_no_answer_shows_a_secret_again(world: World) -> None:
    made = world.ask(world.operator, "POST", "/v1/keys", json={"role": "site", "site": "glass-works"}).json()
    listed = world.ask(world.operator, "GET", "/v1/keys").text
    assert made["id"] in listed
    assert made["token"].partition(".")[2] not in listed


def test_every_fault_is_listed_at_once(world: World) -> None:
    body = {"asset": 3, "lower_mw": "low", "upper_mw": 0.1, "colour": "red", "reason": " "}
    answer = world.ask(world.operator, "POST", "/v1/overrides", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {f["field"] for f in problem["faults"]} == {"asset", "lower_mw", "colour", "reason", "expires_at"}
    assert {f["where"] for f in problem["faults"]} == {"body"}
    assert (problem["status"], problem["detail"]) == (422, "5 faults")


def test_not_a_number_is_refused(world: World) -> None:
    text = '{"asset": "battery-glass", "lower_mw": NaN, "upper_mw": Infinity, "reason": "r"}'
    headers = {"Authorization": f"Bearer {world.operator}", "content-type": "application/json"}
    answer = world.client.post("/v1/overrides", content=text, headers=headers)
    assert answer.status_code == 422
    assert {"lower_mw", "upper_mw", "expires_at"} == {f["field"] for f in answer.json()["faults"]}


def test_faults_of_meaning_are_listed_together_too(world: World) -> None:
    answer = world.override(asset="nobody", lower_mw=0.5, upper_mw=-0.5, expires_at=rfc3339(NOW - QUARTER))
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"asset", "lower_mw", "expires_at"}


def test_faults_of_form_and_meaning_are_listed_together(world: World) -> None:
    wrong = {"asset": "nobody", "lower_mw": 0.5, "upper_mw": -0.5, "expires_at": rfc3339(NOW - QUARTER)}
    answer = world.override(**wrong, reason=" ", colour="red")
    assert answer.status_code == 422
    assert {f["field"] for f in answer.json()["faults"]} == {"asset", "lower_mw", "expires_at", "reason", "colour"}
    assert answer.json()["detail"] == "5 faults"
    assert world.store.events.active_proposals(NOW) == []


@pytest.mark.parametrize("start", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "9999-12-31T00:00:00Z"])
def test_times_outside_the_calendar_are_faults(world: World, start: str) -> None:
    answers = [
        world.override(start=start),
        world.override(expires_at=start),
        world.ask(world.operator, "GET", "/v1/positions", params={"start": start}),
        world.ask(world.operator, "GET", "/v1/bids", params={"end": start}),
        world.ask(world.desk, "GET", "/v1/desk/flexibility", params={"bus": 98, "at": start}),
        world.ask(world.glass_works, "POST", "/v1/site/unavailability", json={
            "asset": "battery-glass", "start": start, "end": start, "reason": "r"}),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert "must lie in the years 1970 to 2199" in answer.text


def test_numbers_too_large_for_the_record_are_faults(world: World) -> None:
    answer = world.ask(world.operator, "POST", "/v1/alarms/99999999999999999999999/ack")
    assert (answer.status_code, answer.json()["faults"][0]["field"]) == (422, "number")
    assert world.override(lower_mw=-1e308).json()["faults"][0]["field"] == "lower_mw"


def test_an_override_that_would_not_be_listed_is_refused(world: World) -> None:
    late = {"start": rfc3339(NOW + timedelta(days=366)), "expires_at": rfc3339(NOW + timedelta(days=367))}
    faults = world.override(**late).json()["faults"]
    assert [(f["field"], f["reason"]) for f in faults] == [("start", "is more than 366 days ahead")]
    near = world.override(start=rfc3339(NOW + timedelta(days=365)), expires_at=rfc3339(NOW + timedelta(days=367)))
    assert [o["id"] for o in world.ask(world.operator, "GET", "/v1/overrides").json()] == [near.json()["id"]]
    assert world.ask(world.operator, "DELETE", f"/v1/overrides/{near.json()['id']}").status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("PUT", "/v1/overrides", "GET, POST"), ("PATCH", "/v1/runs/r1", "GET"), ("DELETE", "/v1/alarms/1/ack", "POST")],
)
def test_a_known_path_asked_in_another_way_is_a_405_problem(
    world: World, method: str, path: str, allowed: str
) -> None:
    answer = world.ask(world.operator, method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_failure_of_ours_is_a_problem_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(world.store.alarms, "list", fails)
    client = TestClient(world.app, raise_server_exceptions=False)
    answer = client.get("/v1/alarms", headers={"Authorization": f"Bearer {world.operator}"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["detail"] == "internal error: ZeroDivisionError"


@pytest.mark.parametrize("path", ["/v1/runs/none", "/v1/nothing", "/v1/jobs/none", "/v1/forecasts/none"])
def test_what_does_not_exist_is_a_404_problem(world: World, path: str) -> None:
    answer = world.ask(world.operator, "GET", path)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_runs_are_listed_newest_first_by_stage(world: World) -> None:
    world.store.runs.record(made_run(world.system, "d1", stage="day_ahead", purpose="plan"), [])
    assert [r["id"] for r in world.ask(world.operator, "GET", "/v1/runs").json()] == ["d1", "r2", "r1"]
    rows = world.ask(world.operator, "GET", "/v1/runs?stage=intraday&limit=1").json()
    assert [(r["id"], r["released"], r["verdict"]) for r in rows] == [("r2", False, "clean")]
    assert world.ask(world.operator, "GET", "/v1/runs?limit=0").status_code == 422


def test_a_run_reads_back_with_schedule_costs_and_certificate(world: World) -> None:
    run = world.ask(world.operator, "GET", "/v1/runs/r1").json()
    assert run["costs"] == {"energy": 12.5}
    assert run["certificate"]["verdict"] == "clean"
    assert len(run["schedule"]["times"]) == 24
    assert run["schedule"]["power_mw"]["battery-glass"] == [0.1] * 24


def test_the_difference_puts_the_biggest_change_first(world: World) -> None:
    found = world.ask(world.operator, "GET", "/v1/runs/r2/difference").json()
    assert found["previous"] == "r1"
    first, second = found["biggest"][:2]
    assert (first["asset"], first["before_mw"], first["after_mw"]) == ("battery-glass", 0.1, pytest.approx(0.4))
    assert first["time"] == rfc3339(NOW + 3 * QUARTER)
    assert second["asset"] == "mill-2" and second["change_mw"] == pytest.approx(-0.2)
    assert found["change_mw"]["battery-glass"][-1] is None, "the previous plan ended a quarter earlier"
    assert world.ask(world.operator, "GET", "/v1/runs/r1/difference").status_code == 404


def test_release_makes_a_plan_the_one_in_force_once(world: World) -> None:
    assert world.ask(world.operator, "GET", "/v1/schedule").json()["run"] == "r1"
    done = world.ask(world.operator, "POST", "/v1/runs/r2/release")
    assert done.status_code == 200
    assert done.json()["released_by"] == world.operator.partition(".")[0]
    assert world.ask(world.operator, "GET", "/v1/schedule").json()["run"] == "r2"
    assert world.ask(world.operator, "POST", "/v1/runs/r2/release").status_code == 409


def test_a_plan_that_is_replaced_or_over_is_not_released(world: World) -> None:
    newer = made_run(world.system, "r3", at=NOW + QUARTER)
    world.store.runs.record(newer, [])
    assert "newer" in world.ask(world.operator, "POST", "/v1/runs/r2/release").json()["detail"]
    late = made_run(world.system, "r4", at=NOW + 2 * QUARTER, released=False)
    world.store.runs.record(late, [])
    world.now = NOW + timedelta(days=1)
    assert "ended" in world.ask(world.operator, "POST", "/v1/runs/r4/release").json()["detail"]


def test_a_violated_plan_is_released_only_on_purpose(world: World) -> None:
    worst = Violation("line 18", 3, 104.0, 100.0, "%")
    bad = Certificate("violated", "test", 0, 0.0, worst, {}, (worst,))
    world.store.runs.record(made_run(world.system, "bad", certificate=bad, released=False), [])
    assert world.ask(world.operator, "POST", "/v1/runs/bad/release").status_code == 409
    meant = world.ask(world.operator, "POST", "/v1/runs/bad/release", json={"accept_violations": True})
    assert meant.status_code == 200


def test_a_requested_run_is_a_job_that_records_an_unreleased_plan(world: World) -> None:
    answer = world.ask(world.operator, "POST", "/v1/runs", json={"stage": "intraday"})
    assert answer.status_code == 202
    job = world.finished(world.operator, answer.json()["poll"])
    assert (job["status"], job["error"]) == ("done", None)
    run = world.ask(world.operator, "GET", f"/v1/runs/{job['result']['run']}").json()
    assert (run["stage"], run["level"], run["released"]) == ("intraday", "optimal", False)
    assert world.ask(world.operator, "GET", "/v1/schedule").json()["run"] == "r1"
    again = world.ask(world.operator, "POST", "/v1/runs", json={"stage": "intraday"})
    assert again.status_code == 409
    source = world.ask(world.operator, "GET", "/v1/forecasts").json()["source"]
    assert source["steel"] == "naive"
    steel = world.ask(world.operator, "GET", "/v1/forecasts/steel").json()
    assert set(steel["quantiles"]) >= {"0.05", "0.5", "0.95"}


def test_a_desk_does_not_see_the_operators_jobs(world: World) -> None:
    job = world.store.jobs.create("run", {"role": "operator"})
    assert world.ask(world.desk, "GET", f"/v1/jobs/{job}").status_code == 404
    assert world.ask(world.operator, "GET", f"/v1/jobs/{job}").status_code == 200


def test_an_override_narrows_until_it_expires(world: World) -> None:
    made = world.override()
    assert made.status_code == 201
    listed = world.ask(world.operator, "GET", "/v1/overrides").json()
    assert [(o["asset"], o["upper_mw"], o["priority"]) for o in listed] == [("battery-glass", 0.2, "operator")]
    assert [p.asset_id for p in world.store.events.active_proposals(NOW)] == ["battery-glass"]
    world.now = NOW + 4 * QUARTER
    assert world.ask(world.operator, "GET", "/v1/overrides").json() == []
    assert world.store.events.active_proposals(world.now) == []


def test_an_override_ends_when_deleted_and_only_an_override_is(world: World) -> None:
    override = world.override().json()["id"]
    assert world.ask(world.operator, "DELETE", f"/v1/overrides/{override}").status_code == 204
    assert world.store.events.active_proposals(NOW) == []
    body = {"asset": "cooling", "start": rfc3339(NOW), "end": rfc3339(NOW + QUARTER), "reason": "r"}
    assert world.ask(world.data_centre, "POST", "/v1/site/unavailability", json=body).status_code == 422
    assert world.ask(world.operator, "DELETE", f"/v1/overrides/{override}").status_code == 404


@pytest.mark.parametrize("change", [{"asset": "finishing-shop"}, {"lower_mw": 50.0, "upper_mw": 60.0}])
def test_an_override_outside_what_the_asset_can_do_is_refused(world: World, change: dict[str, object]) -> None:
    assert world.override(**change).status_code == 422


def test_alarms_are_acknowledged_by_name(world: World) -> None:
    number = world.store.alarms.raise_("ladder", "fell", NOW)
    assert [a["number"] for a in world.ask(world.operator, "GET", "/v1/alarms").json()] == [number]
    assert world.ask(world.operator, "POST", f"/v1/alarms/{number}/ack").status_code == 204
    assert world.ask(world.operator, "GET", "/v1/alarms").json() == []
    kept = world.ask(world.operator, "GET", "/v1/alarms?open_only=false").json()
    assert kept[0]["acked_by"] == world.operator.partition(".")[0]
    assert world.ask(world.operator, "POST", f"/v1/alarms/{number}/ack").status_code == 404


def test_assets_come_with_states_and_commands_with_counts(world: World) -> None:
    assets = world.ask(world.operator, "GET", "/v1/assets").json()
    assert [a["id"] for a in assets] == [a.id for a in world.system.portfolio.assets]
    mill = next(a for a in assets if a["id"] == "mill-2")
    assert (mill["power_mw"], mill["reach_mw"], mill["notice_minutes"]) == (-1.5, [-1.5, 0.0], 30)
    assert mill["store_mwh"] == pytest.approx(700 * 0.036 / 3)
    assert world.ask(world.operator, "GET", "/v1/commands").json()["counts"]["sent"] == 0


def test_the_session_of_the_page_serves_the_api(world: World) -> None:
    browser = TestClient(world.app)
    assert browser.get("/v1/session").status_code == 401
    assert browser.post("/v1/session", json={"token": "wrong"}).status_code == 401
    signed = browser.post("/v1/session", json={"token": world.operator})
    assert signed.status_code == 201
    assert world.operator.partition(".")[2] not in str(signed.headers)
    assert browser.get("/v1/runs").status_code == 200
    world.store.access.revoke(world.operator.partition(".")[0])
    assert browser.get("/v1/runs").status_code == 401


@pytest.mark.parametrize("path", ["/v1/assets", "/v1/forecasts"])
def test_what_is_read_beside_the_record_waits_for_the_loop(world: World, path: str) -> None:
    world.system.last_forecast = None
    done = threading.Event()

    def ask() -> None:
        world.ask(world.operator, "GET", path)
        done.set()

    with world.lock:
        threading.Thread(target=ask, daemon=True).start()
        assert not done.wait(0.5)
    assert done.wait(10.0)


def test_every_operation_is_documented(world: World) -> None:
    paths = world.client.get("/openapi.json").json()["paths"]
    operations = [(p, m, o) for p, item in paths.items() for m, o in item.items()]
    assert all(o.get("summary") for _, _, o in operations)
    without = [(p, m) for p, m, o in operations if "401" not in o["responses"] and p.startswith("/v1/")]
    assert without == [("/v1/session", "delete")]
