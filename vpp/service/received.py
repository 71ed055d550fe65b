"""Limits received from grid operators as the stages see them: the second source of `Network`.

A run at `now` knows the envelopes of limits.yaml and of the record that were received by `now`, so that what
arrives later does not change it. Each place enters as a contract of `dispatch.products.operating_envelope`. Limits say
what is allowed and nothing of the network behind them: only a model yields a certificate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from dispatch.block import INF
from dispatch.product import Contract
from dispatch.products.operating_envelope import EXPORT, IMPORT, NAME, Received, limits
from vpp.domain.envelope import Bounds, Envelope, bounds_over, newest
from vpp.domain.schedule import Schedule
from vpp.domain.time import Array, TimeGrid
from vpp.service.situation import Situation
from vpp.service.system import System

LIMITS, MODEL, NOTHING = "limits", "network model", "none"
NO_CERTIFICATE = "none: the limits are kept, what they do to the network behind them is not known here"


def known_envelopes(system: System, at: datetime, since: datetime) -> tuple[Envelope, ...]:
    """The newest revisions that had been received by `at`; of the record's those that say something after `since`."""
    filed = system.loaded.received.envelopes
    return newest((*filed, *system.store.envelopes.known(at, since, [e.id for e in filed])), at)


def bounds_at(system: System, grid: TimeGrid, known_at: datetime) -> dict[str, Bounds]:
    """The limits of every place over `grid`, as known at `known_at`, by the place's id."""
    received = system.loaded.received
    sent: dict[str, list[Envelope]] = {}
    for envelope in known_envelopes(system, known_at, grid.start) if received.places else ():
        sent.setdefault(envelope.place, []).append(envelope)
    return {p.id: bounds_over(p, sent.get(p.id, ()), grid) for p in received.places}


def limit_contracts(system: System, grid: TimeGrid, known_at: datetime) -> tuple[Contract, ...]:
    """The limits of every place as contracts."""
    received, bounds = system.loaded.received, bounds_at(system, grid, known_at)
    return tuple(
        Contract(
            NAME, Received(p.id, p.issuer, received.names[p.issuer], bounds[p.id].envelopes, bounds[p.id].default),
            p.assets, {IMPORT: bounds[p.id].import_mw, EXPORT: bounds[p.id].export_mw},
        )
        for p in received.places
    )  # fmt: skip


def _of(s: Situation) -> list[Contract]:
    return [c for c in s.contracts if c.product == NAME]


def _issuers(s: Situation) -> list[str]:
    """Their names, in the order of their places."""
    return list(dict.fromkeys(c.terms.issuer_name for c in _of(s)))


def source_of(s: Situation) -> str:
    """Where a run's network limits come from, as people say it."""
    names = _issuers(s)
    parts = [MODEL] if s.grid_side is not None else []
    parts += [f"limits received from {', '.join(names)}"] if names else []
    return "; ".join(parts) or NOTHING


def limits_kept(s: Situation) -> dict[str, Any]:
    """What a run keeps of the limits it obeyed: source, bounds by place, the envelopes behind them; empty without."""
    found = _of(s)
    if not found:
        return {}
    return {
        LIMITS: {
            "source": source_of(s),
            "issuers": _issuers(s),
            "certificate": NO_CERTIFICATE if s.grid_side is None else "of the network model",
            "places": {c.id: _place(c) for c in found},
        }
    }


def _place(c: Contract) -> dict[str, Any]:
    """JSON of one place."""
    return {
        "issuer": c.terms.issuer, "assets": list(c.assets),
        IMPORT: c.known[IMPORT].tolist(), EXPORT: c.known[EXPORT].tolist(),
        "envelopes": list(c.terms.envelopes), "default_in_use": c.terms.default,
    }  # fmt: skip


def exchange_bounds(s: Situation, assets: Sequence[str]) -> tuple[Array, Array]:
    """(least, most) net injection (T,) of exactly these assets by received limits; infinite where none binds them."""
    least, most = np.full(s.grid.n, -INF), np.full(s.grid.n, INF)
    for c in _of(s):
        if set(c.assets) == set(assets):
            low, high = limits(c, s.grid)
            least, most = np.maximum(least, low), np.minimum(most, high)
    return least, most


def roofs_mw(s: Situation, schedule: Schedule) -> dict[str, float]:
    """The most that each curtailable asset behind received limits may inject in the schedule's first step.

    What the planned exchange leaves below the export limit is shared evenly: a generator that is not curtailed is
    commanded beyond its forecast, and all of them may give more than forecast at once.
    """
    found: dict[str, float] = {}
    generators = {a.id for a in s.dispatched if a.kind == "curtailable"}
    for c in _of(s):
        members = [a for a in c.assets if a in generators]
        planned = {a: float(schedule.power_of(a)[0]) for a in c.assets}
        left = max(0.0, float(c.known[EXPORT][0]) - sum(planned.values()))
        for asset in members:
            found[asset] = min(found.get(asset, INF), planned[asset] + left / len(members))
    return found
