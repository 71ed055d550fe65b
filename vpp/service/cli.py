"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once.

Matrices here are small: one BLAS thread is faster than several, so that is the default.

Exit codes: 0 done, 1 a check or a run found violations, 2 bad input (every fault listed).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vpp.service.cli_options import (
    DatabaseOption,
    DeadlineOption,
    HostOption,
    JsonOption,
    PortfolioOption,
    PortOption,
    day_of,
    moment_of,
    to_report,
)

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if TYPE_CHECKING:
    from rich.console import Console

    from vpp.service.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Open virtual power plant: forecast, bid, commit, check by AC power flow, command, settle.",
    epilog="Examples: vpp plan --portfolio config/demo --day 2016-07-12 --json plan.json | "
    "vpp check plan.json --portfolio config/demo | "
    "vpp simulate --portfolio config/demo --start 2016-07-12 --days 1 --json out.json",
)


DEMO = Path("config/demo")


def main() -> None:
    """Entry point: bad input ends with exit code 2 and all its faults on stderr."""
    from vpp.domain.errors import InputFaults, VppError

    try:
        app(standalone_mode=True)
    except InputFaults as wrong:
        for fault in wrong.faults:
            typer.echo(str(fault), err=True)
        raise SystemExit(2) from None
    except VppError as wrong:
        typer.echo(f"vpp: {wrong}", err=True)
        raise SystemExit(2) from None


def _console(target: str) -> Console:
    """For people: stdout, or stderr where the JSON goes to stdout."""
    from rich.console import Console

    return Console(stderr=target == "-")


def _write(target: str, body: dict[str, Any]) -> None:
    text = json.dumps(body, indent=1, allow_nan=False)
    if target == "-":
        typer.echo(text)
    elif target:
        Path(target).write_text(text + "\n")


@contextmanager
def _bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars by name."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        known: dict[str, Any] = {}

        def show(name: str, done: int, of: int) -> None:
            if name not in known:
                known[name] = bars.add_task(name, total=of)
            bars.update(known[name], completed=done, total=of)

        yield show


def _settings(*places: str) -> Settings:
    """From the environment; the caches and the folders named in `places` can be had."""
    from vpp.service.preflight import require_places
    from vpp.service.settings import from_env

    settings = from_env(os.environ)
    require_places(settings, "cache_dir", "models_dir", *places)
    return settings


def _scratch() -> str:
    """A database that lives as long as the command."""
    return "sqlite://"


@app.command()
def plan(
    portfolio: PortfolioOption = DEMO,
    day: Annotated[str, typer.Option("--day", help="Local day to plan, such as 2016-07-12.")] = "2016-07-12",
    no_security: Annotated[bool, typer.Option("--no-security", help="Leave the network out of the plan.")] = False,
    deadline: DeadlineOption = None,
    out: JsonOption = "-",
) -> None:
    """One day-ahead run for a day: schedule, bound, certificate."""
    from vpp.service.plan import plan_day, plan_report, prepare_day

    console = _console(out)
    with _bars(console) as show:
        system, issued = prepare_day(
            portfolio, day_of(day), _settings(), _scratch(), lambda n, of: show("day-ahead models", n, of)
        )
        show("plan", 0, 1)
        situation, run = plan_day(system, issued, not no_security, deadline)
        show("plan", 1, 1)
    for _, fault in system.new_faults(issued):
        console.print(fault, markup=False)
    body = plan_report(situation, run)
    _write(out, body)
    _say_plan(console, body)


def _say_plan(console: Console, body: dict[str, Any]) -> None:
    from rich.table import Table

    from vpp.domain.network import TARGET_SHARE

    table = Table(title=f"Day-ahead plan, {body['times'][0]} on")
    for name in ("", "value"):
        table.add_column(name)
    without = "no network" if body["network"] == "none" else f"no certificate, {body['network']}"
    certificate = body["certificate"] or {"verdict": without, "share_clean": None, "worst": None}
    rows = [
        ("level", body["level"]), ("status", body["status"]), ("objective", body["objective"]),
        ("gap", body["gap"]), ("violations before cuts", body["violations_first"]), ("rounds", body["rounds"]),
        ("verdict", certificate["verdict"]), ("violations", body["violations_final"]),
        (f"scenarios clean (target {TARGET_SHARE:g})", certificate["share_clean"]), ("worst", certificate["worst"]),
        ("wall s", {k: round(v, 2) for k, v in body["wall_s"].items()}),
    ]  # fmt: skip
    for name, value in rows:
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A plan written by `vpp plan`.")],
    portfolio: PortfolioOption = DEMO,
    db: DatabaseOption = None,
) -> None:
    """Recompute a plan from its power, commitment and decisions; exit 1 with every violation by name."""
    from datetime import UTC

    from vpp.domain.errors import Fault, InputFaults
    from vpp.service.check_file import check_file

    if not file.is_file():
        raise InputFaults([Fault(str(file), "", "no such file")])
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputFaults([Fault(str(file), "", "is no UTF-8 text, so no plan")]) from None
    console, faults = _console("-"), list[str]()
    with _bars(console) as show:
        train = lambda n, of: show("day-ahead models", n, of)  # noqa: E731
        found = check_file(text, portfolio, _settings(), db, train, faults.append)
    for line in faults:
        console.print(line, markup=False)
    for line in found:
        typer.echo(line)
    console.print(f"{file}: {len(found)} violations" if found else f"{file}: clean ({datetime.now(UTC):%H:%M})")
    raise typer.Exit(1 if found else 0)


@app.command()
def simulate(
    portfolio: PortfolioOption = DEMO,
    start: Annotated[str, typer.Option("--start", help="First local day.")] = "2016-07-12",
    days: Annotated[int, typer.Option("--days", min=1, max=60)] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 1,
    oracle: Annotated[bool, typer.Option("--oracle", help="Compare with perfect foresight.")] = False,
    speed: Annotated[float | None, typer.Option("--speed", min=0.1, help="Times real time; else lockstep.")] = None,
    db: DatabaseOption = None,
    out: JsonOption = "",
    report: Annotated[
        Path | None, typer.Option("--report", callback=to_report, help="HTML report; beside the JSON if absent.")
    ] = None,
) -> None:
    """The closed loop on a virtual plant; the same command with the same --db resumes."""
    import tempfile

    from vpp.service.preflight import require_redis
    from vpp.service.run_simulation import simulate_and_report
    from vpp.service.simulate import Request

    console, settings = _console(out), _settings()
    require_redis(settings)
    with tempfile.TemporaryDirectory() as scratch, _bars(console) as show:
        database = db or Path(scratch) / "simulation.db"
        html = report or (Path(out).with_suffix(".html") if out not in ("", "-") else None)
        request = Request(portfolio, day_of(start), days, seed, speed, database)
        body = simulate_and_report(request, settings, oracle, html, show)
    _write(out, body)
    _say_simulation(console, body)


def _say_simulation(console: Console, body: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="Simulated")
    table.add_column("")
    table.add_column("value")
    skipped = ("events", "cost_terms", "cost_idle_terms", "cost_oracle_terms")
    for name, value in body.items():
        if name not in skipped:
            table.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
    console.print(table)


@app.command()
def bid(
    portfolio: PortfolioOption = DEMO,
    day: Annotated[str, typer.Option("--day", help="Local day to bid for.")] = "2016-07-12",
    out: JsonOption = "-",
) -> None:
    """The price-quantity curve for a day, as issued the morning before."""
    from vpp.service.bidding import bid_report

    console = _console(out)
    with _bars(console) as show:
        body = bid_report(
            portfolio, day_of(day), _settings(), _scratch(), lambda n, of: show("day-ahead models", n, of)
        )
    _write(out, body)
    console.print(f"{len(body['bids'])} bids for {day}, gate {body['bids'][0]['gate'] if body['bids'] else '-'}")


@app.command()
def event(
    event_id: Annotated[str, typer.Argument(help="Event, such as dr-demo.")],
    db: Annotated[Path, typer.Option("--db", help="SQLite file of the record.")],
    out: JsonOption = "-",
) -> None:
    """One demand-response call: offers, answers, baselines, delivery, statement."""
    from vpp.service.event_file import event_report

    _write(out, event_report(db, event_id, _settings()))


@app.command()
def forecast(
    replay: Annotated[str, typer.Option("--replay", help="Run whose forecast to make again.")],
    db: Annotated[Path, typer.Option("--db", help="SQLite file of the record.")],
    portfolio: PortfolioOption = DEMO,
    out: JsonOption = "-",
) -> None:
    """The forecast that a recorded run used, made again; exit 1 where a bit differs."""
    from vpp.service.replay import replay_report

    body = replay_report(db, portfolio, replay, _settings())
    _write(out, body)
    _console(out).print(f"forecast of run {replay}: {'the same' if body['same'] else 'NOT the same'} bit for bit")
    raise typer.Exit(0 if body["same"] else 1)


@app.command()
def flexibility(
    at: Annotated[str, typer.Option("--at", help="RFC 3339 time, such as 2016-07-12T17:30:00+02:00.")],
    bus: Annotated[str | None, typer.Option("--bus", help="Bus of the network by name or number.")] = None,
    element: Annotated[
        str | None, typer.Option("--element", help="Line or transformer to relieve, such as 'line 18'.")
    ] = None,
    point: Annotated[str | None, typer.Option("--point", help="Congestion point of the portfolio.")] = None,
    site: Annotated[str | None, typer.Option("--site", help="Site whose envelope the network leaves.")] = None,
    portfolio: PortfolioOption = DEMO,
    horizon: Annotated[str, typer.Option("--horizon", help="ISO 8601, quarter hours up to PT6H.")] = "PT4H",
    plan: Annotated[Path | None, typer.Option("--plan", help="A plan written by `vpp plan`; else it is made.")] = None,
    out: JsonOption = "-",
) -> None:
    """What a bus, feeder, site or element can inject, P and Q, by quarter hour, for how long and at what price."""
    from vpp.domain.errors import InputFaults
    from vpp.service.explaining import plan_text
    from vpp.service.flexibility_place import Place
    from vpp.service.flexibility_report import flexibility_report, question

    try:
        asked = question(Place(bus, element, point, site), at, horizon)
    except InputFaults as wrong:
        raise typer.BadParameter("; ".join(map(str, wrong.faults))) from None
    text, console = plan_text(plan) if plan is not None else None, _console(out)
    with _bars(console) as show:
        train = lambda n, of: show("day-ahead models", n, of)  # noqa: E731
        body = flexibility_report(portfolio, asked, _settings(), text, train)
    _write(out, body)


@app.command()
def explain(
    asset: Annotated[str, typer.Option("--asset", help="Asset, such as mill-3.")],
    at: Annotated[str, typer.Option("--at", help="RFC 3339 time, such as 2016-07-12T18:00:00+02:00.")],
    portfolio: PortfolioOption = DEMO,
    day: Annotated[str | None, typer.Option("--day", help="Local day of the plan; that of --at by default.")] = None,
    plan: Annotated[Path | None, typer.Option("--plan", help="A plan written by `vpp plan`.")] = None,
    db: DatabaseOption = None,
    out: JsonOption = "-",
) -> None:
    """Why an asset does what it does at a moment of a plan, and what would change it."""
    from vpp.service.explaining import explain_day, explain_recorded, plan_text

    if plan is not None and db is not None:
        raise typer.BadParameter("--plan and --db exclude each other")
    moment, console = moment_of(at), _console(out)
    if db is not None:
        body = explain_recorded(db, portfolio, asset, moment, _settings())
    else:
        text = plan_text(plan) if plan is not None else None
        with _bars(console) as show:
            train = lambda n, of: show("day-ahead models", n, of)  # noqa: E731
            body = explain_day(portfolio, day_of(day) if day else None, asset, moment, _settings(), text, train)
    _write(out, body)
    console.print(body["sentence"])


@app.command()
def serve(
    portfolio: PortfolioOption = DEMO,
    db: DatabaseOption = None,
    host: HostOption = None,
    port: PortOption = None,
    live: Annotated[
        Path | None, typer.Option("--live", help="YAML {asset: {host, port, unit, profile}}: run the clocks on them.")
    ] = None,
) -> None:
    """The API and the page on a record; with --live the clocks run on real devices, else none do."""
    from vpp.service.preflight import require_port, require_redis

    settings = _settings("state_dir")
    where = host or settings.host, port or settings.port
    require_port(*where)
    if live is not None:
        require_redis(settings)
    if live is None:
        from vpp.service.serving import serve_record

        serve_record(portfolio, db, settings, *where)
    else:
        from vpp.service.live import serve_live

        serve_live(portfolio, db, live, settings, *where)


@app.command()
def demo(
    portfolio: PortfolioOption = DEMO,
    start: Annotated[str, typer.Option("--start")] = "2016-07-12",
    speed: Annotated[float, typer.Option("--speed", min=1.0, help="Simulated seconds per second.")] = 60.0,
    host: HostOption = None,
    port: PortOption = None,
    db: DatabaseOption = None,
) -> None:
    """First certified plan, virtual plant, service and page, three accelerated clocks, until interrupted."""
    from vpp.service.demo import run_demo
    from vpp.service.preflight import require_port, require_redis

    settings = _settings("state_dir")
    where = host or settings.host, port or settings.port
    require_port(*where)
    require_redis(settings)
    with _bars(_console("")) as show:
        run_demo(portfolio, day_of(start), speed, *where, db, settings, show)
