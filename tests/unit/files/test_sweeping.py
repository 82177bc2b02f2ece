"""Gateways that clear away at the same time, and a place that does not let go of some bytes.

Bug class this catches: bytes that are removed under a file that was uploaded meanwhile; one object that cannot be
removed and keeps all others.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.files.blobs import Blobs
from agents.files.records import FileRecord
from agents.files.service import Files, NewFile
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import LocalStore, StoreUnavailable
from agents.store.memory import MemoryStore
from tests.unit.waiting import until


class SlowStore(LocalStore):
    """Stands still before it removes anything, until it may go on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.at_removal, self.may_go_on = threading.Event(), threading.Event()

    def remove(self, folder: str, names: Iterable[str]) -> None:
        if folder.startswith("blobs/"):
            self.at_removal.set()
            assert self.may_go_on.wait(20)
        super().remove(folder, names)


class StickyStore(LocalStore):
    """Does not let go of some objects."""

    stuck = ""

    def remove(self, folder: str, names: Iterable[str]) -> None:
        if self.stuck in names:
            raise StoreUnavailable("locked")
        super().remove(folder, names)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def records() -> MemoryStore:
    return MemoryStore()


def files_at(store: LocalStore, records: MemoryStore, clock: ManualClock) -> Files:
    return Files(records.files, Blobs(store), clock, FileSettings())


async def upload(files: Files, content: bytes) -> FileRecord:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return await files.add(await files.stage(chunks()), NewFile.checked("a", None, None), "wrkspc_1")


async def test_an_upload_keeps_its_bytes_while_two_gateways_clear_them_away(
    tmp_path: Path, records: MemoryStore, clock: ManualClock
) -> None:
    place = SlowStore(tmp_path)
    slow, quick = files_at(place, records, clock), files_at(LocalStore(tmp_path), records, clock)
    before = await upload(quick, b"content")
    await records.files.delete(before.id, clock.now())
    clock.advance(2 * 3600)
    sweeping = asyncio.create_task(slow.sweep())
    try:
        assert await asyncio.to_thread(place.at_removal.wait, 20)
        await quick.sweep()
        uploading = asyncio.create_task(upload(quick, b"content"))
        await until(lambda: uploading.done() or clock.sleeping)
    finally:
        place.may_go_on.set()
    await sweeping
    clock.advance(1)
    assert await quick.whole(await uploading) == b"content"


async def test_what_a_gateway_that_died_has_marked_is_removed_by_another_when_the_mark_is_old(
    tmp_path: Path, records: MemoryStore, clock: ManualClock
) -> None:
    files = files_at(LocalStore(tmp_path), records, clock)
    gone = await upload(files, b"content")
    await records.files.delete(gone.id, clock.now())
    clock.advance(2 * 3600)
    now = clock.now()
    assert await records.files.leaving(now, unclaimed_since=now, unmarked_since=now, limit=1) == [gone.sha256]
    clock.advance(800)
    await files.sweep()
    assert b"".join([piece async for piece in files.content(gone, 0, gone.size)]) == b"content"
    clock.advance(200)
    await files.sweep()
    with pytest.raises(FileNotFoundError):
        await files.whole(gone)


async def test_a_gateway_that_was_held_up_removes_nothing_by_a_mark_that_is_old(
    tmp_path: Path, records: MemoryStore, clock: ManualClock
) -> None:
    place = SlowStore(tmp_path)
    files = files_at(place, records, clock)
    both = sorted([await upload(files, b"1"), await upload(files, b"2")], key=lambda each: each.sha256)
    for each in both:
        await records.files.delete(each.id, clock.now())
    clock.advance(2 * 3600)
    sweeping = asyncio.create_task(files.sweep())
    try:
        assert await asyncio.to_thread(place.at_removal.wait, 20)
        clock.advance(700)
    finally:
        place.may_go_on.set()
    await sweeping
    assert await files.whole(both[1])


async def test_bytes_that_cannot_be_removed_keep_no_others_and_may_be_uploaded(
    tmp_path: Path, records: MemoryStore, clock: ManualClock
) -> None:
    place = StickyStore(tmp_path)
    files = files_at(place, records, clock)
    made = [await upload(files, bytes([number])) for number in range(3)]
    for each in made:
        await records.files.delete(each.id, clock.now())
    place.stuck = min(each.sha256 for each in made)
    clock.advance(2 * 3600)
    with pytest.raises(Unavailable):
        await files.sweep()
    left = [name for folder in {f"blobs/{each.sha256[:2]}" for each in made} for name in place.sizes(folder)]
    assert left == [place.stuck]
    number = [each.sha256 for each in made].index(place.stuck)
    again = asyncio.create_task(upload(files, bytes([number])))
    await until(lambda: again.done() or clock.sleeping)
    assert not clock.sleeping, "it waits for nobody"
    assert await files.whole(await again) == bytes([number])
