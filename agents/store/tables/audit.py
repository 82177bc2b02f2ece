"""The audit trail, and what it knows of the sessions' logs."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata

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
