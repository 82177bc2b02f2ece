"""Versions of brains: what they are, how sessions are dealt out among them, how they do. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "brain_versions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_brain_versions")),
    )
    op.create_table(
        "brain_splits",
        sa.Column("name", KEY, nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_brain_splits")),
    )
    op.create_table(
        "brain_outcomes",
        sa.Column("brain", KEY, nullable=False),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("slow", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("brain", "moment", name=op.f("pk_brain_outcomes")),
    )
