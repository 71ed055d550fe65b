"""Times and numbers as people give them, bounded so that every calculation with them stays inside the calendar.

A time near the end of the calendar has no UTC (`0001-01-01T00:00:00+14:00`) or no day after it, so the
years are bounded once, here, for files, requests and the command line.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

FIRST_YEAR, LAST_YEAR = 1970, 2199
RANGE = f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}"


def in_range(moment: date) -> bool:
    """Whether a date or time, by its own calendar, is one that can be calculated with."""
    return FIRST_YEAR <= moment.year <= LAST_YEAR


def _bounded(moment: datetime) -> datetime:
    if not in_range(moment):
        raise ValueError(RANGE)
    return moment


def _quoted(value: object) -> object:
    if not isinstance(value, str | time):
        raise ValueError('must be a wall time in quotes such as "10:00"')
    return value


def _wall(value: time) -> time:
    if value.tzinfo is not None or value.second or value.microsecond:
        raise ValueError('must be a wall time of whole minutes such as "10:00", without an offset')
    return value


Moment = Annotated[AwareDatetime, AfterValidator(_bounded)]
"""An aware time."""

WallTime = Annotated[time, BeforeValidator(_quoted), AfterValidator(_wall)]
"""A local time of day; YAML reads an unquoted 10:00 as the number 600, which is refused."""
