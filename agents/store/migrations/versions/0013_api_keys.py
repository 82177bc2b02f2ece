"""API keys, and the workspaces whose objects they open. See 0002 for the rules.

What there is becomes the default workspace's, and so does what the release before goes on making. Two workspaces may
have environments of one name; the release before still refuses that itself.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
OWNED = ("agents", "environments", "sessions", "vaults")
LIVE = sa.text("archived_at IS NULL")


def upgrade() -> None:
    for table in OWNED:
        op.add_column(table, sa.Column("workspace_id", KEY, server_default="default", nullable=False))
        op.create_index(
            op.f(f"ix_{table}_workspace_id_created_at_id"), table, ["workspace_id", "created_at", "id"], unique=False
        )
    op.create_index(
        "uq_environments_workspace_live_name",
        "environments",
        ["workspace_id", "name"],
        unique=True,
        sqlite_where=LIVE,
        postgresql_where=LIVE,
    )
    op.execute("DROP INDEX uq_environments_live_name")
    op.create_table(
        "api_keys",
        sa.Column("id", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", KEY, nullable=False),
        sa.Column("hint", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_created_at_id"), "api_keys", ["created_at", "id"], unique=False)
