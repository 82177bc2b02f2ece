"""Where the platform's database is, from its settings."""

from __future__ import annotations

from agents.config import Settings
from agents.store.database import SqlStore, open_store


async def open_platform_store(settings: Settings) -> SqlStore:
    """Open PostgreSQL when it is configured, else SQLite in the data directory. Raises Unavailable."""
    if settings.database_url is not None:
        return await open_store(settings.database_url.get_secret_value())
    return await open_store(settings.data_dir / "hecaton.db")
