"""An index of the memory stores of a session, which go with it. See 0002 for the rules."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_memory_attachments_session_id"), "memory_attachments", ["session_id"], unique=False)
