"""Skills. See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "skills",
        sa.Column("id", KEY, nullable=False),
        sa.Column("workspace_id", KEY, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("latest_version_id", KEY, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skills")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_skills_workspace_id_name")),
    )
    op.create_index(op.f("ix_skills_workspace_id_created_at_id"), "skills", ["workspace_id", "created_at", "id"])
    op.create_table(
        "skill_versions",
        sa.Column("id", KEY, nullable=False),
        sa.Column("skill_id", KEY, nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_skill_versions")),
    )
    op.create_index(
        op.f("ix_skill_versions_skill_id_created_at_id"), "skill_versions", ["skill_id", "created_at", "id"]
    )
