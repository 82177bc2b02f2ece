"""The one schema, for SQLite and PostgreSQL alike.

Structured values are JSON text and times integer microseconds (see ``codec``). Keys compare byte by
byte on both databases, so that a listing has the same order everywhere. A session's agent and
environment lie apart from its row: every commit rewrites the row, hardly any the snapshot.
No foreign key points from the hot tables: the log checks under lock that the session is there.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Key = Text().with_variant(Text(collation="C"), "postgresql")
# SQLite numbers rows by itself only when the key is declared INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")

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
Index(
    "uq_environments_workspace_live_name",
    environments.c.workspace_id,
    environments.c.name,
    unique=True,
    sqlite_where=environments.c.archived_at.is_(None),
    postgresql_where=environments.c.archived_at.is_(None),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("queued", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("agent_id", Key, nullable=False),
    Column("agent_version", BigInteger, nullable=False),
    Column("environment_id", Key, nullable=False),
    Column("digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stamp", Text),
    Column("workspace_id", Key, nullable=False, server_default="default"),
    Index(None, "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
    Index(None, "agent_id", "created_at"),
    Index(None, "environment_id"),
    Index(None, "partition", "status"),
)

session_snapshots = Table(
    "session_snapshots",
    metadata,
    Column("session_id", Key, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("environment", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("session_id", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("id", Key, nullable=False),
    Column("type", Text, nullable=False),
    Column("processed_at", BigInteger),
    Column("body", Text, nullable=False),
    Column("hidden", Text),
    Column("link", Text),
    PrimaryKeyConstraint("session_id", "seq"),
    UniqueConstraint("id"),
    Index(None, "session_id", "type", "seq"),
)

queue = Table(
    "queue",
    metadata,
    Column("arrival", Serial, primary_key=True),
    Column("session_id", Key, nullable=False),
    Column("id", Key, nullable=False),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("hidden", Text),
    UniqueConstraint("session_id", "id"),
)

leases = Table(
    "leases",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("name", Key, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

deleted_sessions = Table(
    "deleted_sessions",
    metadata,
    Column("session_id", Key, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("stamp", Text),
    Index(None, "partition"),
)

schema_info = Table(
    "schema_info",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("compatible_since", Text, nullable=False),
)

meter = Table(
    "meter",
    metadata,
    Column("key", Key, primary_key=True),
    Column("session_id", Key, nullable=False),
    Column("kind", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("brain", Key, nullable=False, server_default=""),
    Column("at", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_input_tokens", BigInteger, nullable=False),
    Column("cache_creation_5m_input_tokens", BigInteger, nullable=False),
    Column("cache_creation_1h_input_tokens", BigInteger, nullable=False),
    Column("microseconds", BigInteger, nullable=False),
    Column("micro_usd", BigInteger, nullable=False),
    Index(None, "session_id", "kind", "name"),
    Index(None, "at"),
)

brain_versions = Table(
    "brain_versions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("definition", Text, nullable=False),
)

brain_splits = Table(
    "brain_splits",
    metadata,
    Column("name", Key, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

brain_outcomes = Table(
    "brain_outcomes",
    metadata,
    Column("brain", Key, nullable=False),
    Column("moment", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("slow", BigInteger, nullable=False),
    PrimaryKeyConstraint("brain", "moment"),
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
Index(
    "uq_vault_credentials_live_key",
    vault_credentials.c.vault_id,
    vault_credentials.c.key,
    unique=True,
    sqlite_where=vault_credentials.c.archived_at.is_(None),
    postgresql_where=vault_credentials.c.archived_at.is_(None),
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

work_items = Table(
    "work_items",
    metadata,
    Column("id", Key, primary_key=True),
    Column("environment_id", Key, nullable=False),
    Column("session_id", Key, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("available_at", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("claimed_at", BigInteger),
    Column("acknowledged_at", BigInteger),
    Column("started_at", BigInteger),
    Column("latest_heartbeat_at", BigInteger),
    Column("previous_heartbeat_at", BigInteger),
    Column("ttl_seconds", Integer),
    Column("lease_until", BigInteger),
    Column("stop_requested_at", BigInteger),
    Column("stop_seq", BigInteger),
    Column("stopped_at", BigInteger),
    Column("tokens", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Index(None, "environment_id", "created_at", "id"),
    Index(None, "session_id"),
)
LIVE_WORK = work_items.c.state != text("'stopped'")
"""An item that a worker has or will have: a session has at most one."""
Index(
    "uq_work_items_live_session",
    work_items.c.session_id,
    unique=True,
    sqlite_where=LIVE_WORK,
    postgresql_where=LIVE_WORK,
)
Index(
    "ix_work_items_live",
    work_items.c.environment_id,
    work_items.c.created_at,
    work_items.c.id,
    sqlite_where=LIVE_WORK,
    postgresql_where=LIVE_WORK,
)

work_pollers = Table(
    "work_pollers",
    metadata,
    Column("environment_id", Key, nullable=False),
    Column("worker_id", Key, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("environment_id", "worker_id"),
)

hand_splits = Table(
    "hand_splits",
    metadata,
    Column("name", Key, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

hand_outcomes = Table(
    "hand_outcomes",
    metadata,
    Column("hand", Key, nullable=False),
    Column("span", BigInteger, nullable=False),
    Column("moment", BigInteger, nullable=False),
    Column("outcome", Key, nullable=False),
    Column("latency", BigInteger, nullable=False),
    Column("calls", BigInteger, nullable=False),
    PrimaryKeyConstraint("hand", "span", "moment", "outcome", "latency"),
    Index(None, "span", "moment"),
)

hand_versions = Table(
    "hand_versions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Key, nullable=False),
    Column("definition", Text, nullable=False),
    Column("source", Key, nullable=False),
    Column("contract", Text, nullable=False),
    Column("tools", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
)

hand_sources = Table(
    "hand_sources",
    metadata,
    Column("digest", Key, primary_key=True),
    Column("archive", LargeBinary, nullable=False),
)

call_records = Table(
    "call_records",
    metadata,
    Column("key", Key, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

open_calls = Table(
    "open_calls",
    metadata,
    Column("key", Key, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("open_until", BigInteger, nullable=False),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Key, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Key, nullable=False),
    Column("action", Key, nullable=False),
    Column("object", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("id"),
    Index(None, "action", "seq"),
    Index(None, "object", "seq"),
    Index(None, "at"),
)

audit_leaves = Table(
    "audit_leaves",
    metadata,
    Column("entry", BigInteger, nullable=False),
    Column("session_id", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
    Column("deleted", Integer, nullable=False),
    PrimaryKeyConstraint("entry", "session_id", "deleted"),
    Index(None, "session_id", "seq"),
)

audit_deletions = Table(
    "audit_deletions",
    metadata,
    Column("session_id", Key, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("head", Text, nullable=False),
)

audit_holds = Table(
    "audit_holds",
    metadata,
    Column("session_id", Key, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("actor", Key, nullable=False),
    Column("at", BigInteger, nullable=False),
)

audit_redactions = Table(
    "audit_redactions",
    metadata,
    Column("session_id", Key, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("digest_before", Text, nullable=False),
    Column("digest_after", Text, nullable=False),
    Column("entry", BigInteger, nullable=False),
    PrimaryKeyConstraint("session_id", "seq"),
)
