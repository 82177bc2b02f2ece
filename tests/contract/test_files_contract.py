"""What the repository of files promises (port: agents.files.records).

Bug class this catches: a row that names a blob which is being removed, or was; a workspace that outgrows its room.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from store_records import T0, AnyStore, claimed, session

from agents.errors import Conflict, InvalidRequest, NotFound
from agents.files.records import BlobLeaving, FileKind, FileListing, FileRecord, OutputBounds, StorageFull
from agents.sessions.log import Commit

MUCH = 10**12
LATER = T0 + timedelta(hours=2)


def file(number: int = 1, **changes: Any) -> FileRecord:
    made = FileRecord(f"file_{number:04}", "é.txt", "text/plain", 10, f"sha{number}", T0)
    return replace(made, **changes)


def mounted(number: int, source: FileRecord, session_id: str = "sesn_1") -> FileRecord:
    return replace(source, id=f"file_{number:04}", kind=FileKind.MOUNT, session_id=session_id)


def output(number: int, path: str, **changes: Any) -> FileRecord:
    return file(number, kind=FileKind.OUTPUT, session_id="sesn_1", path=path, **changes)


async def put(store: AnyStore, *files: FileRecord) -> None:
    for each in files:
        await store.files.claim(each.sha256, each.size, T0)
        await store.files.insert(each, most_bytes=MUCH)


async def leaving(
    store: AnyStore, unclaimed_since: datetime, *, at: datetime = LATER, unmarked_since: datetime = T0
) -> list[str]:
    since = {"unclaimed_since": unclaimed_since, "unmarked_since": unmarked_since}
    return list(await store.files.leaving(at, **since, limit=10))


async def ids(store: AnyStore, **query: Any) -> list[str]:
    return [each.id for each in await store.files.list(FileListing(**query))]


async def test_what_is_stored_is_read_back(store: AnyStore) -> None:
    full = output(2, "a/b.csv", expires_at=LATER, workspace_id="w")
    await put(store, file(), full)
    assert await store.files.get(file().id) == file()
    assert await store.files.get(full.id) == full
    assert await store.owners.workspace_of("file", full.id) == "w"


@pytest.mark.parametrize("name", ["file_x", "\x00", "\ud800"])
async def test_what_is_not_there_is_not_found(store: AnyStore, name: str) -> None:
    await put(store, file())
    for call in (
        store.files.get(name),
        store.files.delete(name, T0),
        store.files.insert_copy(mounted(2, file()), name.replace("\x00", "x").replace("\ud800", "y")),
    ):
        with pytest.raises(NotFound):
            await call
    assert await store.owners.workspace_of("file", name) is None
    assert await ids(store, session_id=name) == await ids(store, ids=(name,)) == []


async def test_a_taken_id_is_a_conflict_and_a_name_that_no_database_holds_a_fault(store: AnyStore) -> None:
    await put(store, file())
    with pytest.raises(Conflict):
        await store.files.insert(file(), most_bytes=MUCH)
    with pytest.raises(InvalidRequest):
        await store.files.insert(file(2, filename="\x00"), most_bytes=MUCH)


async def test_listings_are_by_workspace_session_and_ids_newest_first(store: AnyStore) -> None:
    first, second = file(1), file(2, created_at=T0 + timedelta(seconds=1))
    await put(store, first, second, file(3, workspace_id="other"))
    copy = mounted(4, first)
    await store.files.insert_copy(copy, first.id)
    assert await ids(store, workspace_id="default") == [second.id, copy.id, first.id]
    assert await ids(store, session_id="sesn_1") == [copy.id]
    assert await ids(store, ids=(first.id, "file_x"), workspace_id="other") == []
    assert await ids(store, ids=(first.id, "file_x")) == [first.id]
    assert await ids(store, limit=1) == [second.id, copy.id]
    assert await ids(store, after=(T0, copy.id), workspace_id="default") == [first.id]


async def test_a_workspace_has_room_for_so_much_and_mounts_take_none(store: AnyStore) -> None:
    await put(store, file(1), file(2, workspace_id="other"))
    await store.files.insert_copy(mounted(3, file(1)), file(1).id)
    with pytest.raises(StorageFull) as refused:
        await store.files.insert(file(4), most_bytes=19)
    assert refused.value.error_code == "storage_quota_exceeded"
    await store.files.insert(file(4), most_bytes=20)
    await store.files.delete(file(1).id, T0)
    await store.files.insert(file(5), most_bytes=20)


async def test_an_output_takes_the_place_of_the_one_before_it(store: AnyStore) -> None:
    await put(store, output(1, "a"), output(2, "b"))
    await store.files.insert(output(3, "a"), most_bytes=20)
    assert await ids(store, session_id="sesn_1") == ["file_0003", "file_0002"]
    with pytest.raises(StorageFull):
        await store.files.insert(output(4, "a", size=11), most_bytes=20)
    assert await ids(store, session_id="sesn_1") == ["file_0003", "file_0002"]


async def test_a_session_has_room_for_so_many_outputs_and_so_much(store: AnyStore) -> None:
    most = OutputBounds(2, 25)
    await put(store, output(1, "a"), file(2), replace(output(3, "a"), session_id="sesn_2"))
    await store.files.insert(output(4, "b"), most_bytes=MUCH, outputs=most)
    with pytest.raises(StorageFull):
        await store.files.insert(output(5, "c", size=1), most_bytes=MUCH, outputs=most)
    with pytest.raises(StorageFull):
        await store.files.insert(output(5, "b", size=16), most_bytes=MUCH, outputs=most)
    await store.files.insert(output(5, "b", size=15), most_bytes=MUCH, outputs=most)
    assert await ids(store, session_id="sesn_1") == ["file_0005", "file_0001"]


async def test_a_copy_has_the_bytes_of_its_source_or_is_none(store: AnyStore) -> None:
    await put(store, file())
    with pytest.raises(NotFound):
        await store.files.insert_copy(replace(mounted(2, file()), sha256="other"), file().id)
    for _ in range(2):
        await store.files.insert_copy(mounted(2, file()), file().id)
    assert await ids(store, session_id="sesn_1") == ["file_0002"]
    await store.files.delete(file().id, T0)
    assert await leaving(store, LATER) == []


async def test_the_files_of_a_session_go_together(store: AnyStore) -> None:
    await put(store, file(1), output(2, "a"), replace(output(3, "a"), session_id="sesn_2"))
    await store.files.insert_copy(mounted(4, file(1)), file(1).id)
    await store.files.delete_of_session("sesn_1", T0)
    assert await ids(store) == ["file_0003", "file_0001"]


async def test_files_of_sessions_that_are_not_there_go_when_they_are_old(store: AnyStore) -> None:
    record = session()
    await store.log.create(Commit(await claimed(store), 0, record))
    await put(store, file(1), output(2, "a"), replace(output(3, "a"), session_id=record.id))
    assert await store.files.delete_orphans(LATER, made_before=T0) == 0
    assert await store.files.delete_orphans(LATER, made_before=LATER) == 1
    assert await ids(store) == ["file_0003", "file_0001"]


async def test_an_expired_file_stays_without_its_bytes(store: AnyStore) -> None:
    await put(store, file(1, expires_at=LATER), file(2))
    assert await store.files.expire(LATER - timedelta(microseconds=1)) == 0
    assert await store.files.expire(LATER) == 1
    assert await store.files.expire(LATER) == 0
    assert (await store.files.get("file_0001")).sha256 == ""
    assert await leaving(store, LATER + timedelta(seconds=1)) == ["sha1"]


async def test_a_blob_leaves_when_no_file_has_it_and_nobody_has_claimed_it_of_late(store: AnyStore) -> None:
    await put(store, file(1), file(2, sha256="sha1"))
    await store.files.delete("file_0001", T0)
    assert await leaving(store, LATER) == []
    await store.files.delete("file_0002", T0)
    assert await leaving(store, T0) == []
    await store.files.claim("sha1", 10, T0 + timedelta(hours=1))
    assert await leaving(store, T0 + timedelta(hours=1)) == []
    assert await leaving(store, LATER) == ["sha1"]


async def test_a_blob_that_loses_its_last_file_counts_as_claimed_then(store: AnyStore) -> None:
    others = replace(output(3, "a"), session_id="sesn_2"), replace(output(4, "b"), session_id="sesn_3")
    await put(store, file(1), output(2, "a"), *others, file(5, expires_at=LATER))
    await store.files.delete("file_0001", LATER)
    await store.files.delete_of_session("sesn_1", LATER)
    await store.files.claim("sha6", 10, LATER)
    await store.files.insert(replace(others[1], id="file_0006", sha256="sha6", created_at=LATER), most_bytes=MUCH)
    assert await store.files.delete_orphans(LATER, made_before=LATER) == 1
    await store.files.expire(LATER)
    assert await leaving(store, LATER) == []
    assert await leaving(store, LATER + timedelta(seconds=1)) == ["sha1", "sha2", "sha3", "sha4", "sha5"]


async def test_a_blob_that_is_leaving_cannot_be_claimed_until_it_is_gone(store: AnyStore) -> None:
    await store.files.claim("sha1", 10, T0)
    assert await leaving(store, LATER) == ["sha1"]
    with pytest.raises(BlobLeaving):
        await store.files.claim("sha1", 10, LATER)
    await store.files.gone("sha1", LATER)
    await store.files.claim("sha1", 10, LATER)
    await store.files.gone("sha1", LATER)
    with pytest.raises(BlobLeaving):
        await _leave_and_claim(store)


async def _leave_and_claim(store: AnyStore) -> None:
    assert await leaving(store, LATER + timedelta(seconds=1)) == ["sha1"]
    await store.files.claim("sha1", 10, LATER)


async def test_each_blob_is_given_to_one_sweep_until_its_mark_is_old(store: AnyStore) -> None:
    for number in range(3):
        await store.files.claim(f"sha{number}", 10, T0)
    soon, much_later = LATER + timedelta(seconds=1), LATER + timedelta(minutes=15)
    both = await asyncio.gather(leaving(store, LATER), leaving(store, LATER, at=soon))
    assert sorted(name for each in both for name in each) == ["sha0", "sha1", "sha2"]
    assert await leaving(store, much_later, unmarked_since=LATER) == []
    assert await leaving(store, T0, at=much_later, unmarked_since=soon + timedelta(seconds=1)) == [
        "sha0", "sha1", "sha2"
    ], "a sweep that was broken off goes on"  # fmt: skip
    for mark in (LATER, soon):  # those whose marks they were know no better
        await store.files.gone("sha1", mark)
        await store.files.stay("sha1", mark)
    with pytest.raises(BlobLeaving):
        await store.files.claim("sha1", 10, much_later)
    await store.files.gone("sha1", much_later)
    await store.files.claim("sha1", 10, much_later)


async def test_a_blob_that_could_not_be_removed_stays_and_its_turn_comes_last(store: AnyStore) -> None:
    await store.files.claim("sha1", 10, T0)
    assert await leaving(store, LATER) == ["sha1"]
    await store.files.stay("sha1", LATER)
    assert await leaving(store, LATER) == []
    assert await leaving(store, LATER + timedelta(seconds=1), at=LATER + timedelta(hours=1)) == ["sha1"]
    await store.files.stay("sha1", LATER + timedelta(hours=1))
    await store.files.claim("sha1", 10, T0)
