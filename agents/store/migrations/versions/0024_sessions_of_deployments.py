"""The deployment that a session is of. See 0002 for the rules.

Of sessions that are there the settled runs tell it; those of open runs were told by nobody before either.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("sessions", sa.Column("deployment_id", KEY, nullable=True))
    op.execute(
        "UPDATE sessions SET deployment_id = "
        "(SELECT deployment_runs.deployment_id FROM deployment_runs WHERE deployment_runs.session_id = sessions.id) "
        "WHERE id IN (SELECT session_id FROM deployment_runs)"
    )
    op.create_index(
        op.f("ix_sessions_deployment_id_created_at_id"),
        "sessions",
        ["deployment_id", "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("deployment_id IS NOT NULL"),
        postgresql_where=sa.text("deployment_id IS NOT NULL"),
    )
