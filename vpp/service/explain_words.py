"""An explanation as sentences that a person understands. Numbers beside it are in the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from dispatch.explain import Binding, Change, Explanation
from vpp.domain.time import TimeGrid

OWN = {
    "min_up": "its minimum run time", "min_down": "its minimum stop time", "starts_per_day": "its starts per day",
    "order": "the order of its tasks", "gap": "the longest gap between its tasks",
    "running task": "the task that runs already", "windows": "the windows of its tasks",
    "crew": "the crew of its silo", "ramp_up": "its ramp", "ramp_down": "its ramp", "taper": "its charging taper",
}  # fmt: skip
PARTS = {
    "network": "the network", "order": "a demand-response order", "limit": "an ordered limit",
    "rule": "the contract rule", "energy": "energy", "fee": "grid fee",
    "received limit": "a limit received from the grid operator",
}  # fmt: skip
VERBS = {"charge": "charge", "discharge": "discharge", "consumed": "consume"}
LISTED = 2
NOTHING_MW = 5e-4


def _moved(would: str) -> str:
    """What a column would do, as people say it: "more charge" is to charge more."""
    way, _, column = would.partition(" ")
    return f"{VERBS[column]} {way}" if column in VERBS else f"run at {way} power"


def _own(limit: str) -> str:
    """An asset's own limit: a store that is full or empty, a known rule, or the label of its rows."""
    state = limit.rsplit(" ", 1)[-1]
    if state in ("full", "empty"):
        return f"its store, which would otherwise be too {state}"
    return OWN.get(limit, f"its limit {limit}")


class Words:
    """Sentences over one plan's grid in local time of `zone`."""

    def __init__(self, grid: TimeGrid, zone: str, currency: str) -> None:
        self._edges = [e.astimezone(ZoneInfo(zone)) for e in grid.edges]
        self._money = currency

    def sentence(self, e: Explanation) -> str:
        """What it does, why, and what would change it."""
        return " ".join(part for part in (self._does(e), self._why(e), self._next(e), self._store(e)) if part)

    def _at(self, step: int, beside: int | None = None) -> str:
        moment: datetime = self._edges[step]
        same = beside is not None and self._edges[beside].date() == moment.date()
        return f"{moment:%H:%M}" if same else f"{moment:%H:%M} on {moment:%d %B}"

    def _price(self, value: float) -> str:
        return f"{value:.2f} {self._money}/MWh"

    def _does(self, e: Explanation) -> str:
        if abs(e.power_mw) < NOTHING_MW:
            does = "rests" if e.on is None else "is on at no power" if e.on else "is off"
        else:
            does = f"{'injects' if e.power_mw >= 0 else 'takes'} {abs(e.power_mw):.3f} MW"
        return f"{e.asset} {does} at {self._at(e.step)}"

    def _why(self, e: Explanation) -> str:
        limit = _own(e.limit)
        if e.reason == "uncontrolled":
            return "because nobody controls it."
        if e.reason == "known" and e.limit == "out of service":
            return "because it is out of service."
        if e.reason == "known":
            return "because that was announced and can no longer change."
        if e.reason == "marginal":
            return f"because there its own marginal cost equals its price of {self._priced(e)}."
        if e.reason == "gap":
            return f"because the search ended within the plan's gap; its price is {self._priced(e)}."
        if e.reason == "price":
            return f"because of its price, {self._priced(e)}."
        if e.reason == "own":
            return f"because of {limit}.{self._saved(e)}"
        return f"because of {PARTS.get(e.reason, e.reason)}{self._limits(e)}.{self._saved(e)}"

    def _priced(self, e: Explanation) -> str:
        parts = [f"{PARTS.get(p, p)} {v:.2f}" for p, v in e.parts_eur_per_mwh.items() if abs(v) >= 0.005]
        return self._price(e.price_eur_per_mwh) + (f" ({', '.join(parts)})" if len(parts) > 1 else "")

    def _limits(self, e: Explanation) -> str:
        if not e.exceeded:
            return f" ({e.limit})" if e.limit and e.limit not in PARTS.get(e.reason, "") else ""
        listed = [f"{name} at {self._at(step, e.step)}" for name, step, _ in e.exceeded[:LISTED]]
        more = len(e.exceeded) - len(listed)
        return ": the other way would exceed " + ", ".join(listed) + (f" and {more} more limits" if more else "")

    def _saved(self, e: Explanation) -> str:
        if not e.worth_eur or e.worth_eur < 0.005:
            return ""
        return f" Without that limit it would save {e.worth_eur:.2f} {self._money}."

    def _next(self, e: Explanation) -> str:
        return " ".join(text for text in (self._run(e), self._moves(e.changes)) if text)

    def _run(self, e: Explanation) -> str:
        c = next((c for c in e.changes if c.first is not None), None)
        if c is None or c.first is None or c.last is None or c.extra_cost_eur is None:
            return ""
        verb = "Running" if c.would == "start" else "Stopping"
        span = f"from {self._at(c.first, e.step)} to {self._at(c.last, e.step)}"
        other = ""
        if c.instead is not None and c.instead_until is not None:
            other = f" instead of from {self._at(c.instead, e.step)} to {self._at(c.instead_until, e.step)}"
        more = "more" if c.extra_cost_eur >= 0 else "less"
        money = f"{abs(c.extra_cost_eur):.2f} {self._money} {more}"
        return (
            f"{verb} {span}{other} would cost {money}; it would pay off at a mean price of energy and fee in that "
            f"time {c.side} {self._price(c.price_eur_per_mwh)} (now {c.mean_eur_per_mwh:.2f})."
        )

    def _moves(self, changes: Sequence[Change]) -> str:
        """The nearest price of each way it could move, of which there are several where a cost curve has pieces."""
        told: dict[str, str] = {}
        for c in changes:
            if c.first is None:
                told.setdefault(f"{_moved(c.would)} {c.side}", self._price(c.price_eur_per_mwh))
        listed = [f"{way} {price}" for way, price in told.items()]
        return f"It would {' and '.join(listed[:LISTED])}." if listed else ""

    def _store(self, e: Explanation) -> str:
        found: Binding | None = next((b for b in e.bindings if b.name.endswith((" full", " empty"))), None)
        if found is None:
            return ""
        state = found.name.rsplit(" ", 1)[-1]
        worth = self._price(-found.shadow_price)
        return f"Its store is {state} at {self._at(found.step + 1, e.step)}, which costs {worth}."
