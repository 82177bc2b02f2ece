"""Memory stores of agents in one process's memory; nothing between two awaits changes but at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agents.clock import Clock, SystemClock
from agents.errors import Conflict
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
from agents.store.codec import Row
from agents.store.memory_catalog import memory_page
from agents.store.memory_store_news import memory_store_news
from agents.webhooks.announcing import Announce, silent


class MemoryAgentMemory:
    """The MemoryRepository of one process."""

    def __init__(self, clock: Clock | None = None, announce: Announce = silent) -> None:
        self._clock = clock or SystemClock()
        self._announce = announce
        self._stores: dict[str, Row] = {}
        self._memories: dict[str, Row] = {}
        self._versions: dict[str, Row] = {}

    async def insert(self, store: MemoryStoreRecord) -> None:
        if store.id in self._stores:
            raise Conflict(f"memory store {store.id} already exists")
        self._stores[store.id] = store_row(store)
        self._announce(memory_store_news("created", store, store.created_at))

    async def get(self, store_id: str) -> MemoryStoreRecord:
        row = self._stores.get(store_id)
        if row is None:
            raise rules.no_store(store_id)
        return store_of(row)

    async def change(
        self, store_id: str, change: Callable[[MemoryStoreRecord], MemoryStoreRecord]
    ) -> MemoryStoreRecord:
        stored = await self.get(store_id)
        changed = rules.kept_store(stored, change(stored))
        self._stores[store_id] = store_row(changed)
        return changed

    async def archive(self, store_id: str, moment: datetime) -> MemoryStoreRecord:
        stored = await self.get(store_id)
        if stored.archived_at is None:
            stored = replace(stored, archived_at=moment, updated_at=moment)
            self._stores[store_id] = store_row(stored)
            self._announce(memory_store_news("archived", stored, moment))
        return stored

    async def delete(self, store_id: str) -> None:
        stored = await self.get(store_id)
        del self._stores[store_id]
        self._announce(memory_store_news("deleted", stored, self._clock.now()))
        self._memories = {key: row for key, row in self._memories.items() if row["store_id"] != store_id}
        self._versions = {key: row for key, row in self._versions.items() if row["store_id"] != store_id}

    async def list(self, query: Listing) -> Sequence[MemoryStoreRecord]:
        return memory_page(map(store_of, self._stores.values()), query)

    async def attach(self, store_id: str, session_id: str) -> MemoryStoreRecord:
        del session_id  # the twin of sessions looks at what they keep of their resources
        store = await self.get(store_id)
        rules.refuse_archived(store)
        return store

    async def detach(self, store_id: str, session_id: str) -> None:
        del store_id, session_id

    async def create_memory(self, memory: MemoryRecord, change: Change) -> None:
        rules.refuse_archived(await self.get(memory.store_id))
        self._refuse_taken(memory)
        rules.refuse_full(memory.store_id, len(self._of(memory.store_id)))
        if memory.id in self._memories or change.version_id in self._versions:
            raise Conflict("the change contradicts what is stored")
        self._put(memory, rules.written(memory, change, new=True))

    async def memory(self, store_id: str, memory_id: str) -> MemoryRecord:
        await self.get(store_id)
        row = self._memories.get(memory_id)
        if row is None or row["store_id"] != store_id:
            raise rules.no_memory(memory_id)
        return self._whole(row)

    async def change_memory(self, store_id: str, memory_id: str, edit: MemoryEdit, change: Change) -> MemoryRecord:
        rules.refuse_archived(await self.get(store_id))
        stored = await self.memory(store_id, memory_id)
        changed = rules.edited(stored, edit, change)
        if changed is None:
            return stored
        if changed.path != stored.path:
            self._refuse_taken(changed)
        self._put(changed, rules.written(changed, change, new=False))
        return changed

    async def delete_memory(
        self, store_id: str, memory_id: str, change: Change, *, expected_sha256: str | None = None
    ) -> None:
        stored = await self.memory(store_id, memory_id)
        rules.check_expected(stored, expected_sha256)
        del self._memories[memory_id]
        self._versions[change.version_id] = version_row(rules.deleted(stored, change))

    async def memories(self, store_id: str, query: MemoryListing) -> Sequence[MemoryRecord | str]:
        await self.get(store_id)
        first, end = rules.below(query.prefix)
        if query.after is not None:
            first = max(first, rules.past(query.after))
        rows = {row["path"]: row for row in self._of(store_id) if first <= row["path"] < end}
        places = sorted(rows)
        if query.rolled_up:
            places = rules.rolled_up(places, query.prefix)
        found: list[MemoryRecord | str] = []
        for place in places[: query.limit + 1]:
            if place not in rows:
                found.append(place)
            else:
                found.append(self._whole(rows[place]) if query.with_content else memory_of(rows[place], None))
        return found

    async def version(self, store_id: str, version_id: str) -> MemoryVersionRecord:
        await self.get(store_id)
        row = self._versions.get(version_id)
        if row is None or row["store_id"] != store_id:
            raise rules.no_version(version_id)
        return version_of(row)

    async def versions(self, store_id: str, query: VersionListing) -> Sequence[MemoryVersionRecord]:
        await self.get(store_id)
        every = (
            version_of(row, with_content=query.with_content)
            for row in self._versions.values()
            if row["store_id"] == store_id
        )
        return memory_page((each for each in every if _is_wanted(each, query)), query)

    async def redact(
        self, store_id: str, version_id: str, author: Author | None, moment: datetime
    ) -> MemoryVersionRecord:
        stored = await self.version(store_id, version_id)
        if stored.redacted_at is not None:
            return stored
        if any(row["version_id"] == version_id for row in self._memories.values()):
            raise rules.newest(stored)
        redacted = replace(stored, path=None, text=None, redacted_at=moment, redacted_by=author)
        self._versions[version_id] = version_row(redacted)
        return redacted

    def _of(self, store_id: str) -> Sequence[Row]:
        return [row for row in self._memories.values() if row["store_id"] == store_id]

    def _whole(self, row: Row) -> MemoryRecord:
        return memory_of(row, self._versions[row["version_id"]]["content"])

    def _put(self, memory: MemoryRecord, version: MemoryVersionRecord) -> None:
        self._memories[memory.id] = memory_row(memory)
        self._versions[version.id] = version_row(version)

    def _refuse_taken(self, memory: MemoryRecord) -> None:
        for row in sorted(self._of(memory.store_id), key=lambda row: row["path"]):
            if row["id"] != memory.id and rules.are_in_each_others_way(row["path"], memory.path):
                raise rules.taken_path(memory.path, row["id"], row["path"])


def _is_wanted(version: MemoryVersionRecord, query: VersionListing) -> bool:
    return (
        query.memory_id in (None, version.memory_id)
        and query.operation in (None, version.operation)
        and all(version.author == author for author in query.authors)
    )
