"""Options that commands share, read and tried before a command begins its work."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

LEAST_S, MOST_S = 0.1, 86_400.0


def to_write(target: str) -> str:
    """The target of `--json`, tried before the work."""
    from vpp.service.preflight import why_not_writable

    if target not in ("", "-") and (reason := why_not_writable(Path(target))) is not None:
        raise typer.BadParameter(f"{target}: {reason}")
    return target


def to_report(target: Path | None) -> Path | None:
    """The target of `--report`, tried before the work."""
    if target is not None:
        to_write(str(target))
    return target


def a_database(file: Path | None) -> Path | None:
    """The file of `--db`, tried before the work."""
    from vpp.service.preflight import why_no_database

    if file is not None and (reason := why_no_database(file)) is not None:
        raise typer.BadParameter(f"{file}: {reason}")
    return file


def a_deadline(seconds: float | None) -> float | None:
    """Seconds of `--deadline`."""
    if seconds is not None and not LEAST_S <= seconds <= MOST_S:
        raise typer.BadParameter(f"{seconds:g} is not in {LEAST_S:g} to {MOST_S:g} seconds")
    return seconds


PortfolioOption = Annotated[Path, typer.Option("--portfolio", help="Folder with portfolio.yaml and its companions.")]
JsonOption = Annotated[str, typer.Option("--json", callback=to_write, help="Where to write the JSON; - is stdout.")]
DeadlineOption = Annotated[
    float | None,
    typer.Option("--deadline", callback=a_deadline, help="Seconds from build to plan; else the stage's."),
]
DatabaseOption = Annotated[Path | None, typer.Option("--db", callback=a_database, help="SQLite file of the record.")]
HostOption = Annotated[str | None, typer.Option("--host", help="Where to listen; VPP_HOST, else 127.0.0.1.")]
PortOption = Annotated[int | None, typer.Option("--port", min=1, max=65535, help="VPP_PORT, else 8000.")]


def day_of(text: str) -> date:
    """A date as an option states it."""
    from vpp.service.moments import RANGE, in_range

    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no date such as 2016-07-12") from None
    if not in_range(day):
        raise typer.BadParameter(f"{text} {RANGE}")
    return day


def moment_of(text: str) -> datetime:
    """A time with its zone as an option states it."""
    from vpp.service.moments import RANGE, in_range

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no RFC 3339 time") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text} has no time zone")
    if not in_range(moment):
        raise typer.BadParameter(f"{text} {RANGE}")
    return moment
