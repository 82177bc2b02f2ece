"""The outbox of webhooks: what waits for which endpoint, how endpoints do, and which of them are registered.

An endpoint of the settings has its URL and its secret there, and a row of its own here only once it has failed.
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

webhook_registrations = Table(
    "webhook_registrations",
    metadata,
    Column("id", Key, primary_key=True),
    Column("workspace_id", Key, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("data_key", Text, nullable=False),
    Column("master_key", Key, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("disabled_reason", Text),
)
"""At most a hundred rows, read as a whole."""

webhook_subscriptions = Table(
    "webhook_subscriptions",
    metadata,
    Column("workspace_id", Key, nullable=False),
    Column("type", Key, nullable=False),
    Column("endpoint_id", Key, nullable=False),
    PrimaryKeyConstraint("workspace_id", "type", "endpoint_id"),
)
"""Which enabled endpoints are told what: whoever announces something asks nothing else."""
