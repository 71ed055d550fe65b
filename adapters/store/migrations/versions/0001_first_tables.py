"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "cycles",
    "runs",
    "epochs",
    "sequences",
    "setpoints",
    "outbox",
    "meters",
    "telemetry",
    "states",
    "bids",
    "positions",
    "prices",
    "events",
    "offers",
    "acceptances",
    "statements",
    "proposals",
    "keys",
    "settings",
    "jobs",
    "alarms",
)


def upgrade() -> None:
    _runs()
    _commands()
    _meters()
    _market()
    _events()
    _records()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _runs() -> None:
    op.create_table(
        "cycles",
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("cycle_start", sa.String(27), nullable=False),
        sa.Column("claimed_at", sa.String(27), nullable=False),
        sa.Column("status", sa.String(40)),
        sa.Column("run_id", sa.String(80)),
        sa.PrimaryKeyConstraint("stage", "cycle_start", name="pk_cycles"),
    )
    op.create_table(
        "runs",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("purpose", sa.String(40), nullable=False),
        sa.Column("cycle_start", sa.String(27), nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("level", sa.String(40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("objective", sa.Float()),
        sa.Column("verdict", sa.String(20)),
        sa.Column("inputs_digest", sa.String(80), nullable=False),
        sa.Column("released", sa.Boolean(), nullable=False),
        sa.Column("released_by", sa.String(120)),
        sa.Column("released_at", sa.String(27)),
        sa.Column("wall_s", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_runs"),
        sa.UniqueConstraint("id", name="uq_runs_id"),
    )
    op.create_index("ix_runs_stage_issued_at", "runs", ["stage", "issued_at"])


def _commands() -> None:
    op.create_table(
        "epochs",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name="pk_epochs"),
    )
    op.create_table(
        "sequences",
        sa.Column("asset_id", sa.String(80), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["epoch"], ["epochs.epoch"], name="fk_sequences_epoch"),
        sa.PrimaryKeyConstraint("asset_id", "epoch", name="pk_sequences"),
    )
    op.create_table(
        "setpoints",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(120), nullable=False),
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("asset_id", sa.String(80), nullable=False),
        sa.Column("quantity", sa.String(24), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("valid_from", sa.String(27), nullable=False),
        sa.Column("valid_until", sa.String(27), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(80), nullable=False),
        sa.ForeignKeyConstraint(["epoch"], ["epochs.epoch"], name="fk_setpoints_epoch"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_setpoints_run_id"),
        sa.PrimaryKeyConstraint("number", name="pk_setpoints"),
        sa.UniqueConstraint("asset_id", "epoch", "sequence", name="uq_setpoints_asset_id_epoch_sequence"),
        sa.UniqueConstraint("id", name="uq_setpoints_id"),
    )
    op.create_index("ix_setpoints_run_id", "setpoints", ["run_id"])
    op.create_table(
        "outbox",
        sa.Column("setpoint_id", sa.String(120), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("claimed_at", sa.String(27)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.String(27)),
        sa.Column("readback", sa.Float()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["setpoint_id"], ["setpoints.id"], name="fk_outbox_setpoint_id"),
        sa.PrimaryKeyConstraint("setpoint_id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_status", "outbox", ["status"])


def _meters() -> None:
    op.create_table(
        "meters",
        sa.Column("point", sa.String(120), nullable=False),
        sa.Column("minutes", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("mw", sa.Float(), nullable=False),
        sa.Column("known_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("point", "minutes", "start", name="pk_meters"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "telemetry",
        sa.Column("asset_id", sa.String(80), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("power_mw", sa.Float(), nullable=False),
        sa.Column("q_mvar", sa.Float(), nullable=False),
        sa.Column("stored_mwh", sa.Float(), nullable=False),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("minutes_in_state", sa.Integer(), nullable=False),
        sa.Column("in_default", sa.Boolean(), nullable=False),
        sa.Column("setpoint_sequence", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("asset_id", "at", name="pk_telemetry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "states",
        sa.Column("asset_id", sa.String(80), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("power_mw", sa.Float(), nullable=False),
        sa.Column("q_mvar", sa.Float(), nullable=False),
        sa.Column("stored_mwh", sa.Float(), nullable=False),
        sa.Column("on", sa.Boolean(), nullable=False),
        sa.Column("available", sa.Boolean(), nullable=False),
        sa.Column("minutes_in_state", sa.Integer(), nullable=False),
        sa.Column("in_default", sa.Boolean(), nullable=False),
        sa.Column("setpoint_sequence", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("asset_id", name="pk_states"),
    )


def _market() -> None:
    op.create_table(
        "bids",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("unit", sa.String(80), nullable=False),
        sa.Column("product", sa.String(80), nullable=False),
        sa.Column("gate", sa.String(27), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bids"),
    )
    op.create_index("ix_bids_unit_start", "bids", ["unit", "start"])
    op.create_table(
        "positions",
        sa.Column("unit", sa.String(80), nullable=False),
        sa.Column("product", sa.String(80), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("mw", sa.Float(), nullable=False),
        sa.Column("price_eur_per_mwh", sa.Float(), nullable=False),
        sa.Column("gate", sa.String(27), nullable=False),
        sa.Column("firm", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "product", "start", name="pk_positions"),
    )
    op.create_table(
        "prices",
        sa.Column("product", sa.String(80), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("price_eur_per_mwh", sa.Float(), nullable=False),
        sa.Column("known_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("product", "start", name="pk_prices"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("programme", sa.String(80), nullable=False),
        sa.Column("congestion_point", sa.String(80), nullable=False),
        sa.Column("called_at", sa.String(27), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("mw", sa.Float(), nullable=False),
        sa.Column("price_eur_per_mwh", sa.String(40), nullable=False),
        sa.Column("penalty_eur_per_mwh", sa.String(40), nullable=False),
        sa.Column("accept_by", sa.String(27), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version", name="pk_events"),
    )
    op.create_table(
        "offers",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("event", sa.String(80), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_offers"),
    )
    op.create_index("ix_offers_event", "offers", ["event"])
    op.create_table(
        "acceptances",
        sa.Column("event", sa.String(80), nullable=False),
        sa.Column("site", sa.String(80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event", "site", name="pk_acceptances"),
    )
    op.create_table(
        "statements",
        sa.Column("event", sa.String(80), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("event", name="pk_statements"),
    )
    op.create_table(
        "proposals",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("asset_id", sa.String(80), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("cancelled", sa.Boolean(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_proposals"),
    )
    op.create_index("ix_proposals_end_start", "proposals", ["end", "start"])


def _records() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("site", sa.String(80)),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("revoked_at", sa.String(27)),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.String(120), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(80), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("updated_at", sa.String(27), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("result", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_table(
        "alarms",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(80), nullable=False),
        sa.Column("severity", sa.String(20), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("run_id", sa.String(80)),
        sa.Column("raised_at", sa.String(27), nullable=False),
        sa.Column("last_at", sa.String(27), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("acked_by", sa.String(120)),
        sa.Column("acked_at", sa.String(27)),
        sa.PrimaryKeyConstraint("number", name="pk_alarms"),
    )
    op.create_index("ix_alarms_acked_at_code", "alarms", ["acked_at", "code"])
