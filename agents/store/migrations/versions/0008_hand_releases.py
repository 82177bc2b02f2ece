"""Versions of hands: how sessions are dealt out among them, how their calls went. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "hand_splits",
        sa.Column("name", KEY, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hand_splits")),
    )
    op.create_table(
        "hand_outcomes",
        sa.Column("hand", KEY, nullable=False),
        sa.Column("span", sa.BigInteger(), nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("outcome", KEY, nullable=False),
        sa.Column("latency", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hand", "span", "moment", "outcome", "latency", name=op.f("pk_hand_outcomes")),
    )
    op.create_index(op.f("ix_hand_outcomes_span_moment"), "hand_outcomes", ["span", "moment"])
