"""Deployments and their runs. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", KEY, nullable=False),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("agent_id", KEY, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("scheduled", sa.BigInteger(), nullable=False),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("last_run_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
    op.create_index(op.f("ix_deployments_due_at"), "deployments", ["due_at"])
    op.create_index(
        op.f("ix_deployments_workspace_id_created_at_id"), "deployments", ["workspace_id", "created_at", "id"]
    )
    op.create_table(
        "deployment_runs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("deployment_id", KEY, nullable=False),
        sa.Column("trigger_type", KEY, nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("reservation", sa.Text(), nullable=False),
        sa.Column("session_id", KEY, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("taken_until", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment_runs")),
        sa.UniqueConstraint(
            "deployment_id", "scheduled_at", name=op.f("uq_deployment_runs_deployment_id_scheduled_at")
        ),
    )
    op.create_index(op.f("ix_deployment_runs_taken_until"), "deployment_runs", ["taken_until"])
    for column in ("deployment_id", "workspace_id"):
        op.create_index(
            op.f(f"ix_deployment_runs_{column}_created_at_id"), "deployment_runs", [column, "created_at", "id"]
        )
