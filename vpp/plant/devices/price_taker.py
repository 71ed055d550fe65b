"""Price-taker: consumption is L * share, share = 1 + f*(clip(1 + eps*(p - p0)/p0, low, high) - 1) + rebound.

Linear demand around a reference point (own elasticity eps < 0; e.g. Kirschen et al., IEEE Trans. Power Syst.
15(2), 2000). f is the random part, one draw a quarter, normal(1, sigma) clipped to 0..2. Cross-time
substitution: of every reduced MWh the share `substitution` comes back evenly over the following `window_h`.
What is added is missing then. The total stays within low..high. Without a valid price it consumes its
reference, and what comes back.
"""

from __future__ import annotations

from collections import deque

from pydantic import Field, model_validator

from vpp.domain.command import Quantity
from vpp.plant.device import Inputs, Order, PhysicalParams, State, clip
from vpp.plant.draws import generator
from vpp.plant.making import Making

INPUTS: tuple[str, ...] = ("load_mw",)
STORES = False


class Params(PhysicalParams):
    """Shares are of the reference consumption."""

    min_share: float = Field(ge=0, le=1)
    max_share: float = Field(1.5, ge=1)
    elasticity: float = Field(le=0)
    reference_price_eur_per_mwh: float = Field(gt=0)
    substitution: float = Field(0.0, ge=0, le=1)
    window_h: float = Field(2.0, ge=0)
    response_sigma: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _has_window(self) -> Params:
        if self.substitution > 0 and self.window_h * 60 < 1:
            raise ValueError("substitution needs a window_h of a minute at least")
        return self


class PriceTaker:
    """One load that answers a published price; `seed` and `label` address its draws."""

    accepts: frozenset[Quantity] = frozenset({"price_eur_per_mwh"})
    details: tuple[str, ...] = ("reference_mw", "response_factor")

    def __init__(self, params: Params, state: State, seed: int, label: str) -> None:
        self.params = params
        self.state = state
        self._seed, self._label = seed, label
        self._quarter = -1
        self._factor = 1.0
        self._reference_mw = 0.0
        self._owed = deque([0.0], maxlen=max(1, round(params.window_h * 60)))

    def step(self, order: Order | None, inputs: Inputs, minute: int) -> None:
        """Consume the reference moved by price, chance and rebound."""
        p = self.params
        self._draw(minute // 15)
        self._reference_mw = -self.steady_mw(inputs, minute)
        moved = 0.0
        if order:
            price = order.value / p.reference_price_eur_per_mwh - 1.0
            moved = self._factor * (clip(1.0 + p.elasticity * price, p.min_share, p.max_share) - 1.0)
            moved = clip(moved, p.min_share - 1.0, p.max_share - 1.0)
        rebound_mw = sum(self._owed) / self._owed.maxlen if self._owed.maxlen else 0.0
        self._owed.append(-p.substitution * moved * self._reference_mw)
        consumed = self._reference_mw * (1.0 + moved) + rebound_mw
        low, high = p.min_share * self._reference_mw, p.max_share * self._reference_mw
        self.state.power_mw = -clip(consumed, low, high)
        self.state.count(self.state.power_mw != 0.0)

    def _draw(self, quarter: int) -> None:
        if quarter != self._quarter:
            draw = generator(self._seed, self._label, quarter).normal(1.0, self.params.response_sigma)
            self._factor = clip(float(draw), 0.0, 2.0)
            self._quarter = quarter

    def steady_mw(self, inputs: Inputs, minute: int) -> float:
        """The reference."""
        return -max(inputs["load_mw"], 0.0)

    def detail(self) -> tuple[float, ...]:
        return (self._reference_mw, self._factor)


def build(making: Making) -> PriceTaker:
    """From its parameters, in its initial state."""
    params, sigma = Params.model_validate(making.params), making.randomness.price_taker_sigma
    if sigma is not None:
        params = params.model_copy(update={"response_sigma": sigma})
    return PriceTaker(params, making.state, making.seed, f"response:{making.id}")
