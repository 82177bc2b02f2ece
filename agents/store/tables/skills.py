"""Skills and their versions; the archives of versions are where files are."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata

skills = Table(
    "skills",
    metadata,
    Column("id", Key, primary_key=True),
    Column("workspace_id", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("latest_version_id", Key, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("workspace_id", "name"),
    Index(None, "workspace_id", "created_at", "id"),
)

skill_versions = Table(
    "skill_versions",
    metadata,
    Column("id", Key, primary_key=True),
    Column("skill_id", Key, nullable=False),
    Column("name", Key, nullable=False),
    Column("description", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "skill_id", "created_at", "id"),
)
