"""Deployments, and every run there was of them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata

deployments = Table(
    "deployments",
    metadata,
    Column("id", Key, primary_key=True),
    Column("workspace_id", Key, nullable=False),
    Column("principal", Text, nullable=False),
    Column("agent_id", Key, nullable=False),
    Column("body", Text, nullable=False),
    Column("scheduled", BigInteger, nullable=False),
    Column("paused_reason", Text),
    Column("next_at", BigInteger),
    Column("due_at", BigInteger),
    Column("last_run_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Index(None, "due_at"),
    Index(None, "workspace_id", "created_at", "id"),
)

deployment_runs = Table(
    "deployment_runs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("workspace_id", Key, nullable=False),
    Column("deployment_id", Key, nullable=False),
    Column("trigger_type", Key, nullable=False),
    Column("scheduled_at", BigInteger),
    Column("agent", Text, nullable=False),
    Column("reservation", Text, nullable=False),
    Column("session_id", Key),
    Column("error", Text),
    Column("taken_until", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    # Manual runs have no instant, and nulls are distinct: at most one run of each instant, whoever fires it.
    UniqueConstraint("deployment_id", "scheduled_at"),
    Index(None, "taken_until"),
    Index(None, "deployment_id", "created_at", "id"),
    Index(None, "workspace_id", "created_at", "id"),
)
