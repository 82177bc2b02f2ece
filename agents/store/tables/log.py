"""The log: sessions, their events, what waits, and who owns them.

A session's agent, environment and resources lie apart from its row: every commit rewrites the row, hardly any the
snapshot. No foreign key points from here: the log checks under lock that the session is there.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from agents.store.tables.base import Key, Serial, metadata, partial_index

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
    Column("deployment_id", Key),
    Index(None, "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
    Index(None, "agent_id", "created_at"),
    Index(None, "environment_id"),
    Index(None, "partition", "status"),
)

# Most sessions are idle, and a list by time comes upon them soon; the others would be looked for among all of those.
NOT_IDLE = sessions.c.status != literal_column("'idle'")
partial_index(
    None,
    sessions.c.workspace_id,
    sessions.c.status,
    sessions.c.created_at,
    sessions.c.id,
    where=NOT_IDLE,
)

partial_index(
    None,
    sessions.c.deployment_id,
    sessions.c.created_at,
    sessions.c.id,
    where=sessions.c.deployment_id.is_not(None),
)

session_snapshots = Table(
    "session_snapshots",
    metadata,
    Column("session_id", Key, primary_key=True),
    Column("agent", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("resources", Text),
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
    Column("thread_id", Key),
    Column("crossposted", Integer),
    PrimaryKeyConstraint("session_id", "seq"),
    UniqueConstraint("id"),
    Index(None, "session_id", "type", "seq"),
)

# Not of the primary thread, whose events go without a thread: most sessions have no other, and pay nothing for it.
partial_index(
    None,
    events.c.session_id,
    events.c.thread_id,
    events.c.seq,
    where=events.c.thread_id.is_not(None),
)

threads = Table(
    "threads",
    metadata,
    Column("id", Key, primary_key=True),
    Column("session_id", Key, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("status", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("state", Text, nullable=False),
    Index(None, "session_id", "created_at", "id"),
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
    Column("thread_id", Key),
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
