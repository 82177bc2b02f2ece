"""An index of the sessions that are not idle. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_sessions_workspace_id_status_created_at_id"),
        "sessions",
        ["workspace_id", "status", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("status != 'idle'"),
        postgresql_where=sa.text("status != 'idle'"),
    )
