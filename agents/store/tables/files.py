"""Files, and the blobs that their bytes are (``agents.files.records``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, UniqueConstraint

from agents.store.tables.base import Key, metadata

files = Table(
    "files",
    metadata,
    Column("id", Key, primary_key=True),
    Column("workspace_id", Key, nullable=False),
    Column("kind", Text, nullable=False),
    Column("filename", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Key, nullable=False),
    Column("session_id", Key),
    Column("path", Key),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index(None, "workspace_id", "created_at", "id"),
    UniqueConstraint("session_id", "path"),
    Index(None, "sha256"),
    Index(None, "expires_at"),
)

# While a blob is leaving, claimed_at is when it was marked so.
blobs = Table(
    "blobs",
    metadata,
    Column("sha256", Key, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("claimed_at", BigInteger, nullable=False),
    Column("leaving", Integer, nullable=False),
    Index(None, "leaving", "claimed_at"),
)
