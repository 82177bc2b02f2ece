"""Who owns which partition, read from the store itself: only so can a death be tied to the sessions it hit."""

from __future__ import annotations

import sqlite3

import asyncpg

from tests.chaos.site import Site

_SECONDS = 2
_QUERY = "SELECT partition FROM leases WHERE owner = "


async def owned_by(site: Site, name: str) -> list[int] | None:
    """Return the partitions of a harness; None when the store does not answer now."""
    try:
        if site.postgres is None:
            with sqlite3.connect(f"file:{site.data_dir / 'hecaton.db'}?mode=ro", uri=True, timeout=_SECONDS) as reader:
                return [row[0] for row in reader.execute(_QUERY + "?", (name,))]
        connection = await asyncpg.connect(site.database_url.replace("+asyncpg", ""), timeout=_SECONDS)
        try:
            return [row[0] for row in await connection.fetch(_QUERY + "$1", name, timeout=_SECONDS)]
        finally:
            connection.terminate()
    except (OSError, TimeoutError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
