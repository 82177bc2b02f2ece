"""A directory and a memory store, kept the same.

Bug class this catches: a change that is lost when somebody else writes in between, a file that the store refuses and
that holds up all others, a store that is only read and yet written to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.memory import rules
from agents.memory.mirror import Base, MemoryMirror, SyncPass, TooManyEntries
from agents.memory.records import Change, MemoryEdit, MemoryListing, MemoryRecord, MemoryStoreRecord, VersionListing
from agents.store.memory_agent_memory import MemoryAgentMemory

STORE, SESSION = "memstore_1", "sesn_1"
NOW = ManualClock().now()


class Files:
    """A directory of a test; ``None`` is a file that is no text."""

    def __init__(self) -> None:
        self.files: dict[str, str | None] = {}
        self.broken: set[str] = set()
        self.gone = False

    async def digests(self) -> Mapping[str, str] | None:
        if self.gone:
            return None
        return {path: hashlib.sha256((text or "\0").encode()).hexdigest() for path, text in self.files.items()}

    async def digest(self, path: str) -> str | None:
        return (await self.digests() or {}).get(path)

    async def read(self, path: str) -> str | None:
        return self.files.get(path)

    async def write(self, path: str, content: str) -> None:
        if path in self.broken:
            raise OSError(28, "No space left on device")
        self.files[path] = content

    async def remove(self, path: str) -> None:
        self.files.pop(path, None)


class Scene:
    """A store, a directory, and what both had last."""

    def __init__(self) -> None:
        self.memory = MemoryAgentMemory()
        self.files = Files()
        self.base = Base()
        self.count = 0

    @property
    def both(self) -> dict[str, str]:
        return self.base.both

    async def write(self, path: str, content: str) -> None:
        """Write to the store, as a client of the API does."""
        change, text = self.change(), rules.text_of(content)
        for each in await self.memory.memories(STORE, MemoryListing(limit=100)):
            if isinstance(each, MemoryRecord) and each.path == path:
                await self.memory.change_memory(STORE, each.id, MemoryEdit(text=text), change)
                return
        await self.memory.create_memory(
            MemoryRecord(f"mem_{self.count}", STORE, change.version_id, path, text, NOW, NOW), change
        )

    async def delete(self, path: str) -> None:
        for each in await self.memory.memories(STORE, MemoryListing(limit=100)):
            if isinstance(each, MemoryRecord) and each.path == path:
                await self.memory.delete_memory(STORE, each.id, self.change())

    def change(self) -> Change:
        self.count += 1
        return Change(f"memver_{self.count}", None, NOW)

    async def sync(self, *, read_only: bool = False) -> SyncPass:
        mirror = MemoryMirror(self.memory, ManualClock())
        return await mirror.synchronize(STORE, SESSION, self.files, self.base, read_only=read_only)

    async def stored(self) -> dict[str, str | None]:
        found = await self.memory.memories(STORE, MemoryListing(limit=100, with_content=True))
        return {each.path: each.text.content for each in found if isinstance(each, MemoryRecord)}


@pytest.fixture
async def scene() -> Scene:
    scene = Scene()
    await scene.memory.insert(MemoryStoreRecord(STORE, {"name": "n"}, NOW, NOW))
    return scene


async def test_changes_of_both_sides_meet_and_stay(scene: Scene) -> None:
    await scene.write("/a", "one")
    await scene.write("/b", "two")
    await scene.sync()
    assert scene.files.files == {"/a": "one", "/b": "two"}
    scene.files.files |= {"/a": "mine", "/new/c": "three"}
    await scene.write("/b", "theirs")
    done = await scene.sync()
    assert scene.files.files == await scene.stored() == {"/a": "mine", "/b": "theirs", "/new/c": "three"}
    assert (done.lost, done.refused) == ((), {})
    del scene.files.files["/a"]
    await scene.delete("/b")
    await scene.sync()
    assert scene.files.files == await scene.stored() == {"/new/c": "three"}
    versions = await scene.memory.versions(STORE, VersionListing(limit=100))
    assert [each.operation for each in versions if each.author is not None] == ["deleted", "created", "modified"]
    assert {each.author.id for each in versions if each.author is not None} == {SESSION}
    await scene.sync()
    assert await scene.memory.versions(STORE, VersionListing(limit=100)) == versions


async def test_of_a_file_that_changed_on_both_sides_the_stores_text_wins(scene: Scene) -> None:
    await scene.write("/a", "one")
    await scene.sync()
    scene.files.files["/a"] = "mine"
    await scene.write("/a", "theirs")
    done = await scene.sync()
    assert done.lost == ("/a",) and scene.files.files == await scene.stored() == {"/a": "theirs"}


async def test_a_directory_may_become_a_file_and_a_file_a_directory(scene: Scene) -> None:
    await scene.write("/a/b", "one")
    await scene.write("/c", "two")
    await scene.sync()
    scene.files.files = {"/a": "file", "/c/d": "deep"}
    await scene.sync()
    assert await scene.stored() == {"/a": "file", "/c/d": "deep"}


async def test_a_store_that_is_only_read_stays_and_the_directory_comes_back_to_it(scene: Scene) -> None:
    await scene.write("/a", "one")
    await scene.sync(read_only=True)
    scene.files.files = {"/a": "mine", "/b": "new"}
    done = await scene.sync(read_only=True)
    assert scene.files.files == await scene.stored() == {"/a": "one"} and done.lost == ("/a", "/b")


async def test_what_the_store_refuses_holds_up_nothing_else(scene: Scene) -> None:
    await scene.write("/taken/x", "")
    await scene.sync()
    large = "x" * (rules.MAX_CONTENT_BYTES + 1)
    scene.files.files |= {"/large": large, "/binary": None, "/new\nline": "", "/taken/x/y": "", "/fine": "yes"}
    done = await scene.sync()
    assert set(done.refused) == {"/large", "/binary", "/new\nline", "/taken/x/y"}
    assert await scene.stored() == {"/taken/x": "", "/fine": "yes"}
    scene.files.files["/large"] = "small"
    assert "/large" not in (await scene.sync()).refused and (await scene.stored())["/large"] == "small"


async def test_what_the_directory_does_not_take_is_tried_again(scene: Scene) -> None:
    await scene.write("/a", "one")
    scene.files.broken = {"/a"}
    assert (await scene.sync()).refused == {"/a": "No space left on device"} and scene.both == {}
    scene.files.broken = set()
    await scene.sync()
    assert scene.files.files == {"/a": "one"}


async def test_a_directory_that_was_swept_away_is_made_anew(scene: Scene) -> None:
    await scene.write("/a", "one")
    await scene.sync()
    scene.files.files, scene.files.gone = {}, True
    await scene.sync()
    assert scene.files.files == await scene.stored() == {"/a": "one"}
    scene.files.gone = False
    await scene.write("/b", "two")
    await scene.sync()
    scene.files.files = {}
    await scene.sync()
    assert scene.files.files == await scene.stored() == {"/a": "one", "/b": "two"}


async def test_many_memories_are_read_a_stretch_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(90):
        await scene.write(f"/{number:02}", str(number))
    asked: list[str] = []
    one = scene.memory.memory

    async def counted(store_id: str, memory_id: str) -> MemoryRecord:
        asked.append(memory_id)
        return await one(store_id, memory_id)

    monkeypatch.setattr(scene.memory, "memory", counted)
    done = await scene.sync()
    assert scene.files.files == await scene.stored() and len(scene.files.files) == 90
    assert asked == [] and done.acts["fetch"] == 90
    # What lies far apart is not worth reading all between.
    for number in (3, 80):
        await scene.write(f"/{number:02}", "new")
    asked.clear()
    await scene.sync()
    assert len(asked) == 2 and scene.files.files == await scene.stored()


async def test_a_full_store_takes_no_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_MEMORIES", 2)
    scene.files.files = {"/a": "1", "/b": "2", "/c": "3"}
    assert set((await scene.sync()).refused) == {"/c"} and set(await scene.stored()) == {"/a", "/b"}


async def test_who_was_faster_is_not_written_over(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody writes between the listing and the update."""
    await scene.write("/a", "one")
    await scene.sync()
    scene.files.files["/a"] = "mine"
    read = scene.files.read

    async def late(path: str) -> str | None:
        await scene.write("/a", "theirs")
        return await read(path)

    monkeypatch.setattr(scene.files, "read", late)
    await scene.sync()
    assert await scene.stored() == {"/a": "theirs"}
    assert (await scene.sync()).lost == ("/a",) and scene.files.files == {"/a": "theirs"}


def failing(scene: Scene, monkeypatch: pytest.MonkeyPatch, path: str, *, arrives: bool) -> None:
    """Let the next change of a memory have no answer, whether the store gets it or not."""
    change = scene.memory.change_memory

    async def once(store_id: str, memory_id: str, edit: MemoryEdit, by: Change) -> MemoryRecord:
        stored = await scene.memory.memory(store_id, memory_id)
        if stored.path != path:
            return await change(store_id, memory_id, edit, by)
        monkeypatch.undo()
        if arrives:
            await change(store_id, memory_id, edit, by)
        raise Unavailable("the database went away")

    monkeypatch.setattr(scene.memory, "change_memory", once)


async def test_what_a_pass_did_before_it_failed_is_no_change_of_somebody_else(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.write("/x", "v1")
    await scene.write("/y", "v1")
    await scene.sync()
    scene.files.files |= {"/x": "v2", "/y": "v2"}
    failing(scene, monkeypatch, "/y", arrives=False)
    assert isinstance((await scene.sync()).failed, Unavailable)
    assert await scene.stored() == {"/x": "v2", "/y": "v1"}
    scene.files.files["/x"] = "v3"
    done = await scene.sync()
    assert (done.lost, done.failed) == ((), None)
    assert await scene.stored() == scene.files.files == {"/x": "v3", "/y": "v2"}


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_change_whose_answer_is_lost_keeps_no_later_one_from_the_store(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    await scene.write("/x", "v1")
    await scene.sync()
    scene.files.files["/x"] = "v2"
    failing(scene, monkeypatch, "/x", arrives=arrives)
    await scene.sync()
    scene.files.files["/x"] = "v1"  # as it was before
    done = await scene.sync()
    assert done.lost == () and await scene.stored() == scene.files.files == {"/x": "v1"}
    assert scene.base.sent == {}


async def test_only_what_has_given_way_already_is_lost_in_a_pass_that_failed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.write("/x", "v1")
    await scene.write("/y", "v1")
    await scene.sync()
    scene.files.files |= {"/x": "mine", "/y": "mine"}
    await scene.write("/x", "theirs")
    failing(scene, monkeypatch, "/y", arrives=False)
    done = await scene.sync()
    assert done.failed is not None and done.lost == () and scene.files.files["/x"] == "mine"
    assert (await scene.sync()).lost == ("/x",)


async def test_a_file_of_a_full_store_can_be_renamed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_MEMORIES", 2)
    scene.files.files = {"/a": "1", "/b": "2"}
    await scene.sync()
    scene.files.files = {"/c": "1", "/b": "2"}
    assert (await scene.sync()).refused == {} and await scene.stored() == {"/b": "2", "/c": "1"}


async def test_an_archived_store_is_asked_to_take_only_one_of_many_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.write("/a", "one")
    await scene.write("/b", "one")
    await scene.sync()
    await scene.memory.archive(STORE, NOW)
    scene.files.files |= {"/a": "two", "/b": "two", "/c": "new", "/d": "new"}
    asked = list[str]()
    for name in ("create_memory", "change_memory"):
        take = getattr(scene.memory, name)

        async def counted(*given: object, take: Any = take) -> object:
            asked.append(take.__name__)
            return await take(*given)

        monkeypatch.setattr(scene.memory, name, counted)
    why = (await scene.sync()).refused
    assert set(why) == {"/a", "/b", "/c", "/d"} and len(set(why.values())) == 1 and asked == ["change_memory"]


async def test_too_many_files_are_told_of_and_change_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.write("/a", "one")
    await scene.sync()

    async def too_many() -> Mapping[str, str] | None:
        raise TooManyEntries(3)

    monkeypatch.setattr(scene.files, "digests", too_many)
    assert (await scene.sync()).refused == {
        "": "has more than 3 files and directories: until there are fewer, nothing there is kept"
    }
    monkeypatch.undo()
    scene.files.files["/a"] = "mine"
    assert (await scene.sync()).lost == () and await scene.stored() == {"/a": "mine"}


async def test_what_is_written_while_a_pass_runs_is_left_to_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/fetched", "/removed"):
        await scene.write(path, "one")
    await scene.sync()
    await scene.write("/fetched", "theirs")
    await scene.delete("/removed")
    digests = scene.files.digests

    async def before_they_are_written() -> Mapping[str, str] | None:
        monkeypatch.undo()
        found = await digests()
        scene.files.files |= {"/fetched": "mine", "/removed": "mine"}
        return found

    monkeypatch.setattr(scene.files, "digests", before_they_are_written)
    done = await scene.sync()
    assert set(scene.files.files.values()) == {"mine"} and (done.lost, done.acts["overtaken"]) == ((), 2)
    assert (await scene.sync()).lost == ("/fetched",)
    assert scene.files.files == await scene.stored() == {"/fetched": "theirs", "/removed": "mine"}
