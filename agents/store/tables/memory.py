"""Memory stores. What a memory says is in the row of its newest version."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata

memory_stores = Table(
    "memory_stores",
    metadata,
    Column("id", Key, primary_key=True),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("workspace_id", Key, nullable=False),
    Index(None, "workspace_id", "created_at", "id"),
)

memories = Table(
    "memories",
    metadata,
    Column("id", Key, primary_key=True),
    Column("store_id", Key, nullable=False),
    Column("version_id", Key, nullable=False),
    Column("path", Key, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("store_id", "path"),
)

memory_versions = Table(
    "memory_versions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("store_id", Key, nullable=False),
    Column("memory_id", Key, nullable=False),
    Column("operation", Text, nullable=False),
    Column("path", Text),
    Column("content", Text),
    Column("sha256", Text),
    Column("size", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("author_kind", Text),
    Column("author_id", Key),
    Column("redacted_at", BigInteger),
    Column("redacted_by", Text),
    Index(None, "store_id", "created_at", "id"),
    Index(None, "memory_id", "created_at", "id"),
)

memory_attachments = Table(
    "memory_attachments",
    metadata,
    Column("store_id", Key, nullable=False),
    Column("session_id", Key, nullable=False),
    PrimaryKeyConstraint("store_id", "session_id"),
    Index(None, "session_id"),
)
"""Which sessions have which stores, for lists of sessions by their store. It may name a session that never began."""
