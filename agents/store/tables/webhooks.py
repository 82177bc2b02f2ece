"""The outbox of webhooks: what waits for which endpoint, and how endpoints do.

An endpoint of the settings has its URL and its secret there, and a row here only once it has failed.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from agents.store.tables.base import Key, metadata

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Key, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("disabled_until", BigInteger),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("endpoint_id", Key, nullable=False),
    Column("message_id", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    PrimaryKeyConstraint("endpoint_id", "message_id"),
    Index(None, "endpoint_id", "due_at"),
)
