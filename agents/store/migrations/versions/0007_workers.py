"""Keys of environments, and the queue of work for workers elsewhere. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "environment_keys",
        sa.Column("id", KEY, nullable=False),
        sa.Column("environment_id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_environment_keys_digest")),
    )
    op.create_index(
        op.f("ix_environment_keys_environment_id_created_at_id"),
        "environment_keys",
        ["environment_id", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "work_items",
        sa.Column("id", KEY, nullable=False),
        sa.Column("environment_id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("available_at", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("latest_heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("ttl_seconds", sa.Integer(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("stop_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_seq", sa.BigInteger(), nullable=True),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("tokens", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_items")),
    )
    op.create_index(
        op.f("ix_work_items_environment_id_created_at_id"),
        "work_items",
        ["environment_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_work_items_session_id"), "work_items", ["session_id"], unique=False)
    op.create_index(
        "uq_work_items_live_session",
        "work_items",
        ["session_id"],
        unique=True,
        sqlite_where=sa.text("state != 'stopped'"),
        postgresql_where=sa.text("state != 'stopped'"),
    )
    op.create_index(
        "ix_work_items_live",
        "work_items",
        ["environment_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("state != 'stopped'"),
        postgresql_where=sa.text("state != 'stopped'"),
    )
    op.create_table(
        "work_pollers",
        sa.Column("environment_id", KEY, nullable=False),
        sa.Column("worker_id", KEY, nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("environment_id", "worker_id", name=op.f("pk_work_pollers")),
    )
