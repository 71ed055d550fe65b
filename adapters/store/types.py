"""Column types: aware UTC times as sortable RFC 3339 text, money as exact decimal text."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import String
from sqlalchemy.types import TypeDecorator

from vpp.domain.time import utc


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with six decimals always, so that text order is time order.

    Raises ValueError for a naive time.
    """
    if moment.tzinfo is not UTC:
        moment = utc(moment)
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def moment(text: str) -> datetime:
    """The aware UTC time that `stamp` wrote."""
    return datetime.fromisoformat(text)


class UtcTime(TypeDecorator[datetime]):
    """Aware times in, aware UTC times out; text of fixed length between."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:
        return None if value is None else stamp(value)

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:
        return None if value is None else moment(value)


class Money(TypeDecorator[Decimal]):
    """Decimal as text: no rounding, no binary floating point."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value)
