"""Moments as whole seconds, minutes and quarters since the Unix epoch; text only at the edge."""

from __future__ import annotations

from datetime import UTC, datetime

from vpp.domain.time import rfc3339, utc

MINUTE_S = 60
QUARTER_S = 900


def epoch_s(text: str) -> int:
    """Whole seconds of an RFC 3339 moment. Raises ValueError for a naive or malformed one."""
    return int(utc(datetime.fromisoformat(text)).timestamp())


def text_of(seconds: float) -> str:
    """RFC 3339 in UTC."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
