"""Operating envelopes as received, and keys of those who issue them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "envelopes",
        sa.Column("issuer", sa.String(80), nullable=False),
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.String(27), nullable=False),
        sa.Column("until", sa.String(27), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "id", "revision", name="pk_envelopes"),
    )
    op.create_index("ix_envelopes_received_at", "envelopes", ["received_at"])
    op.create_index("ix_envelopes_until", "envelopes", ["until"])
    op.add_column("keys", sa.Column("issuer", sa.String(80), nullable=True))


def downgrade() -> None:
    op.drop_column("keys", "issuer")
    op.drop_table("envelopes")
