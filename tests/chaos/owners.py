"""Who owns which partition, read from the store itself: only so can a death be tied to the sessions it hit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping

import asyncpg

from tests.chaos.site import Site

_SECONDS = 2
_QUERY = "SELECT partition, owner, epoch FROM leases"
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0

Owners = Mapping[int, tuple[str | None, int]]
"""Owner and epoch by partition."""


async def owners(site: Site) -> Owners | None:
    """Return the lease table; None when the store does not answer now."""
    try:
        rows = await (_from_file(site) if site.postgres is None else _from_server(site))
    except (OSError, TimeoutError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    return {partition: (owner, epoch) for partition, owner, epoch in rows}


async def _from_file(site: Site) -> list[tuple[int, str | None, int]]:
    path = f"file:{site.data_dir / 'hecaton.db'}?mode=ro"
    reader = sqlite3.connect(path, uri=True, timeout=_SECONDS)
    try:
        return reader.execute(_QUERY).fetchall()
    finally:
        reader.close()


async def _from_server(site: Site) -> list[tuple[int, str | None, int]]:
    connection = await asyncpg.connect(site.database_url.replace("+asyncpg", ""), timeout=_SECONDS)
    try:
        return [tuple(row) for row in await connection.fetch(_QUERY, timeout=_SECONDS)]
    finally:
        connection.terminate()


async def owned_by(site: Site, name: str) -> dict[int, int] | None:
    """Return the partitions of a harness and their epochs; None when the store does not answer now."""
    table = await owners(site)
    return None if table is None else {each: epoch for each, (owner, epoch) in table.items() if owner == name}


async def moved(site: Site, lost: Mapping[int, int]) -> list[float]:
    """Wait until each of the *lost* partitions is owned under a later epoch; returns how long each took, in seconds.

    A partition that nobody takes within a minute is left out.
    """
    began, left, took = time.monotonic(), dict(lost), list[float]()
    while left and time.monotonic() - began < _PATIENCE_SECONDS:
        for partition, (owner, epoch) in (await owners(site) or {}).items():
            if owner is not None and epoch > left.get(partition, epoch):
                took.append(time.monotonic() - began)
                del left[partition]
        await asyncio.sleep(_LOOK_SECONDS)
    return took
