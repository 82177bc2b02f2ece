"""Vaults and their credentials, whose secrets are stored sealed (ADR 0027). See 0002 for the rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "vaults",
        sa.Column("id", KEY, nullable=False),
        sa.Column("principal", KEY, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vaults")),
    )
    op.create_index(op.f("ix_vaults_created_at_id"), "vaults", ["created_at", "id"])
    op.create_table(
        "vault_credentials",
        sa.Column("id", KEY, nullable=False),
        sa.Column("vault_id", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("data_key", sa.Text(), nullable=True),
        sa.Column("master_key", KEY, nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("renewer", KEY, nullable=True),
        sa.Column("renewer_until", sa.BigInteger(), nullable=True),
        sa.Column("retry_at", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vault_credentials")),
    )
    op.create_index(
        op.f("ix_vault_credentials_vault_id_created_at_id"), "vault_credentials", ["vault_id", "created_at", "id"]
    )
    op.create_index(op.f("ix_vault_credentials_master_key"), "vault_credentials", ["master_key"])
    op.create_index(
        "uq_vault_credentials_live_key",
        "vault_credentials",
        ["vault_id", "key"],
        unique=True,
        sqlite_where=sa.text("archived_at IS NULL"),
        postgresql_where=sa.text("archived_at IS NULL"),
    )
