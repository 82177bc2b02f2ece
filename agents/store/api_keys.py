"""API keys on a database, and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, func, insert, or_, select, update

from agents.access.records import ApiKeyRecord
from agents.access.scopes import KeyScope
from agents.errors import Conflict, NotFound
from agents.listing import Listing
from agents.store.codec import Row, RowView, findable, micros, micros_or_none, moment_at, moment_or_none
from agents.store.engine import Database
from agents.store.memory_catalog import memory_page
from agents.store.paging import page
from agents.store.tables import api_keys

_COLUMNS = api_keys.c


class SqlApiKeys:
    """The ApiKeys of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, key: ApiKeyRecord, *, most: int) -> None:
        """See ApiKeys.insert."""
        good = select(func.count()).where(_COLUMNS.revoked_at.is_(None))

        def work(connection: Connection) -> None:
            if connection.execute(good).scalar_one() >= most:
                raise _too_many(most)
            connection.execute(insert(api_keys), _row(key)).close()

        await self._database.write(work)

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        """See ApiKeys.find."""
        if not findable(key_id):
            return None
        return await self._database.read(lambda connection: _read(connection, key_id))

    async def exist(self) -> bool:
        """See ApiKeys.exist."""
        some = select(_COLUMNS.id).limit(1)
        return await self._database.read(lambda connection: connection.execute(some).first() is not None)

    async def revoke(self, key_id: str, moment: datetime) -> ApiKeyRecord:
        """See ApiKeys.revoke."""
        live = update(api_keys).where(_COLUMNS.id == key_id, _COLUMNS.revoked_at.is_(None))

        def work(connection: Connection) -> ApiKeyRecord:
            if findable(key_id):
                connection.execute(live.values(revoked_at=micros(moment))).close()
            found = _read(connection, key_id) if findable(key_id) else None
            if found is None:
                raise _unknown(key_id)
            return found

        return await self._database.write(work)

    async def touch(self, key_id: str, moment: datetime) -> None:
        """See ApiKeys.touch."""
        used = micros(moment)
        later = update(api_keys).where(
            _COLUMNS.id == key_id, or_(_COLUMNS.last_used_at.is_(None), _COLUMNS.last_used_at < used)
        )
        await self._database.write(lambda connection: connection.execute(later.values(last_used_at=used)).close())

    async def list(self, query: Listing) -> Sequence[ApiKeyRecord]:
        """See ApiKeys.list."""
        columns = _COLUMNS
        statement = page(
            select(api_keys),
            columns.created_at,
            columns.id,
            columns.revoked_at,
            query,
            workspace=columns.workspace_id,
        )
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [_key_of(row) for row in rows]


class MemoryApiKeys:
    """The ApiKeys of one process."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKeyRecord] = {}

    async def insert(self, key: ApiKeyRecord, *, most: int) -> None:
        if sum(each.revoked_at is None for each in self._keys.values()) >= most:
            raise _too_many(most)
        self._keys[key.id] = key

    async def find(self, key_id: str) -> ApiKeyRecord | None:
        return self._keys.get(key_id)

    async def exist(self) -> bool:
        return bool(self._keys)

    async def revoke(self, key_id: str, moment: datetime) -> ApiKeyRecord:
        found = self._keys.get(key_id)
        if found is None:
            raise _unknown(key_id)
        self._keys[key_id] = replace(found, revoked_at=found.revoked_at or moment)
        return self._keys[key_id]

    async def touch(self, key_id: str, moment: datetime) -> None:
        found = self._keys.get(key_id)
        if found is not None and (found.last_used_at is None or found.last_used_at < moment):
            self._keys[key_id] = replace(found, last_used_at=moment)

    async def list(self, query: Listing) -> Sequence[ApiKeyRecord]:
        return memory_page(self._keys.values(), query)


def _read(connection: Connection, key_id: str) -> ApiKeyRecord | None:
    row = connection.execute(select(api_keys).where(_COLUMNS.id == key_id)).mappings().first()
    return None if row is None else _key_of(row)


def _row(key: ApiKeyRecord) -> Row:
    return {
        "id": key.id,
        "name": key.name,
        "workspace_id": key.workspace_id,
        "scope": key.scope.value,
        "digest": key.digest,
        "hint": key.hint,
        "created_by": key.created_by,
        "created_at": micros(key.created_at),
        "expires_at": micros_or_none(key.expires_at),
        "last_used_at": micros_or_none(key.last_used_at),
        "revoked_at": micros_or_none(key.revoked_at),
    }


def _key_of(row: RowView) -> ApiKeyRecord:
    return ApiKeyRecord(
        id=row["id"],
        name=row["name"],
        workspace_id=row["workspace_id"],
        scope=KeyScope(row["scope"]),
        digest=row["digest"],
        hint=row["hint"],
        created_by=row["created_by"],
        created_at=moment_at(row["created_at"]),
        expires_at=moment_or_none(row["expires_at"]),
        last_used_at=moment_or_none(row["last_used_at"]),
        revoked_at=moment_or_none(row["revoked_at"]),
    )


def _too_many(most: int) -> Conflict:
    return Conflict(f"there are {most} API keys, which is the limit (access.max_keys): revoke one first")


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"API key {key_id} not found")
