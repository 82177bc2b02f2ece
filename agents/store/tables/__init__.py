"""The one schema, for SQLite and PostgreSQL alike.

Structured values are JSON text and times integer microseconds (see ``codec``). Keys compare byte by
byte on both databases, so that a listing has the same order everywhere.
"""

from __future__ import annotations

from agents.store.tables.audit import audit_deletions, audit_entries, audit_holds, audit_leaves, audit_redactions
from agents.store.tables.base import metadata, schema_info
from agents.store.tables.catalog import (
    agent_versions,
    agents,
    api_keys,
    environment_keys,
    environments,
    vault_credentials,
    vaults,
)
from agents.store.tables.deployments import deployment_runs, deployments
from agents.store.tables.files import blobs, files
from agents.store.tables.log import (
    NOT_IDLE,
    deleted_sessions,
    events,
    leases,
    members,
    queue,
    session_snapshots,
    sessions,
    threads,
)
from agents.store.tables.memory import memories, memory_attachments, memory_stores, memory_versions
from agents.store.tables.metering import call_records, meter, open_calls
from agents.store.tables.releases import (
    brain_outcomes,
    brain_splits,
    brain_versions,
    hand_outcomes,
    hand_sources,
    hand_splits,
    hand_versions,
)
from agents.store.tables.skills import skill_versions, skills
from agents.store.tables.webhooks import (
    webhook_deliveries,
    webhook_endpoints,
    webhook_registrations,
    webhook_subscriptions,
)
from agents.store.tables.work import LIVE_WORK, work_items, work_pollers

__all__ = [
    "LIVE_WORK",
    "NOT_IDLE",
    "agent_versions",
    "agents",
    "api_keys",
    "audit_deletions",
    "audit_entries",
    "audit_holds",
    "audit_leaves",
    "audit_redactions",
    "blobs",
    "brain_outcomes",
    "brain_splits",
    "brain_versions",
    "call_records",
    "deleted_sessions",
    "deployment_runs",
    "deployments",
    "environment_keys",
    "environments",
    "events",
    "files",
    "hand_outcomes",
    "hand_sources",
    "hand_splits",
    "hand_versions",
    "leases",
    "members",
    "memories",
    "memory_attachments",
    "memory_stores",
    "memory_versions",
    "metadata",
    "meter",
    "open_calls",
    "queue",
    "schema_info",
    "session_snapshots",
    "sessions",
    "skill_versions",
    "skills",
    "threads",
    "vault_credentials",
    "vaults",
    "webhook_deliveries",
    "webhook_endpoints",
    "webhook_registrations",
    "webhook_subscriptions",
    "work_items",
    "work_pollers",
]
