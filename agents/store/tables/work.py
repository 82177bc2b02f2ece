"""The queue of sessions for workers elsewhere."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from agents.store.tables.base import Key, metadata, partial_index

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
partial_index(
    "uq_work_items_live_session",
    work_items.c.session_id,
    unique=True,
    where=LIVE_WORK,
)
partial_index(
    "ix_work_items_live",
    work_items.c.environment_id,
    work_items.c.created_at,
    work_items.c.id,
    where=LIVE_WORK,
)

work_pollers = Table(
    "work_pollers",
    metadata,
    Column("environment_id", Key, nullable=False),
    Column("worker_id", Key, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("environment_id", "worker_id"),
)
