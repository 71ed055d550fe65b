"""What a portfolio says about its network, validated at the edge."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ContingencyKind = Literal["one_transformer_out", "planned_switching", "n_minus_one", "reswitching"]


class EmergencyRating(BaseModel):
    """What lines and transformers may carry after an outage, in % of their rating, and for how long.

    The defaults, 120 % for 30 minutes, are what grid operators commonly admit until the system is
    re-dispatched; a data set that names none says nothing about its equipment, so state your own. Never
    less than the normal limit of an element.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    line_pct: float = Field(default=120.0, ge=100.0, le=200.0)
    trafo_pct: float = Field(default=120.0, ge=100.0, le=200.0)
    minutes: float = Field(default=30.0, gt=0.0)


class NetworkSpec(BaseModel):
    """Where the network comes from and what the importer may assume.

    Exactly one of `simbench` (a SimBench code), `pandapower` (a network of `pandapower.networks`, such as
    case118) and `file` (a pandapower JSON file) is given. `load_growth` multiplies loads, never
    generation. `tap_changer: ratio` types transformers that carry tap data and no tap type; without it
    they are refused. `tap_dead_band_pu` is the half width of the band around the voltage set-point in
    which an automatic tap rests, and `tap_set_point_pu` that set-point, where the network does not state
    them; without any set-point it is refused. `tap_delay_minutes` is how long a voltage lies outside
    before a tap moves. `own_generation` are the static generators (indices) left out of the background
    because they are assets of ours; `drop_storage` leaves storages out, otherwise a network that has any
    is refused. `contingencies` are those that a plan must survive to be certified clean; one transformer
    out and planned switching states are looked at and listed in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    simbench: str | None = None
    file: str | None = None
    pandapower: str | None = None
    load_growth: float = Field(default=1.0, ge=0.0)
    tap_changer: Literal["ratio"] | None = None
    tap_dead_band_pu: float = Field(default=0.01, gt=0.0, le=0.1)
    tap_set_point_pu: float | None = Field(default=None, gt=0.5, lt=1.5)
    tap_delay_minutes: float = Field(default=0.0, ge=0.0, le=60.0)
    emergency: EmergencyRating = EmergencyRating()
    own_generation: list[int] = Field(default_factory=list)
    drop_storage: bool = False
    contingencies: tuple[ContingencyKind, ...] = ()

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.simbench, self.file, self.pandapower)) != 1:
            raise ValueError("exactly one of simbench, file and pandapower is needed")
        return self
