"""What was used and what it cost."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from agents.store.tables.base import Key, metadata

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
