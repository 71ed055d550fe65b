"""Messages of UFTP, and what was traded by them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("uftp_messages", "flex_trades")


def upgrade() -> None:
    op.create_table(
        "uftp_messages",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("incoming", sa.Boolean(), nullable=False),
        sa.Column("peer", sa.String(255), nullable=False),
        sa.Column("message_id", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("conversation_id", sa.String(80), nullable=False),
        sa.Column("answer_to", sa.Integer()),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.String(27)),
        sa.Column("done_at", sa.String(27)),
        sa.PrimaryKeyConstraint("number", name="pk_uftp_messages"),
        sa.UniqueConstraint(
            "incoming", "peer", "message_id", "digest", name="uq_uftp_messages_incoming_peer_message_id_digest"
        ),
    )
    op.create_index("ix_uftp_messages_status", "uftp_messages", ["status"])
    op.create_table(
        "flex_trades",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("congestion_point", sa.String(80), nullable=False),
        sa.Column("peer", sa.String(255), nullable=False),
        sa.Column("start", sa.String(27), nullable=False),
        sa.Column("end", sa.String(27), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_flex_trades"),
    )
    op.create_index("ix_flex_trades_kind_start", "flex_trades", ["kind", "start"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
