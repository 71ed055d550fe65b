"""What a portfolio says about its network, validated at the edge."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class NetworkSpec(BaseModel):
    """Where the network comes from and what the importer may assume.

    Exactly one of `simbench` (a SimBench code) and `file` (a pandapower JSON file) is given.
    `load_growth` multiplies loads, never generation. `tap_changer: ratio` types transformers that
    carry tap data and no tap type; without it they are refused. `tap_dead_band_pu` is the half
    width of the band around the voltage set-point in which a tap rests. `own_generation` are the
    static generators (indices) left out of the background because they are assets of ours;
    `drop_storage` leaves storages out, otherwise a network that has any is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    simbench: str | None = None
    file: str | None = None
    load_growth: float = Field(default=1.0, ge=0.0)
    tap_changer: Literal["ratio"] | None = None
    tap_dead_band_pu: float = Field(default=0.01, gt=0.0, le=0.1)
    own_generation: list[int] = Field(default_factory=list)
    drop_storage: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.simbench is None) == (self.file is None):
            raise ValueError("exactly one of simbench and file is needed")
        return self
