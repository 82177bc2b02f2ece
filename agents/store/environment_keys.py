"""Keys of self-hosted environments on a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, insert, select, update

from agents.clock import Clock
from agents.errors import Conflict, NotFound
from agents.listing import Listing
from agents.store.codec import findable, micros
from agents.store.engine import Database
from agents.store.paging import page
from agents.store.tables import environment_keys
from agents.store.work_rows import key_of, key_row
from agents.workers.records import EnvironmentKeyRecord

_COLUMNS = environment_keys.c


class SqlEnvironmentKeys:
    """The EnvironmentKeys of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, key: EnvironmentKeyRecord, *, most: int) -> None:
        """See EnvironmentKeys.insert."""
        good = select(func.count()).where(_COLUMNS.environment_id == key.environment_id, _COLUMNS.revoked_at.is_(None))

        def work(connection: Connection) -> None:
            if connection.execute(good).scalar_one() >= most:
                raise too_many(key.environment_id, most)
            connection.execute(insert(environment_keys), key_row(key)).close()

        await self._database.write(work)

    async def find(self, digest: str) -> EnvironmentKeyRecord | None:
        """See EnvironmentKeys.find."""
        wanted = select(environment_keys).where(_COLUMNS.digest == digest)

        def work(connection: Connection) -> EnvironmentKeyRecord | None:
            row = connection.execute(wanted).mappings().first()
            return None if row is None else key_of(row)

        return await self._database.read(work)

    async def revoke(self, environment_id: str, key_id: str) -> EnvironmentKeyRecord:
        """See EnvironmentKeys.revoke."""
        now = self._clock.now()
        known = findable(environment_id) and findable(key_id)
        mine = select(environment_keys).where(_COLUMNS.id == key_id, _COLUMNS.environment_id == environment_id)
        revoked = update(environment_keys).where(_COLUMNS.id == key_id).values(revoked_at=micros(now))

        def work(connection: Connection) -> EnvironmentKeyRecord:
            row = connection.execute(mine.with_for_update()).mappings().first() if known else None
            if row is None:
                raise unknown(environment_id, key_id)
            key = key_of(row)
            if key.revoked_at is not None:
                return key
            connection.execute(revoked).close()
            return replace(key, revoked_at=now)

        return await self._database.write(work)

    async def list(self, environment_id: str, query: Listing) -> Sequence[EnvironmentKeyRecord]:
        """See EnvironmentKeys.list."""
        mine = select(environment_keys).where(_COLUMNS.environment_id == environment_id)
        query = replace(query, include_archived=True)
        statement = page(mine, _COLUMNS.created_at, _COLUMNS.id, _COLUMNS.revoked_at, query)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [key_of(row) for row in rows]


def too_many(environment_id: str, most: int) -> Conflict:
    return Conflict(f"environment {environment_id} has {most} keys, which is the limit: revoke one first")


def unknown(environment_id: str, key_id: str) -> NotFound:
    return NotFound(f"environment {environment_id} has no key {key_id}")
