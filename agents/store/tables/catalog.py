"""What is made by hand: agents and environments with their versions and keys, vaults, API keys."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata, partial_index

agents = Table(
    "agents",
    metadata,
    Column("id", Key, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("workspace_id", Key, nullable=False, server_default="default"),
    Index(None, "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
)

agent_versions = Table(
    "agent_versions",
    metadata,
    Column("agent_id", Key, ForeignKey("agents.id"), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("agent_id", "version"),
)

environments = Table(
    "environments",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("workspace_id", Key, nullable=False, server_default="default"),
    Index(None, "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
)
partial_index(
    "uq_environments_workspace_live_name",
    environments.c.workspace_id,
    environments.c.name,
    unique=True,
    where=environments.c.archived_at.is_(None),
)

environment_keys = Table(
    "environment_keys",
    metadata,
    Column("id", Key, primary_key=True),
    Column("environment_id", Key, nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", Key, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    UniqueConstraint("digest"),
    Index(None, "environment_id", "created_at", "id"),
)

vaults = Table(
    "vaults",
    metadata,
    Column("id", Key, primary_key=True),
    Column("principal", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("workspace_id", Key, nullable=False, server_default="default"),
    Index(None, "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
)

vault_credentials = Table(
    "vault_credentials",
    metadata,
    Column("id", Key, primary_key=True),
    Column("vault_id", Key, nullable=False),
    Column("key", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("sealed", Text),
    Column("data_key", Text),
    Column("master_key", Key),
    Column("expires_at", BigInteger),
    Column("renewer", Key),
    Column("renewer_until", BigInteger),
    Column("retry_at", BigInteger),
    Column("failure", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Index(None, "vault_id", "created_at", "id"),
    Index(None, "master_key"),
)
partial_index(
    "uq_vault_credentials_live_key",
    vault_credentials.c.vault_id,
    vault_credentials.c.key,
    unique=True,
    where=vault_credentials.c.archived_at.is_(None),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False),
    Column("workspace_id", Key, nullable=False),
    Column("scope", Text, nullable=False),
    Column("digest", Key, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Index(None, "created_at", "id"),
)
