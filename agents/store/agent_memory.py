"""Memory stores on a database.

Whoever changes a memory holds the row of its store: paths, counts and expectations hold until the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from agents.clock import Clock
from agents.listing import Listing
from agents.memory import rules
from agents.memory.records import (
    Author,
    Change,
    MemoryEdit,
    MemoryListing,
    MemoryRecord,
    MemoryStoreRecord,
    MemoryVersionRecord,
    VersionListing,
)
from agents.store.agent_memory_rows import memory_of, memory_row, store_of, store_row, version_of, version_row
from agents.store.announcing import announce
from agents.store.codec import findable
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.memory_store_news import memory_store_news
from agents.store.paging import page
from agents.store.tables import memories, memory_attachments, memory_stores, memory_versions

if TYPE_CHECKING:
    from agents.store.paging import Statement

_S, _M, _V, _A = memory_stores.c, memories.c, memory_versions.c, memory_attachments.c
_PORTION = 200
"""Versions that are deleted at once: 20 MB at most, for others write meanwhile."""
_ATTACH = insert_new(memory_attachments)
_LIGHT_VERSION = [column for column in memory_versions.columns if column is not _V.content]


class SqlAgentMemory:
    """The MemoryRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(self, store: MemoryStoreRecord) -> None:
        """See MemoryRepository.insert."""
        row = store_row(store)

        def work(connection: Connection) -> None:
            connection.execute(insert(memory_stores), row).close()
            announce(connection, memory_store_news("created", store, store.created_at))

        await self._database.write(work)

    async def get(self, store_id: str) -> MemoryStoreRecord:
        """See MemoryRepository.get."""
        return await self._database.read(lambda connection: _store(connection, store_id))

    async def change(
        self, store_id: str, change: Callable[[MemoryStoreRecord], MemoryStoreRecord]
    ) -> MemoryStoreRecord:
        """See MemoryRepository.change."""

        def work(connection: Connection) -> MemoryStoreRecord:
            stored = _store(connection, store_id, lock=True)
            changed = rules.kept_store(stored, change(stored))
            connection.execute(update(memory_stores).where(_S.id == store_id).values(store_row(changed)))
            if stored.archived_at is None and changed.archived_at is not None:
                announce(connection, memory_store_news("archived", changed, changed.archived_at))
            return changed

        return await self._database.write(work)

    async def archive(self, store_id: str, moment: datetime) -> MemoryStoreRecord:
        """See MemoryRepository.archive."""

        def archived(stored: MemoryStoreRecord) -> MemoryStoreRecord:
            if stored.archived_at is not None:
                return stored
            return replace(stored, archived_at=moment, updated_at=moment)

        return await self.change(store_id, archived)

    async def delete(self, store_id: str) -> None:
        """See MemoryRepository.delete."""
        while len(old := await self._database.read(lambda connection: _old_versions(connection, store_id))) >= _PORTION:
            portion = delete(memory_versions).where(_V.id.in_(old))
            await self._database.write(lambda connection, portion=portion: connection.execute(portion).close())

        def work(connection: Connection) -> None:
            stored = _store(connection, store_id, lock=True)
            for table in (memories, memory_versions):
                connection.execute(delete(table).where(table.c.store_id == store_id)).close()
            connection.execute(delete(memory_stores).where(_S.id == store_id))
            announce(connection, memory_store_news("deleted", stored, self._clock.now()))

        await self._database.write(work)

    async def list(self, query: Listing) -> Sequence[MemoryStoreRecord]:
        """See MemoryRepository.list."""
        statement = page(select(memory_stores), _S.created_at, _S.id, _S.archived_at, query, workspace=_S.workspace_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [store_of(row) for row in rows]

    async def attach(self, store_id: str, session_id: str) -> MemoryStoreRecord:
        """See MemoryRepository.attach."""
        row = {"store_id": store_id, "session_id": session_id}

        def work(connection: Connection) -> MemoryStoreRecord:
            store = _store(connection, store_id, lock=True)
            rules.refuse_archived(store)
            connection.execute(_ATTACH[connection.dialect.name], row).close()
            return store

        return await self._database.write(work)

    async def detach(self, store_id: str, session_id: str) -> None:
        """See MemoryRepository.detach."""
        gone = delete(memory_attachments).where(_A.store_id == store_id, _A.session_id == session_id)
        await self._database.write(lambda connection: connection.execute(gone).close())

    async def create_memory(self, memory: MemoryRecord, change: Change) -> None:
        """See MemoryRepository.create_memory."""

        def work(connection: Connection) -> None:
            rules.refuse_archived(_store(connection, memory.store_id, lock=True))
            _refuse_taken(connection, memory)
            count = select(func.count()).where(_M.store_id == memory.store_id)
            rules.refuse_full(memory.store_id, connection.execute(count).scalar_one())
            connection.execute(insert(memories), memory_row(memory)).close()
            connection.execute(insert(memory_versions), version_row(rules.written(memory, change, new=True)))

        await self._database.write(work)

    async def memory(self, store_id: str, memory_id: str) -> MemoryRecord:
        """See MemoryRepository.memory."""
        return await self._database.read(lambda connection: _memory(connection, store_id, memory_id))

    async def change_memory(self, store_id: str, memory_id: str, edit: MemoryEdit, change: Change) -> MemoryRecord:
        """See MemoryRepository.change_memory."""

        def work(connection: Connection) -> MemoryRecord:
            rules.refuse_archived(_store(connection, store_id, lock=True))
            stored = _memory(connection, store_id, memory_id)
            changed = rules.edited(stored, edit, change)
            if changed is None:
                return stored
            if changed.path != stored.path:
                _refuse_taken(connection, changed)
            connection.execute(update(memories).where(_M.id == memory_id).values(memory_row(changed))).close()
            connection.execute(insert(memory_versions), version_row(rules.written(changed, change, new=False)))
            return changed

        return await self._database.write(work)

    async def delete_memory(
        self, store_id: str, memory_id: str, change: Change, *, expected_sha256: str | None = None
    ) -> None:
        """See MemoryRepository.delete_memory."""

        def work(connection: Connection) -> None:
            _store(connection, store_id, lock=True)
            stored = _memory(connection, store_id, memory_id)
            rules.check_expected(stored, expected_sha256)
            connection.execute(delete(memories).where(_M.id == memory_id)).close()
            connection.execute(insert(memory_versions), version_row(rules.deleted(stored, change)))

        await self._database.write(work)

    async def memories(self, store_id: str, query: MemoryListing) -> Sequence[MemoryRecord | str]:
        """See MemoryRepository.memories."""

        def work(connection: Connection) -> Sequence[MemoryRecord | str]:
            _store(connection, store_id)
            statement = _below(select(_M.path), store_id, query)
            if not query.rolled_up:
                statement = statement.limit(query.limit + 1)
            places = list(connection.execute(statement).scalars())
            if query.rolled_up:
                places = rules.rolled_up(places, query.prefix)[: query.limit + 1]
            found = _at(connection, store_id, places, with_content=query.with_content)
            return [found.get(place, place) for place in places]

        return await self._database.read(work)

    async def version(self, store_id: str, version_id: str) -> MemoryVersionRecord:
        """See MemoryRepository.version."""
        return await self._database.read(lambda connection: _version(connection, store_id, version_id))

    async def versions(self, store_id: str, query: VersionListing) -> Sequence[MemoryVersionRecord]:
        """See MemoryRepository.versions."""
        columns = memory_versions.columns if query.with_content else _LIGHT_VERSION
        statement = select(*columns).where(_V.store_id == store_id)
        if query.memory_id is not None:
            statement = statement.where(_V.memory_id == query.memory_id)
        if query.operation is not None:
            statement = statement.where(_V.operation == query.operation)
        for author in query.authors:
            statement = statement.where(_V.author_kind == author.kind, _V.author_id == author.id)
        wanted = [query.memory_id or "", *(author.id for author in query.authors)]
        # Versions are never archived.
        everything = replace(query, include_archived=True)
        statement = page(statement, _V.created_at, _V.id, _V.redacted_at, everything)

        def work(connection: Connection) -> Sequence[MemoryVersionRecord]:
            _store(connection, store_id)
            if not all(map(findable, wanted)):
                return []
            rows = connection.execute(statement).mappings()
            return [version_of(row, with_content=query.with_content) for row in rows]

        return await self._database.read(work)

    async def redact(
        self, store_id: str, version_id: str, author: Author | None, moment: datetime
    ) -> MemoryVersionRecord:
        """See MemoryRepository.redact."""

        def work(connection: Connection) -> MemoryVersionRecord:
            _store(connection, store_id, lock=True)
            stored = _version(connection, store_id, version_id)
            if stored.redacted_at is not None:
                return stored
            newest = select(_M.id).where(_M.id == stored.memory_id, _M.version_id == version_id)
            if connection.execute(newest).first() is not None:
                raise rules.newest(stored)
            redacted = replace(stored, path=None, text=None, redacted_at=moment, redacted_by=author)
            connection.execute(update(memory_versions).where(_V.id == version_id).values(version_row(redacted)))
            return redacted

        return await self._database.write(work)


def _store(connection: Connection, store_id: str, *, lock: bool = False) -> MemoryStoreRecord:
    row = None
    if findable(store_id):
        statement = select(memory_stores).where(_S.id == store_id)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise rules.no_store(store_id)
    return store_of(row)


def _old_versions(connection: Connection, store_id: str) -> Sequence[str]:
    """Return some versions of a store that say no more what a memory says. Raises NotFound."""
    _store(connection, store_id)
    newest = select(_M.version_id).where(_M.store_id == store_id)
    old = select(_V.id).where(_V.store_id == store_id, _V.id.not_in(newest)).order_by(_V.created_at, _V.id)
    return connection.execute(old.limit(_PORTION)).scalars().all()


def _memory(connection: Connection, store_id: str, memory_id: str) -> MemoryRecord:
    _store(connection, store_id)
    row = None
    if findable(memory_id):
        statement = select(memories, _V.content).join(memory_versions, _V.id == _M.version_id)
        statement = statement.where(_M.id == memory_id, _M.store_id == store_id)
        row = connection.execute(statement).mappings().first()
    if row is None:
        raise rules.no_memory(memory_id)
    return memory_of(row, row["content"])


def _version(connection: Connection, store_id: str, version_id: str) -> MemoryVersionRecord:
    _store(connection, store_id)
    row = None
    if findable(version_id):
        statement = select(memory_versions).where(_V.id == version_id, _V.store_id == store_id)
        row = connection.execute(statement).mappings().first()
    if row is None:
        raise rules.no_version(version_id)
    return version_of(row)


def _below(statement: Statement, store_id: str, query: MemoryListing) -> Statement:
    first, end = rules.below(query.prefix)
    if query.after is not None:
        first = max(first, rules.past(query.after))
    if not (findable(first) and findable(end)):
        first = end = ""
    return statement.where(_M.store_id == store_id, _M.path >= first, _M.path < end).order_by(_M.path)


def _at(connection: Connection, store_id: str, paths: Sequence[str], *, with_content: bool) -> dict[str, MemoryRecord]:
    """Return the memories at some of these paths; the others are directories."""
    statement = select(memories).where(_M.store_id == store_id, _M.path.in_(paths))
    if with_content:
        statement = statement.add_columns(_V.content).join(memory_versions, _V.id == _M.version_id)
    rows = connection.execute(statement).mappings()
    return {row["path"]: memory_of(row, row["content"] if with_content else None) for row in rows}


def _refuse_taken(connection: Connection, memory: MemoryRecord) -> None:
    first, end = rules.below(memory.path + "/")
    in_the_way = or_(_M.path.in_([memory.path, *rules.above(memory.path)]), (_M.path >= first) & (_M.path < end))
    statement = select(_M.id, _M.path).where(_M.store_id == memory.store_id, _M.id != memory.id, in_the_way)
    taken = connection.execute(statement.order_by(_M.path).limit(1)).first()
    if taken is not None:
        memory_id, its_path = taken
        raise rules.taken_path(memory.path, memory_id, its_path)
