"""The tables. `HEAD` is the migration that creates exactly these.

runs 1-n setpoints 1-1 outbox; cycles make a stage run unique; sequences number the set-points of a
device within an epoch. Trajectories are JSON text in `body`: they are read as a whole or not at all.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from adapters.store.types import Money, UtcTime

HEAD = "0004"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

cycles = Table(
    "cycles", metadata,
    Column("stage", String(40), primary_key=True),
    Column("cycle_start", UtcTime, primary_key=True),
    Column("claimed_at", UtcTime, nullable=False),
    Column("status", String(40)),
    Column("run_id", String(80)),
)  # fmt: skip

runs = Table(
    "runs", metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(80), nullable=False, unique=True),
    Column("stage", String(40), nullable=False),
    Column("purpose", String(40), nullable=False),
    Column("cycle_start", UtcTime, nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("level", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("objective", Float),
    Column("verdict", String(20)),
    Column("inputs_digest", String(80), nullable=False),
    Column("released", Boolean, nullable=False),
    Column("released_by", String(120)),
    Column("released_at", UtcTime),
    Column("wall_s", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "stage", "issued_at"),
)  # fmt: skip

epochs = Table(
    "epochs", metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("started_at", UtcTime, nullable=False),
)  # fmt: skip

sequences = Table(
    "sequences", metadata,
    Column("asset_id", String(80), primary_key=True),
    Column("epoch", ForeignKey("epochs.epoch"), primary_key=True),
    Column("last", Integer, nullable=False),
)  # fmt: skip

setpoints = Table(
    "setpoints", metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(120), nullable=False, unique=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("asset_id", String(80), nullable=False),
    Column("quantity", String(24), nullable=False),
    Column("value", Float, nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("valid_from", UtcTime, nullable=False),
    Column("valid_until", UtcTime, nullable=False),
    Column("epoch", ForeignKey("epochs.epoch"), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("source", String(80), nullable=False),
    UniqueConstraint("asset_id", "epoch", "sequence"),
)  # fmt: skip

outbox = Table(
    "outbox", metadata,
    Column("setpoint_id", ForeignKey("setpoints.id"), primary_key=True),
    Column("status", String(20), nullable=False, index=True),
    Column("claimed_at", UtcTime),
    Column("attempts", Integer, nullable=False),
    Column("done_at", UtcTime),
    Column("readback", Float),
    Column("reason", Text, nullable=False),
)  # fmt: skip

meters = Table(
    "meters", metadata,
    Column("point", String(120), primary_key=True),
    Column("minutes", Integer, primary_key=True, autoincrement=False),
    Column("start", UtcTime, primary_key=True),
    Column("mw", Float, nullable=False),
    Column("known_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip


def _reading() -> list[Column[object]]:
    return [
        Column("power_mw", Float, nullable=False),
        Column("q_mvar", Float, nullable=False),
        Column("stored_mwh", Float, nullable=False),
        Column("on", Boolean, nullable=False),
        Column("available", Boolean, nullable=False),
        Column("minutes_in_state", Integer, nullable=False),
        Column("in_default", Boolean, nullable=False),
        Column("setpoint_sequence", Integer, nullable=False),
    ]


telemetry = Table(
    "telemetry", metadata,
    Column("asset_id", String(80), primary_key=True),
    Column("at", UtcTime, primary_key=True),
    *_reading(),
    sqlite_with_rowid=False,
)  # fmt: skip

states = Table(
    "states", metadata,
    Column("asset_id", String(80), primary_key=True),
    Column("at", UtcTime, nullable=False),
    *_reading(),
    Column("known_at", UtcTime, nullable=False),
)  # fmt: skip

bids = Table(
    "bids", metadata,
    Column("id", String(80), primary_key=True),
    Column("unit", String(80), nullable=False),
    Column("product", String(80), nullable=False),
    Column("gate", UtcTime, nullable=False),
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "unit", "start"),
)  # fmt: skip

positions = Table(
    "positions", metadata,
    Column("unit", String(80), primary_key=True),
    Column("product", String(80), primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("end", UtcTime, nullable=False),
    Column("mw", Float, nullable=False),
    Column("price_eur_per_mwh", Float, nullable=False),
    Column("gate", UtcTime, nullable=False),
    Column("firm", Boolean, nullable=False),
)  # fmt: skip

prices = Table(
    "prices", metadata,
    Column("product", String(80), primary_key=True),
    Column("start", UtcTime, primary_key=True),
    Column("minutes", Integer, nullable=False),
    Column("price_eur_per_mwh", Float, nullable=False),
    Column("known_at", UtcTime, nullable=False),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("id", String(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("programme", String(80), nullable=False),
    Column("congestion_point", String(80), nullable=False),
    Column("called_at", UtcTime, nullable=False),
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("mw", Float, nullable=False),
    Column("price_eur_per_mwh", Money, nullable=False),
    Column("penalty_eur_per_mwh", Money, nullable=False),
    Column("accept_by", UtcTime, nullable=False),
    Column("status", String(20), nullable=False),
    Column("test", Boolean, nullable=False),
)  # fmt: skip

offers = Table(
    "offers", metadata,
    Column("id", String(80), primary_key=True),
    Column("event", String(80), nullable=False, index=True),
    Column("site", String(80), nullable=False),
    Column("body", Text, nullable=False),
)  # fmt: skip

acceptances = Table(
    "acceptances", metadata,
    Column("event", String(80), primary_key=True),
    Column("site", String(80), primary_key=True),
    Column("body", Text, nullable=False),
)  # fmt: skip

statements = Table(
    "statements", metadata,
    Column("event", String(80), primary_key=True),
    Column("body", Text, nullable=False),
)  # fmt: skip

proposals = Table(
    "proposals", metadata,
    Column("id", String(80), primary_key=True),
    Column("asset_id", String(80), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "end", "start"),
)  # fmt: skip

keys = Table(
    "keys", metadata,
    Column("id", String(40), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("site", String(80)),
    Column("issuer", String(80)),
    Column("label", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
)  # fmt: skip

envelopes = Table(
    "envelopes", metadata,
    Column("issuer", String(80), primary_key=True),
    Column("id", String(80), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("received_at", UtcTime, nullable=False, index=True),
    Column("until", UtcTime, nullable=False, index=True),
    Column("body", Text, nullable=False),
)  # fmt: skip

settings = Table(
    "settings", metadata,
    Column("key", String(120), primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip

jobs = Table(
    "jobs", metadata,
    Column("id", String(40), primary_key=True),
    Column("kind", String(80), nullable=False),
    Column("status", String(20), nullable=False),
    Column("progress", Float, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("request", Text, nullable=False),
    Column("result", Text),
    Column("error", Text),
)  # fmt: skip

alarms = Table(
    "alarms", metadata,
    Column("number", Integer, primary_key=True),
    Column("code", String(80), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("message", Text, nullable=False),
    Column("run_id", String(80)),
    Column("raised_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("count", Integer, nullable=False),
    Column("acked_by", String(120)),
    Column("acked_at", UtcTime),
    Index(None, "acked_at", "code"),
)  # fmt: skip

models = Table(
    "models", metadata,
    Column("digest", String(80), primary_key=True),
    Column("stage", String(40), nullable=False),
    Column("until", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("blob", LargeBinary, nullable=False),
    Index(None, "stage", "until"),
)  # fmt: skip

forecasts = Table(
    "forecasts", metadata,
    Column("digest", String(80), primary_key=True),
    Column("issued_at", UtcTime, primary_key=True),
    Column("start", UtcTime, nullable=False),
    Column("quarters", Integer, nullable=False),
    Column("scenarios", Integer, nullable=False),
    Column("archive_until", UtcTime, nullable=False),
    Column("models", Text, nullable=False),
)  # fmt: skip

run_forecasts = Table(
    "run_forecasts", metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("digest", String(80), nullable=False),
    Column("issued_at", UtcTime, nullable=False),
)  # fmt: skip

forecast_days = Table(
    "forecast_days", metadata,
    Column("day", UtcTime, primary_key=True),
    Column("end", UtcTime, nullable=False),
    Column("issued_at", UtcTime, nullable=False),
    Column("body", Text, nullable=False),
    Column("blob", LargeBinary, nullable=False),
)  # fmt: skip

forecast_scores = Table(
    "forecast_scores", metadata,
    Column("series", String(120), primary_key=True),
    Column("day", UtcTime, primary_key=True, index=True),
    Column("body", Text, nullable=False),
)  # fmt: skip

uftp_messages = Table(
    "uftp_messages", metadata,
    Column("number", Integer, primary_key=True),
    Column("incoming", Boolean, nullable=False),
    Column("peer", String(255), nullable=False),
    Column("message_id", String(80), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("kind", String(60), nullable=False),
    Column("conversation_id", String(80), nullable=False),
    Column("answer_to", Integer),
    Column("at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("status", String(20), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcTime),
    Column("done_at", UtcTime),
    UniqueConstraint("incoming", "peer", "message_id", "digest"),
)  # fmt: skip

flex_trades = Table(
    "flex_trades", metadata,
    Column("id", String(80), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("congestion_point", String(80), nullable=False),
    Column("peer", String(255), nullable=False),
    Column("start", UtcTime, nullable=False),
    Column("end", UtcTime, nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("body", Text, nullable=False),
    Index(None, "kind", "start"),
)  # fmt: skip
