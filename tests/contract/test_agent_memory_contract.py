"""What the repository of memory stores promises (port: agents.memory.records)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, func, select
from store_records import T0, AnyStore, Reopen, claimed, session

from agents.catalog.resources import stored_resource
from agents.errors import Conflict, InvalidRequest, MemoryPathConflict, MemoryPreconditionFailed, NotFound
from agents.ids import SessionId
from agents.listing import Listing
from agents.memory import rules
from agents.memory.records import (
    Author,
    Change,
    MemoryEdit,
    MemoryListing,
    MemoryRecord,
    MemoryStoreRecord,
    VersionListing,
)
from agents.sessions.log import Commit
from agents.store import agent_memory
from agents.store.ports import SessionListing
from agents.store.tables import memory_attachments, memory_versions

LATER = T0 + timedelta(seconds=5)
KEY, SESSION = Author("api_actor", "apikey_1"), Author("session_actor", "sesn_1")
HERE = "memstore_0001"


def store_record(number: int = 1, **changes: Any) -> MemoryStoreRecord:
    body = {"name": "n", "description": "", "metadata": {}}
    return replace(MemoryStoreRecord(f"memstore_{number:04}", body, T0, T0), **changes)


def memory(number: int = 1, path: str | None = None, content: str = "é\n", **changes: Any) -> MemoryRecord:
    path = path or f"/notes/{number:04}.md"
    made = MemoryRecord(f"mem_{number:04}", HERE, f"memver_{number:04}", path, rules.text_of(content), T0, T0)
    return replace(made, **changes)


def change(number: int, author: Author | None = KEY, seconds: int = 0) -> Change:
    return Change(f"memver_{number:04}", author, T0 + timedelta(seconds=seconds))


async def put(store: AnyStore, made: MemoryRecord, author: Author | None = KEY) -> None:
    await store.memory.create_memory(made, Change(made.version_id, author, made.created_at))


async def paths(store: AnyStore, **listing: Any) -> list[str]:
    found = await store.memory.memories(HERE, MemoryListing(**listing))
    return [each if isinstance(each, str) else each.path for each in found]


async def versions(store: AnyStore, **listing: Any) -> list[str]:
    return [each.id for each in await store.memory.versions(HERE, VersionListing(**listing))]


@pytest.fixture
async def stored(store: AnyStore) -> AnyStore:
    """A store with one memory store."""
    await store.memory.insert(store_record())
    return store


async def test_what_is_stored_is_read_back(stored: AnyStore) -> None:
    assert await stored.memory.get(HERE) == store_record()
    await put(stored, memory())
    assert await stored.memory.memory(HERE, "mem_0001") == memory()
    assert await stored.memory.version(HERE, "memver_0001") == rules.written(memory(), change(1), new=True)


@pytest.mark.parametrize("name", ["x", "\x00", "\ud800"])
async def test_what_is_not_there_is_not_found(stored: AnyStore, name: str) -> None:
    await put(stored, memory())
    await stored.memory.insert(store_record(2))
    other = "memstore_0002"
    calls = [
        stored.memory.get(name),
        stored.memory.change(name, lambda it: it),
        stored.memory.archive(name, T0),
        stored.memory.delete(name),
        stored.memory.memories(name, MemoryListing()),
        stored.memory.versions(name, VersionListing()),
        stored.memory.create_memory(memory(2, store_id=name), change(2)),
        stored.memory.memory(HERE, name),
        stored.memory.change_memory(HERE, name, MemoryEdit(path="/b"), change(2)),
        stored.memory.delete_memory(HERE, name, change(2)),
        stored.memory.version(HERE, name),
        stored.memory.redact(HERE, name, KEY, T0),
        # Each is only in its own store.
        stored.memory.memory(other, "mem_0001"),
        stored.memory.change_memory(other, "mem_0001", MemoryEdit(path="/b"), change(2)),
        stored.memory.delete_memory(other, "mem_0001", change(2)),
        stored.memory.version(other, "memver_0001"),
        stored.memory.redact(other, "memver_0001", KEY, T0),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert await versions(stored, memory_id=name) == await versions(stored, authors=(Author("api_actor", name),)) == []


async def test_an_id_is_stored_once(stored: AnyStore) -> None:
    with pytest.raises(Conflict):
        await stored.memory.insert(store_record())
    await put(stored, memory())
    with pytest.raises(Conflict):
        await put(stored, memory(path="/other"))


async def test_a_change_of_a_store_keeps_id_workspace_and_birth(stored: AnyStore) -> None:
    wanted = store_record(9, body={"name": "w"}, created_at=LATER, updated_at=LATER, workspace_id="thieves")
    changed = await stored.memory.change(HERE, lambda _: wanted)
    assert changed == store_record(body={"name": "w"}, updated_at=LATER) == await stored.memory.get(HERE)


async def test_an_archived_store_is_read_and_emptied_but_not_written(stored: AnyStore) -> None:
    await put(stored, memory())
    archived = await stored.memory.archive(HERE, LATER)
    assert archived == store_record(archived_at=LATER, updated_at=LATER)
    assert await stored.memory.archive(HERE, LATER + timedelta(1)) == archived
    for call in (
        stored.memory.create_memory(memory(2), change(2)),
        stored.memory.change_memory(HERE, "mem_0001", MemoryEdit(path="/b"), change(2)),
    ):
        with pytest.raises(InvalidRequest) as refused:
            await call
        assert refused.value.error_code == "memory_store_archived"
    assert await stored.memory.memory(HERE, "mem_0001") == memory()
    await stored.memory.delete_memory(HERE, "mem_0001", change(2))
    assert (await stored.memory.redact(HERE, "memver_0001", KEY, LATER)).redacted_at == LATER


async def test_stores_are_listed_of_one_workspace_newest_first_archived_ones_on_request(stored: AnyStore) -> None:
    await stored.memory.insert(store_record(2, created_at=LATER))
    await stored.memory.insert(store_record(3, workspace_id="other"))
    await stored.memory.insert(store_record(4, archived_at=LATER))

    async def listed(**listing: Any) -> list[str]:
        return [each.id[-1] for each in await stored.memory.list(Listing(**listing))]

    assert await listed(workspace_id="default") == ["2", "1"]
    assert await listed(workspace_id="default", include_archived=True) == ["2", "4", "1"]
    assert await listed(workspace_id="other") == ["3"]


async def test_nothing_is_left_of_a_store_that_was_deleted(stored: AnyStore) -> None:
    await put(stored, memory())
    await stored.memory.delete(HERE)
    with pytest.raises(NotFound):
        await stored.memory.memory(HERE, "mem_0001")
    await stored.memory.insert(store_record())
    assert await paths(stored) == await versions(stored) == []


@pytest.mark.parametrize("path", ["/a/b", "/a", "/a/b/c", "/a/b/c/d"])
async def test_a_path_is_taken_by_what_is_at_it_above_it_and_below_it(stored: AnyStore, path: str) -> None:
    await put(stored, memory(1, "/a/b"))
    await put(stored, memory(2, "/z"))
    if path == "/a/b/c/d":
        await stored.memory.change_memory(HERE, "mem_0001", MemoryEdit(path="/a/b/c"), change(8))
    for call in (
        stored.memory.create_memory(memory(3, path), change(3)),
        stored.memory.change_memory(HERE, "mem_0002", MemoryEdit(path=path), change(4)),
    ):
        with pytest.raises(MemoryPathConflict) as refused:
            await call
        assert refused.value.details["conflicting_memory_id"] == "mem_0001"
    await put(stored, memory(5, "/a/bc"))  # neighbours in the order of bytes
    await put(stored, memory(6, "/a/b.md"))
    await put(stored, memory(7, "/A/b"))


async def test_of_those_who_take_a_path_at_once_one_gets_it(stored: AnyStore) -> None:
    rivals = [put(stored, memory(number, "/same")) for number in range(1, 6)]
    outcomes = await asyncio.gather(*rivals, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["MemoryPathConflict"] * 4 + ["NoneType"]


async def test_a_store_holds_so_many_memories(stored: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_MEMORIES", 2)
    outcomes = await asyncio.gather(*(put(stored, memory(number)) for number in range(1, 4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [InvalidRequest]


async def test_each_change_leaves_a_version_with_who_made_it(stored: AnyStore) -> None:
    await put(stored, memory())
    text = rules.text_of("two")
    second = await stored.memory.change_memory(HERE, "mem_0001", MemoryEdit(text=text), change(2, SESSION, 1))
    assert second == memory(text=text, version_id="memver_0002", updated_at=T0 + timedelta(seconds=1))
    third = await stored.memory.change_memory(HERE, "mem_0001", MemoryEdit(path="/b"), change(3, None, 2))
    assert (third.path, third.text) == ("/b", text)
    assert await stored.memory.memory(HERE, "mem_0001") == third
    await stored.memory.delete_memory(HERE, "mem_0001", change(4, KEY, 3))
    with pytest.raises(NotFound):
        await stored.memory.memory(HERE, "mem_0001")
    listed = await stored.memory.versions(HERE, VersionListing(with_content=True))
    told = [(each.operation, each.path, each.text and each.text.content, each.author) for each in listed]
    assert told == [
        ("deleted", "/b", None, KEY),
        ("modified", "/b", "two", None),
        ("modified", "/notes/0001.md", "two", SESSION),
        ("created", "/notes/0001.md", "é\n", KEY),
    ]
    await put(stored, memory(5, "/b"))  # the path is free again


async def test_an_edit_that_changes_nothing_leaves_no_version_whatever_it_expected(stored: AnyStore) -> None:
    await put(stored, memory())
    same = MemoryEdit(memory().path, memory().text, expected_sha256="0" * 64)
    assert await stored.memory.change_memory(HERE, "mem_0001", same, change(2)) == memory()
    assert await versions(stored) == ["memver_0001"]


async def test_what_was_expected_and_is_not_so_changes_nothing(stored: AnyStore) -> None:
    await put(stored, memory())
    edit = MemoryEdit(text=rules.text_of("two"), expected_sha256="0" * 64)
    for call in (
        stored.memory.change_memory(HERE, "mem_0001", edit, change(2)),
        stored.memory.delete_memory(HERE, "mem_0001", change(3), expected_sha256="0" * 64),
    ):
        with pytest.raises(MemoryPreconditionFailed):
            await call
    assert await stored.memory.memory(HERE, "mem_0001") == memory() and await versions(stored) == ["memver_0001"]
    right = memory().text.sha256
    await stored.memory.change_memory(HERE, "mem_0001", replace(edit, expected_sha256=right), change(2))
    await stored.memory.delete_memory(HERE, "mem_0001", change(3), expected_sha256=rules.text_of("two").sha256)


async def test_of_those_who_change_what_they_read_one_succeeds(stored: AnyStore) -> None:
    await put(stored, memory())
    edits = [
        stored.memory.change_memory(
            HERE, "mem_0001", MemoryEdit(text=rules.text_of(str(n)), expected_sha256=memory().text.sha256), change(n)
        )
        for n in range(2, 6)
    ]
    outcomes = await asyncio.gather(*edits, return_exceptions=True)
    assert sum(isinstance(each, MemoryPreconditionFailed) for each in outcomes) == 3
    assert len(await versions(stored)) == 2


async def test_memories_are_listed_by_path_in_the_order_of_bytes(stored: AnyStore) -> None:
    every = ["/B", "/a-b/1", "/a.md", "/a/1", "/a/b/2", "/a/c", "/a0", "/é"]
    for number, path in enumerate(reversed(every), 1):
        await put(stored, memory(number, path))
    assert await paths(stored) == every
    assert await paths(stored, limit=2) == every[:3]
    assert await paths(stored, after="/a.md") == every[3:]
    assert await paths(stored, prefix="/a/") == ["/a/1", "/a/b/2", "/a/c"]
    assert await paths(stored, prefix="/none/") == await paths(stored, prefix="/\x00/") == []
    rolled = ["/B", "/a-b/", "/a.md", "/a/", "/a0", "/é"]
    assert await paths(stored, rolled_up=True) == rolled
    assert await paths(stored, rolled_up=True, limit=1) == rolled[:2]
    assert await paths(stored, rolled_up=True, after="/a/") == rolled[4:]
    assert await paths(stored, rolled_up=True, prefix="/a/", after="/a/1") == ["/a/b/", "/a/c"]


async def test_contents_are_listed_on_request(stored: AnyStore) -> None:
    await put(stored, memory())
    (light,) = await stored.memory.memories(HERE, MemoryListing())
    (full,) = await stored.memory.memories(HERE, MemoryListing(with_content=True))
    assert full == memory() and light == memory(text=replace(memory().text, content=None))
    (version,) = await stored.memory.versions(HERE, VersionListing())
    assert version.text == replace(memory().text, content=None)


async def test_versions_are_found_by_what_they_are_of_and_who_wrote_them(stored: AnyStore) -> None:
    await put(stored, memory(1))
    await put(stored, memory(2), SESSION)
    await stored.memory.delete_memory(HERE, "mem_0001", change(3, SESSION, 1))
    assert await versions(stored) == ["memver_0003", "memver_0002", "memver_0001"]
    assert await versions(stored, limit=1) == ["memver_0003", "memver_0002"]
    assert await versions(stored, memory_id="mem_0001") == ["memver_0003", "memver_0001"]
    assert await versions(stored, operation="created") == ["memver_0002", "memver_0001"]
    assert await versions(stored, authors=(SESSION,)) == ["memver_0003", "memver_0002"]
    assert await versions(stored, authors=(SESSION, KEY)) == []
    assert await versions(stored, created_gt=T0) == ["memver_0003"]


async def test_a_redacted_version_says_nothing_and_a_memorys_newest_is_not_redacted(stored: AnyStore) -> None:
    await put(stored, memory())
    with pytest.raises(InvalidRequest, match="mem_0001"):
        await stored.memory.redact(HERE, "memver_0001", KEY, T0)
    await stored.memory.change_memory(HERE, "mem_0001", MemoryEdit(text=rules.text_of("two")), change(2))
    redacted = await stored.memory.redact(HERE, "memver_0001", SESSION, LATER)
    first = rules.written(memory(), change(1), new=True)
    assert redacted == replace(first, path=None, text=None, redacted_at=LATER, redacted_by=SESSION)
    assert await stored.memory.redact(HERE, "memver_0001", KEY, T0) == redacted
    assert await stored.memory.version(HERE, "memver_0001") == redacted
    assert await versions(stored) == ["memver_0002", "memver_0001"]


async def test_sessions_are_found_by_the_stores_that_they_have(stored: AnyStore) -> None:
    await stored.memory.insert(store_record(2))
    lease = await claimed(stored)
    wire = {"type": "memory_store", "memory_store_id": HERE, "access": "read_only"}
    having, without = session(resources=(stored_resource(wire),)), session()
    for record in (having, without):
        await stored.log.create(Commit(lease, 0, record))
    for _ in range(2):
        assert await stored.memory.attach(HERE, having.id) == store_record()

    async def found(store_id: str) -> list[str]:
        return [each.id for each in await stored.sessions.list(SessionListing(memory_store_id=store_id))]

    assert await found(HERE) == [having.id]
    assert await found("memstore_0002") == await found("\x00") == []
    await stored.memory.detach(HERE, without.id)
    assert await found(HERE) == [having.id]


async def test_an_attachment_that_is_given_up_finds_nothing(location: str, reopen: Reopen) -> None:
    del location
    store = await reopen()
    await store.memory.insert(store_record())
    record = session()
    await store.log.create(Commit(await claimed(store), 0, record))
    await store.memory.attach(HERE, record.id)
    await store.memory.detach(HERE, record.id)
    assert await store.sessions.list(SessionListing(memory_store_id=HERE)) == []


async def test_attachments_go_with_their_session(location: str, reopen: Reopen) -> None:
    del location
    store = await reopen()
    await store.memory.insert(store_record())
    lease, records = await claimed(store), (session(), session())
    for record in records:
        await store.memory.attach(HERE, record.id)
        await store.log.create(Commit(lease, 0, record))
    await store.log.delete(lease, SessionId(records[0].id))
    left = select(memory_attachments.c.session_id)
    assert await store._database.read(lambda at: at.execute(left).scalars().all()) == [records[1].id]


async def test_a_store_of_very_many_versions_is_deleted_in_portions(
    location: str, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    del location
    monkeypatch.setattr(agent_memory, "_PORTION", 3)
    store = await reopen()
    for number in (1, 2):
        await store.memory.insert(store_record(number))
    await put(store, memory(1))
    for number in range(2, 9):
        edit = MemoryEdit(text=rules.text_of(str(number)))
        await store.memory.change_memory(HERE, "mem_0001", edit, change(number))
    await store.memory.create_memory(memory(9, store_id="memstore_0002"), change(9))
    most = memory_versions.c.store_id == HERE

    def left(connection: Connection) -> int:
        return connection.execute(select(func.count()).where(most)).scalar_one()

    write, counts = store._database.write, list[int]()

    async def counted(work: Any, **options: Any) -> Any:
        counts.append(await store._database.read(left))
        return await write(work, **options)

    monkeypatch.setattr(store._database, "write", counted)
    await store.memory.delete(HERE)
    assert counts == [8, 5, 2] and await store._database.read(left) == 0
    assert [each.id for each in await store.memory.versions("memstore_0002", VersionListing())] == ["memver_0009"]
    with pytest.raises(NotFound):
        await store.memory.delete(HERE)


async def test_neither_an_archived_store_nor_an_unknown_one_is_attached(stored: AnyStore) -> None:
    with pytest.raises(NotFound):
        await stored.memory.attach("memstore_0002", "sesn_1")
    await stored.memory.archive(HERE, LATER)
    with pytest.raises(InvalidRequest):
        await stored.memory.attach(HERE, "sesn_1")
