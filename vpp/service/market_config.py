"""The market of a portfolio as data: price, product, fee, deviation, value of stored energy.

Numbers of the demo are an example and labelled so (`example: true`).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vpp.domain.time import QUARTER, Array, TimeGrid, local_time
from vpp.service.inputs import by_local_hour
from vpp.service.moments import WallTime
from vpp.service.yaml_files import Duration, Edge

Hourly = Annotated[tuple[float, ...], Field(min_length=24, max_length=24)]
Band = Literal["valley", "flat", "peak", "sharp"]


class PriceShape(Edge):
    """Expected day-ahead price by local hour; true prices vary by `relative_sigma` around it."""

    hourly_eur_per_mwh: Hourly
    weekend_factor: float = Field(ge=0.0)
    relative_sigma: float = Field(ge=0.0, le=1.0)


class EnergyProduct(Edge):
    """Day-ahead energy of day D: `issue`, `gate` and `award` are local times of D-1.

    Less than `min_mw` in either direction is not offered. The plan on the positions is made at the award.
    """

    product: str
    interval: Duration
    issue: WallTime
    gate: WallTime
    award: WallTime
    share_awarded: float = Field(ge=0.0, le=1.0)
    price_levels: int = Field(ge=2, le=50)
    min_mw: float = Field(ge=0.0)

    @field_validator("interval")
    @classmethod
    def _divides_every_day(cls, value: timedelta) -> timedelta:
        if value not in (QUARTER, 2 * QUARTER, 4 * QUARTER):
            raise ValueError("must be PT15M, PT30M or PT1H: local days have 23, 24 or 25 hours")
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.issue > self.gate:
            raise ValueError("issue lies after the gate")
        if self.award < self.issue:
            raise ValueError("award lies before the issue")
        return self


class GridFee(Edge):
    """Time-of-use fee on consumption: a price per band, and the band of each local hour.

    A fee below zero would pay for consuming and producing at once, which has no exact linear form.
    """

    bands_eur_per_mwh: dict[Band, Annotated[float, Field(ge=0.0)]]
    hourly: Annotated[tuple[Band, ...], Field(min_length=24, max_length=24)]

    @model_validator(mode="after")
    def _bands_are_priced(self) -> Self:
        missing = sorted(set(self.hourly) - self.bands_eur_per_mwh.keys())
        if missing:
            raise ValueError(f"no price for band {', '.join(missing)}")
        return self


class MarketConfig(Edge):
    """Everything a run needs to know of the market.

    `deviation_beta`: a shortfall against the firm position pays price * (1 + beta), a surplus earns
    price * (1 - beta). `stored_energy_eur_per_mwh` values a change of a kind's content.
    """

    example: bool
    currency: str
    day_ahead_price: PriceShape
    energy: EnergyProduct
    deviation_beta: float = Field(ge=0.0, le=1.0)
    grid_fee: GridFee
    stored_energy_eur_per_mwh: dict[str, Annotated[float, Field(ge=0.0)]]

    def expected_price(self, grid: TimeGrid, zone: str) -> Array:
        """Expected day-ahead price per step, EUR/MWh, (T,)."""
        shape = self.day_ahead_price
        return by_local_hour(shape.hourly_eur_per_mwh, grid, zone, shape.weekend_factor)

    def fee(self, grid: TimeGrid, zone: str) -> Array:
        """Grid fee on consumption per step, EUR/MWh, (T,)."""
        return by_local_hour([self.grid_fee.bands_eur_per_mwh[b] for b in self.grid_fee.hourly], grid, zone)

    def issue_at(self, day: date, zone: str) -> datetime:
        """When the bid for local `day` is issued, UTC."""
        return local_time(day - timedelta(days=1), self.energy.issue, zone)

    def gate_at(self, day: date, zone: str) -> datetime:
        """When the bid for local `day` becomes binding, UTC."""
        return local_time(day - timedelta(days=1), self.energy.gate, zone)

    def award_at(self, day: date, zone: str) -> datetime:
        """When the simulated market answers the bid for local `day`, UTC."""
        return local_time(day - timedelta(days=1), self.energy.award, zone)
