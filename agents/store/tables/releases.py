"""Versions of brains and hands: how sessions are dealt out among them, and how they do."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, Table, Text

from agents.store.tables.base import Key, metadata

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
