"""The heartbeat before the latest, so that one whose answer was lost can be repeated. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("work_items", sa.Column("previous_heartbeat_at", sa.BigInteger(), nullable=True))
