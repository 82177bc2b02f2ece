"""Who owns which partition, read from the store itself: only so can a death be tied to the sessions it hit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Mapping

import asyncpg

from tests.chaos.site import Site

_SECONDS = 2
_QUERY = "SELECT partition, owner, epoch, expires_at FROM leases"
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 60.0

Owners = Mapping[int, tuple[str | None, int, int]]
"""Owner, epoch and expiry by partition."""


async def owners(site: Site) -> Owners | None:
    """Return the lease table; None when the store does not answer now."""
    try:
        rows = await (_from_file(site) if site.postgres is None else _from_server(site))
    except (OSError, TimeoutError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError):
        return None
    return {partition: (owner, epoch, expires) for partition, owner, epoch, expires in rows}


async def _from_file(site: Site) -> list[tuple[int, str | None, int, int]]:
    path = f"file:{site.data_dir / 'hecaton.db'}?mode=ro"
    reader = sqlite3.connect(path, uri=True, timeout=_SECONDS)
    try:
        return reader.execute(_QUERY).fetchall()
    finally:
        reader.close()


async def _from_server(site: Site) -> list[tuple[int, str | None, int, int]]:
    connection = await asyncpg.connect(site.database_url.replace("+asyncpg", ""), timeout=_SECONDS)
    try:
        return [tuple(row) for row in await connection.fetch(_QUERY, timeout=_SECONDS)]
    finally:
        connection.terminate()


async def owned_by(site: Site, name: str) -> dict[int, tuple[int, int]] | None:
    """Return epoch and expiry of a harness's partitions; None when the store does not answer now."""
    table = await owners(site)
    if table is None:
        return None
    return {each: (epoch, expires) for each, (owner, epoch, expires) in table.items() if owner == name}


async def moved(site: Site, lost: Mapping[int, tuple[int, int]]) -> list[float]:
    """Wait until each of the *lost* partitions is owned again; returns how long each took, in seconds.

    It is owned again under a later epoch, or when its old owner, back again, has renewed it before anybody took it.
    A partition that nobody owns within a minute is left out.
    """
    began, left, took = time.monotonic(), dict(lost), list[float]()
    # What the owner wrote in its last moment is not yet somebody's taking it.
    left |= {
        each: found[1:] for each, found in (await owners(site) or {}).items() if found[1] == left.get(each, (-1,))[0]
    }
    while left and time.monotonic() - began < _PATIENCE_SECONDS:
        for partition, (owner, epoch, expires) in (await owners(site) or {}).items():
            if owner is not None and (epoch, expires) > left.get(partition, (epoch, expires)):
                took.append(time.monotonic() - began)
                del left[partition]
        await asyncio.sleep(_LOOK_SECONDS)
    return took
