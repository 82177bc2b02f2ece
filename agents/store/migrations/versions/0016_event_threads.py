"""The thread that an event is of. See 0002 for the rules; an event without one is the primary thread's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("events", sa.Column("thread_id", KEY, nullable=True))
    op.add_column("events", sa.Column("crossposted", sa.Integer(), nullable=True))
    op.add_column("queue", sa.Column("thread_id", KEY, nullable=True))
    op.create_index(
        op.f("ix_events_session_id_thread_id_seq"),
        "events",
        ["session_id", "thread_id", "seq"],
        sqlite_where=sa.text("thread_id IS NOT NULL"),
        postgresql_where=sa.text("thread_id IS NOT NULL"),
    )
