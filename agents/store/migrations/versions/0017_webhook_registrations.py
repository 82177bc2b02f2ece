"""Endpoints of webhooks that operators register, and what each is told. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "webhook_registrations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("data_key", sa.Text(), nullable=False),
        sa.Column("master_key", KEY, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.BigInteger(), nullable=True),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_registrations")),
    )
    op.create_table(
        "webhook_subscriptions",
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("type", KEY, nullable=False),
        sa.Column("endpoint_id", KEY, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "type", "endpoint_id", name=op.f("pk_webhook_subscriptions")),
    )
