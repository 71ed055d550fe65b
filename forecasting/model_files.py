"""What was learnt, as bytes: one zip archive a stage, one entry a series, and a card that says what they are.

Equal models give equal bytes: entries carry no time of writing.

A file is written beside its final name and moved there, so a reader sees a whole file or none. In a folder of
files named by digest, models are found again by what they learnt from; the oldest files beyond a few go.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict

from forecasting.calendar import Calendar
from forecasting.codec import decoded, encoded
from forecasting.features import NAMES
from forecasting.fitted import Fitted
from forecasting.past_scores import PastScores
from forecasting.training import Stage, Trained, scheme_of
from vpp.domain.forecast import LEVELS
from vpp.domain.learnt import ModelRecord, TrialScore
from vpp.domain.time import Array

KEPT_A_STAGE = 6
UNREADABLE = (BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, TypeError, ValueError)
"""What a damaged archive or another version's raises on reading, by where the damage is: a `ValidationError` is a
ValueError, an unknown compression or an encrypted entry a RuntimeError."""


class Bound(BaseModel):
    """A series and its physical bounds; null is no bound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    lower: float | None
    upper: float | None


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
    series: tuple[Bound, ...]
    trials: dict[str, TrialScore] = {}
    sum_offset: tuple[float, ...]


def packed(trained: Trained, calendar: Calendar) -> bytes:
    """`trained` as the bytes of an archive."""
    card = Card(
        stage=trained.stage, digest=trained.digest, until=trained.until, zone=calendar.zone,
        latitude=calendar.latitude, longitude=calendar.longitude, levels=LEVELS, features=NAMES,
        series=tuple(_bound(name, fitted) for name, fitted in trained.fitted.items()), trials=dict(trained.trials),
        sum_offset=trained.sum_offset,
    )  # fmt: skip
    whole = io.BytesIO()
    with ZipFile(whole, "w") as archive:
        _add(archive, "card.json", card.model_dump_json(indent=2))
        for i, (name, fitted) in enumerate(trained.fitted.items()):
            arrays: list[Array] = []
            errors = (trained.errors[name],) if name in trained.errors else ()
            parts = (fitted.models, fitted.blend, fitted.condition, fitted.tracker, errors)
            _add(archive, f"{i}.json", json.dumps([encoded(p, arrays) for p in parts]))
            beside = io.BytesIO()
            np.savez(beside, *arrays)
            _add(archive, f"{i}.npz", beside.getvalue())
    return whole.getvalue()


def unpacked(blob: bytes) -> tuple[Card, Trained]:
    """What `packed` made. Raises one of `UNREADABLE` where it is damaged."""
    with ZipFile(io.BytesIO(blob)) as archive:
        card = Card.model_validate_json(archive.read("card.json"))
        made = {bound.id: _learnt(card.stage, bound, archive, i) for i, bound in enumerate(card.series)}
    fitted, errors = {name: f for name, (f, _) in made.items()}, {name: e[0] for name, (_, e) in made.items() if e}
    return card, Trained(card.stage, card.digest, card.until, fitted, card.trials, errors, card.sum_offset)


def record(trained: Trained, calendar: Calendar) -> ModelRecord:
    """`trained` as a row of a registry."""
    return ModelRecord(
        trained.digest, trained.stage, trained.until, NAMES, LEVELS, tuple(trained.fitted), trained.trials,
        packed(trained, calendar),
    )  # fmt: skip


def write(path: Path, trained: Trained, calendar: Calendar) -> None:
    """Write `trained` to `path`, replacing it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(packed(trained, calendar))
    partial.replace(path)


def read(path: Path) -> tuple[Card, Trained]:
    """What `write` wrote. Raises FileNotFoundError, or one of `UNREADABLE` where it is damaged."""
    return unpacked(path.read_bytes())


def _add(archive: ZipFile, name: str, content: str | bytes) -> None:
    archive.writestr(ZipInfo(name), content, ZIP_DEFLATED, 1)


def _bound(name: str, fitted: Fitted) -> Bound:
    lower, upper = fitted.scheme.bounds.lower, fitted.scheme.bounds.upper
    return Bound(id=name, lower=lower if np.isfinite(lower) else None, upper=upper if np.isfinite(upper) else None)


def _learnt(stage: Stage, bound: Bound, archive: ZipFile, i: int) -> tuple[Fitted, tuple[PastScores, ...]]:
    with np.load(io.BytesIO(archive.read(f"{i}.npz")), allow_pickle=False) as beside:
        arrays = {k: beside[f"arr_{k}"] for k in range(len(beside.files))}
    models, blend, condition, tracker, errors = (decoded(t, arrays) for t in json.loads(archive.read(f"{i}.json")))
    lower = -np.inf if bound.lower is None else bound.lower
    upper = np.inf if bound.upper is None else bound.upper
    return Fitted(scheme_of(stage, lower, upper), LEVELS, models, blend, condition, tracker), errors


def keep(folder: Path, trained: Trained, calendar: Calendar) -> None:
    """Add `trained` to `folder` under its digest and drop the oldest files of its stage beyond a few."""
    write(folder / f"{trained.stage}-{trained.digest}.zip", trained, calendar)
    aged = sorted(folder.glob(f"{trained.stage}-*.zip"), key=lambda p: p.stat().st_mtime)
    for old in aged[:-KEPT_A_STAGE]:
        old.unlink(missing_ok=True)


def find(folder: Path, stage: Stage, digest: str) -> Trained | None:
    """The models of `stage` that learnt from the data of `digest`; None where they are missing, damaged or others."""
    try:
        trained = read(folder / f"{stage}-{digest}.zip")[1]
    except (OSError, *UNREADABLE):
        return None
    return trained if (trained.stage, trained.digest) == (stage, digest) else None
