"""How forecasts did against the seasonal naive, as meters told, and which models make them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict

from forecasting.live_scores import over_window
from vpp.domain.forecast import LEVELS
from vpp.service.api.access import OperatorDep
from vpp.service.api.context import ApiDep
from vpp.service.api.problems import answers
from vpp.service.learning import DRIFT

router = APIRouter(prefix="/v1", tags=["trade"])


class SeriesScoreModel(BaseModel):
    """Mean pinball loss in the unit of the series over `n` quarters; `coverage` is the share of outcomes inside the
    central band of 50, 80 and 90 %, `reliability` the share below the quantile of each level."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "source": "blend", "pinball": 0.021, "pinball_naive": 0.034,
                "coverage": {"50": 0.51, "80": 0.79, "90": 0.9},
                "reliability": {"0.05": 0.06, "0.5": 0.49, "0.95": 0.95},
                "n": 672, "drifted": False, "trained_until": "2016-07-12T07:00:00Z",
            }
        }
    )  # fmt: skip

    source: str
    pinball: float
    pinball_naive: float
    coverage: dict[str, float]
    reliability: dict[str, float]
    n: int
    drifted: bool
    trained_until: datetime | None


class ScoresModel(BaseModel):
    """Scores by series of the day-ahead forecasts of the last `days` days; `worse` and `overconfident` are those of
    the alarms: the naive was better, the 90 % band covers under 80 %."""

    days: int
    series: dict[str, SeriesScoreModel]
    worse: list[str]
    overconfident: list[str]


class TrainingModel(BaseModel):
    """One training: what it learnt from by digest, until when, with which features, and how its trial went."""

    digest: str
    stage: str
    until: datetime
    features: list[str]
    levels: list[float]
    series: list[str]
    trials: dict[str, Any]


@router.get("/forecasts/scores", summary="Live scores of forecasts", response_model=ScoresModel,
            responses=answers(401, 403, 422))  # fmt: skip
def scores(api: ApiDep, _: OperatorDep, days: Annotated[int, Query(ge=1, le=28)] = 7) -> Any:
    """Every series whose outcomes have come; empty before the first day that was forecast has ended."""
    now = api.clock()
    found = over_window(api.store.forecasts.scores(now - timedelta(days=days), now))
    trained = {name: m.until for m in reversed(api.store.models.list("day_ahead", 1)) for name in m.series}
    drifted = set(api.store.settings.get(DRIFT, []))
    return ScoresModel(
        days=days, worse=[name for name, s in found.items() if s.worse],
        overconfident=[name for name, s in found.items() if s.overconfident],
        series={
            name: SeriesScoreModel(
                source=s.source, pinball=s.pinball, pinball_naive=s.pinball_naive, coverage=dict(s.coverage),
                reliability={f"{a:g}": r for a, r in zip(LEVELS, s.reliability, strict=True)},
                n=s.n, drifted=name in drifted, trained_until=trained.get(name),
            )
            for name, s in found.items()
        },
    )  # fmt: skip


@router.get("/forecasts/models", summary="Trained models", response_model=list[TrainingModel],
            responses=answers(401, 403, 422))  # fmt: skip
def models(api: ApiDep, _: OperatorDep, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Any:
    """The registry, the newest training first."""
    return [
        TrainingModel(**{**vars(m), "trials": {name: vars(t) for name, t in m.trials.items()}})
        for m in api.store.models.list(limit=limit)
    ]
