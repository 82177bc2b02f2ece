"""Alembic's entry point: runs inside the transaction that ``agents.store.migrate`` opened."""

from __future__ import annotations

from alembic import context

from agents.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
