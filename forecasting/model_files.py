"""Trained models on disk: one zip file a stage, LightGBM's own model texts and a card that says what they are.

A file is written beside its final name and moved there, so a reader sees a whole file or none. In a folder of
files named by digest, models are found again by what they learnt from; the oldest files beyond a few go.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from forecasting import lightgbm_quantiles as boosting
from forecasting.calendar import Calendar
from forecasting.training import FEATURES, Stage, Trained
from vpp.domain.forecast import LEVELS

KEPT_A_STAGE = 6


class Card(BaseModel):
    """What the models of a file are: their stage, what they learnt from, until when, and where they hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: Stage
    digest: str
    until: AwareDatetime
    zone: str
    latitude: float
    longitude: float
    levels: tuple[float, ...]
    features: tuple[str, ...]
    series: tuple[str, ...]


def write(path: Path, trained: Trained, calendar: Calendar) -> None:
    """Write `trained` to `path`, replacing it at once."""
    card = Card(
        stage=trained.stage, digest=trained.digest, until=trained.until, zone=calendar.zone,
        latitude=calendar.latitude, longitude=calendar.longitude, levels=LEVELS,
        features=FEATURES[trained.stage], series=tuple(trained.models),
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with ZipFile(partial, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("card.json", card.model_dump_json(indent=2))
        for i, model in enumerate(trained.models.values()):
            archive.writestr(f"{i}.json", json.dumps(boosting.to_texts(model)))
    partial.replace(path)


def read(path: Path) -> tuple[Card, Trained]:
    """What `write` wrote. Raises FileNotFoundError, BadZipFile or ValidationError."""
    with ZipFile(path) as archive:
        card = Card.model_validate_json(archive.read("card.json"))
        models = {
            name: boosting.from_texts(json.loads(archive.read(f"{i}.json"))) for i, name in enumerate(card.series)
        }
    return card, Trained(card.stage, card.digest, card.until, models)


def keep(folder: Path, trained: Trained, calendar: Calendar) -> None:
    """Add `trained` to `folder` under its digest and drop the oldest files of its stage beyond a few."""
    write(folder / f"{trained.stage}-{trained.digest}.zip", trained, calendar)
    aged = sorted(folder.glob(f"{trained.stage}-*.zip"), key=lambda p: p.stat().st_mtime)
    for old in aged[:-KEPT_A_STAGE]:
        old.unlink(missing_ok=True)


def find(folder: Path, stage: Stage, digest: str) -> Trained | None:
    """The models of `stage` that learnt from the data of `digest`; None where they are missing or damaged."""
    try:
        return read(folder / f"{stage}-{digest}.zip")[1]
    except (FileNotFoundError, BadZipFile, ValidationError):
        return None
