"""Members and their generations, stamps of commits, sessions that are deleted but not yet cleared away.

Only additions, all of them with a default: the release before goes on working on this schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("name", KEY, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_members")),
    )
    op.create_table(
        "deleted_sessions",
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("stamp", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_deleted_sessions")),
    )
    op.create_index(op.f("ix_deleted_sessions_partition"), "deleted_sessions", ["partition"], unique=False)
    op.add_column("sessions", sa.Column("stamp", sa.Text(), nullable=True))
