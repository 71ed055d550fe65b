"""Trained models, how forecasts were made, and how they scored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("models", "forecasts", "run_forecasts", "forecast_days", "forecast_scores")


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("stage", sa.String(40), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_models"),
    )
    op.create_index("ix_models_stage_until", "models", ["stage", "until"])
    op.create_table(
        "forecasts",
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("quarters", sa.Integer(), nullable=False),
        sa.Column("scenarios", sa.Integer(), nullable=False),
        sa.Column("archive_until", sa.String(27), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "issued_at", name="pk_forecasts"),
    )
    op.create_table(
        "run_forecasts",
        sa.Column("run_id", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_forecasts_run_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_forecasts"),
    )
    op.create_table(
        "forecast_days",
        sa.Column("day", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("blob", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_forecast_days"),
    )
    op.create_table(
        "forecast_scores",
        sa.Column("series", sa.String(120), nullable=False),
        sa.Column("day", sa.String(27), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series", "day", name="pk_forecast_scores"),
    )
    op.create_index("ix_forecast_scores_day", "forecast_scores", ["day"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
