"""The meter by time: what was spent in the last hour is asked for every few seconds; see 0002 for the rules."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_meter_at"), "meter", ["at"])
