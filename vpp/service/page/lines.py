"""Sentences of the page: what a reading says in words."""

from __future__ import annotations

from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from vpp.domain.network import TARGET_SHARE, Certificate
from vpp.service.page.snapshot import Snapshot
from vpp.service.page.words import Words
from vpp.service.received import LIMITS

NAMED_NAIVE = 6
COUNTS = ("sent", "acked", "expired", "superseded", "rejected", "lost", "pending")


def local(moment: datetime, zone: tzinfo) -> str:
    """Local wall time to the minute."""
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def plan_line(s: Snapshot, say: Words) -> str:
    """The plan in force and its certificate."""
    if s.run is None:
        return say("no_released_plan")
    stage, level = say(f"stage_{s.run.stage}"), say(f"level_{s.run.level}")
    issued = local(s.run.issued_at, ZoneInfo(s.zone))
    certificate = _certificate(s.run.certificate, say)
    if LIMITS in s.run.inputs:
        certificate += say("limits_from", issuers=", ".join(s.run.inputs[LIMITS]["issuers"]))
    return say("in_force", stage=stage, issued=issued, level=level, certificate=certificate)


def _certificate(found: Certificate | None, say: Words) -> str:
    if found is None:
        return say("verdict_none")
    parts = [say(f"verdict_{found.verdict}")]
    if found.worst is not None:
        worst = found.worst
        digits = 1 if worst.unit == "%" else 4
        value, limit = f"{worst.value:.{digits}f}", f"{worst.limit:.{digits}f}"
        parts.append(say("worst", element=worst.element, value=value, limit=limit, unit=worst.unit))
    if found.scenarios:
        target = f"{100 * TARGET_SHARE:.0f}"
        parts.append(say("share", share=f"{100 * found.share_clean:.0f}", n=found.scenarios, target=target))
    return ", ".join(parts)


def forecast_line(s: Snapshot, say: Words) -> str:
    """Which forecasts are still naive."""
    if s.naive is None:
        return say("no_forecast")
    if not s.naive:
        return say("naive_none")
    more = ", …" if len(s.naive) > NAMED_NAIVE else ""
    return say("naive_some", n=len(s.naive), of=s.forecasts, names=", ".join(s.naive[:NAMED_NAIVE]) + more)


def scores_line(s: Snapshot, say: Words) -> str:
    """How many series beat the naive, and what share of all outcomes the bands held."""
    if not s.scores:
        return say("no_scores")
    total = sum(score.n for score in s.scores)
    held = {
        f"c{band}": f"{100 * sum(score.coverage[band] * score.n for score in s.scores) / total:.0f}"
        for band in ("50", "80", "90")
    }
    better = sum(score.pinball < score.pinball_naive for score in s.scores)
    return say("scores_line", better=better, of=len(s.scores), n=total, **held)


def event_line(s: Snapshot, say: Words) -> str:
    """The event on the chart; nothing without one."""
    if s.event is None:
        return ""
    event, zone = s.event.event, ZoneInfo(s.zone)
    start, end = (t.astimezone(zone) for t in (event.start, event.end))
    return say("event_line", id=event.id, mw=f"{event.mw:.2f}", day=f"{start:%Y-%m-%d}", start=f"{start:%H:%M}",
               end=f"{end:%H:%M}", status=say(f"event_{event.status.value}"))  # fmt: skip


def command_line(s: Snapshot, say: Words) -> str:
    """Commands by outcome."""
    counts = ", ".join(f"{say(name)} {s.counts.get(name, 0)}" for name in COUNTS)
    return f"{say('commands_title')}: {counts}"
