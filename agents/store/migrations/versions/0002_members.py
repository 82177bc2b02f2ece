"""Members and their generations, stamps of commits, sessions that are deleted but not yet cleared away.

Migrations only expand: tables, indexes, and columns that may be null or have a default. So the release
before goes on working on this schema, and ``schema_info`` says so: processes whose own schema is
``compatible_since`` or later may use the database. A migration that ends the service for older releases
sets it to its own revision, and comes a release after the last code that needed the old form.
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
    schema_info = op.create_table(
        "schema_info",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("compatible_since", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_info")),
    )
    op.bulk_insert(schema_info, [{"id": 1, "compatible_since": "0001"}])
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
    if op.get_bind().dialect.name == "postgresql":
        # Every commit rewrites a session's row; with room in its page it needs no new entry in any index.
        op.execute("ALTER TABLE sessions SET (fillfactor = 50)")
