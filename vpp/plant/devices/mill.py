"""Mills on one silo: t[k] = t[k-1] + h*(sum of on*P*1000/kwh_per_t - shipments) + missed, min_t <= t <= capacity_t.

A mill is on at its rated power or off; min_run_h and min_stop_h are interlocks that refuse a command which
breaks them. A full silo trips the mill whatever the interlock says; shipments that would draw the silo below
its minimum are missed. Rules about crews and daily starts bind who plans, not the machine.
People answer requests: with probability `failure` a change that was asked for comes late, delivering only a
random share in low..1 of the first quarter of an hour. By default a mill follows its rota.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import HOURS, Inputs, Order, PhysicalParams, State, switchable
from vpp.plant.draws import generator
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("shipments_t_per_h", "rota")
STORES = True


class SiloParams(PhysicalParams):
    """Tonnes; kwh_per_t turns the content into MWh."""

    id: str
    capacity_t: float = Field(gt=0)
    min_t: float = Field(0.0, ge=0)
    kwh_per_t: float = Field(gt=0)

    @model_validator(mode="after")
    def _range(self) -> SiloParams:
        if self.min_t > self.capacity_t:
            raise ValueError("min_t lies above capacity_t")
        return self


class Params(PhysicalParams):
    """Rated MW and the specific energy of what the mill makes."""

    power_mw: float = Field(gt=0)
    kwh_per_t: float = Field(gt=0)
    min_run_h: float = Field(0.0, ge=0)
    min_stop_h: float = Field(0.0, ge=0)
    silo: SiloParams


@dataclass
class Silo:
    """The common store; the content in MWh is shared evenly among the states of its mills."""

    params: SiloParams
    mills: list[State] = field(default_factory=list)
    content_t: float = 0.0
    missed_t: float = 0.0

    def join(self, state: State) -> None:
        """One more mill, which brings its share of the content."""
        self.mills.append(state)
        self.content_t += state.stored_mwh * 1000.0 / self.params.kwh_per_t

    def has_room(self, tonnes: float, shipped_t: float) -> bool:
        """Whether `tonnes` more fit by the end of a minute that ships `shipped_t`."""
        return self.content_t + tonnes - shipped_t <= self.params.capacity_t + 1e-6

    def end_minute(self, inputs: Inputs) -> None:
        """Ship what is asked for."""
        self.ship(inputs["shipments_t_per_h"])

    def ship(self, tonnes_per_h: float) -> None:
        """End the minute: ship what is there and tell the mills their share."""
        asked = tonnes_per_h * HOURS
        shipped = min(asked, max(0.0, self.content_t - self.params.min_t))
        self.missed_t = asked - shipped
        self.content_t -= shipped
        share = self.content_t * self.params.kwh_per_t / 1000.0 / len(self.mills)
        for state in self.mills:
            state.stored_mwh = share


@dataclass(frozen=True)
class Crew:
    """How the people at the mill answer a request."""

    seed: int
    label: str
    failure: float
    low: float

    def late_minutes(self, number: int) -> int:
        """Minutes by which the change asked for by write `number` comes late."""
        rng = generator(self.seed, self.label, number)
        if rng.random() >= self.failure:
            return 0
        return max(1, round(15.0 * (1.0 - rng.uniform(self.low, 1.0))))


class Mill:
    """One mill."""

    accepts: frozenset[Quantity] = frozenset({"on"})
    details: tuple[str, ...] = ("silo_t", "missed_t")

    def __init__(self, params: Params, state: State, silo: Silo, crew: Crew) -> None:
        self.params = params
        self.state = state
        self._silo = silo
        self._crew = crew
        self._answered = -1
        self._late = 0
        silo.join(state)

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Run or stand still for the minute."""
        p, state = self.params, self.state
        wanted = self._wanted(order, inputs)
        on = wanted if switchable(state, p.min_run_h, p.min_stop_h) else state.on
        tonnes = p.power_mw * 1000.0 / p.kwh_per_t * HOURS
        on = on and self._silo.has_room(tonnes, inputs["shipments_t_per_h"] * HOURS)
        if on:
            self._silo.content_t += tonnes
        state.power_mw = -p.power_mw if on else 0.0
        state.count(on)

    def _wanted(self, order: Order | None, inputs: Inputs) -> bool:
        if order is None:
            return inputs["rota"] >= 0.5
        wanted = order.value >= 0.5
        if order.number != self._answered:
            self._answered = order.number
            self._late = self._crew.late_minutes(order.number) if wanted != self.state.on else 0
        if self._late > 0:
            self._late -= 1
            return self.state.on
        return wanted

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The rota."""
        return -self.params.power_mw * inputs["rota"]

    def detail(self) -> tuple[float, ...]:
        first = self._silo.mills[0] is self.state
        return (self._silo.content_t, self._silo.missed_t if first else 0.0)


def build(making: Making) -> Mill:
    """From its parameters, in its initial state."""
    params, chance = Params.model_validate(making.params), making.randomness
    silo = making.commons.share(f"silo {params.silo.id}", making.at, lambda: Silo(params.silo))
    crew = Crew(making.seed, f"crew:{making.id}", chance.request_failure, chance.request_share_low)
    return Mill(params, making.state, silo, crew)
