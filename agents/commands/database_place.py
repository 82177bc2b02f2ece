"""Where commands find the database that they work on themselves, without a server."""

from __future__ import annotations

from pathlib import Path

from agents.commands.failures import CommandFailed
from agents.config import Settings


def existing_database(settings: Settings) -> Path | str:
    """Return SQLite's file or PostgreSQL's URL. Raises CommandFailed where no server has made a file."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    if not settings.database_file.exists():
        raise CommandFailed(f"there is no database in {settings.data_dir}; name the server's --data-dir or --config")
    return settings.database_file
