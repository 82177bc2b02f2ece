"""Memory stores, memories and their versions. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "memory_stores",
        sa.Column("id", KEY, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memory_stores")),
    )
    op.create_index(
        op.f("ix_memory_stores_workspace_id_created_at_id"), "memory_stores", ["workspace_id", "created_at", "id"]
    )
    op.create_table(
        "memories",
        sa.Column("id", KEY, nullable=False),
        sa.Column("store_id", KEY, nullable=False),
        sa.Column("version_id", KEY, nullable=False),
        sa.Column("path", KEY, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
        sa.UniqueConstraint("store_id", "path", name=op.f("uq_memories_store_id_path")),
    )
    op.create_table(
        "memory_versions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("store_id", KEY, nullable=False),
        sa.Column("memory_id", KEY, nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("author_kind", sa.Text(), nullable=True),
        sa.Column("author_id", KEY, nullable=True),
        sa.Column("redacted_at", sa.BigInteger(), nullable=True),
        sa.Column("redacted_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memory_versions")),
    )
    for below in ("store_id", "memory_id"):
        columns = [below, "created_at", "id"]
        op.create_index(op.f(f"ix_memory_versions_{below}_created_at_id"), "memory_versions", columns)
    op.create_table(
        "memory_attachments",
        sa.Column("store_id", KEY, nullable=False),
        sa.Column("session_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("store_id", "session_id", name=op.f("pk_memory_attachments")),
    )
