"""Memory stores in sandboxes: what a pass brings over, what it must not believe, what the model is told.

Bug class this catches: memories that are deleted because a directory was taken away, a change that is reported as kept
and is not, a store that is only read and yet written to.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from agents.errors import Unavailable
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import MEMORY
from agents.hands.store_directory import StoreDirectory
from agents.memory.mounting import NOT_NOW
from agents.memory.records import (
    Author,
    Change,
    MemoryEdit,
    MemoryRecord,
    MemoryStoreRecord,
    VersionListing,
)
from agents.telemetry import catalogue
from tests.unit.hands.conftest import place
from tests.unit.hands.results import said, told
from tests.unit.memory.stage import MOUNT, NOW, READ_ONLY, SESSION, STORE, Stage, hosted, stage

__all__ = ["place", "stage"]


async def test_a_process_that_follows_another_knows_what_was_deleted_and_what_is_new(stage: Stage) -> None:
    await stage.write("/a", "one")
    await stage.write("/b", "two")
    assert await stage.sync() == [] and (stage.notes / "a").read_text() == "one"
    (stage.notes / "a").unlink()
    await stage.write("/c", "three")
    await stage.sync()
    assert await stage.stored() == {"/b": "two", "/c": "three"} and (stage.notes / "c").read_text() == "three"
    versions = await stage.memory.versions(STORE, VersionListing(limit=10, authors=(Author("session_actor", SESSION),)))
    assert [each.operation for each in versions] == ["deleted"]


async def test_a_store_that_is_away_keeps_a_sandbox_from_starting_and_later_only_delays_changes(stage: Stage) -> None:
    await stage.write("/a", "one")
    stage.away = True
    with pytest.raises(SandboxUnavailable, match="the store is away"):
        await stage.sync()
    stage.away = False
    await stage.sync()
    (stage.notes / "new").write_text("mine")
    stage.away = True
    assert await stage.sync() == [f"{MOUNT.path}: {NOT_NOW}"] and "/new" not in await stage.stored()
    stage.away = False
    assert await stage.sync() == [] and (await stage.stored())["/new"] == "mine"
    passes = {labels: value for labels, (value,) in stage.recorder._series[catalogue.MEMORY_PASSES.name].items()}  # pyright: ignore[reportPrivateUsage]
    assert passes == {("ok",): 2, ("failed",): 2}


async def test_a_process_that_died_before_it_noted_what_it_did_repeats_nothing(stage: Stage) -> None:
    for path in ("/changed", "/gone", "/theirs"):
        await stage.write(path, "one")
    await stage.sync()
    noted = (stage.dirs.base / "memory.json").read_bytes()
    (stage.notes / "changed").write_text("mine")
    (stage.notes / "new").write_text("new")
    (stage.notes / "gone").unlink()
    await stage.sync()
    versions = await stage.memory.versions(STORE, VersionListing(limit=20))
    (stage.dirs.base / "memory.json").write_bytes(noted)
    assert await stage.sync() == [] and await stage.memory.versions(STORE, VersionListing(limit=20)) == versions
    assert await stage.stored() == {"/changed": "mine", "/new": "new", "/theirs": "one"}


@pytest.mark.parametrize("cut_off", [True, False])
async def test_what_a_pass_did_before_it_ended_halfway_is_no_change_of_somebody_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, cut_off: bool
) -> None:
    for path in ("/x", "/y"):
        await stage.write(path, "v1")
    await stage.sync()
    for path in ("x", "y"):
        (stage.notes / path).write_text("v2")
    change, reached = stage.memory.change_memory, asyncio.Event()

    async def second(store_id: str, memory_id: str, edit: MemoryEdit, by: Change) -> MemoryRecord:
        changed = await change(store_id, memory_id, edit, by)
        if changed.path == "/y":
            # It has arrived, and nobody is told.
            reached.set()
            if cut_off:
                await asyncio.Event().wait()
            raise Unavailable("the store went away")
        return changed

    monkeypatch.setattr(stage.memory, "change_memory", second)
    making = asyncio.create_task(stage.sync())
    await asyncio.wait_for(reached.wait(), 10)
    if cut_off:
        making.cancel()
        with pytest.raises(asyncio.CancelledError):
            await making
    else:
        assert await making == [f"{MOUNT.path}: {NOT_NOW}"]
    assert stage.mounts().owes(stage.dirs.base)
    monkeypatch.undo()
    for path in ("x", "y"):
        (stage.notes / path).write_text("v3")
    assert await stage.sync() == [] and await stage.stored() == {"/x": "v3", "/y": "v3"}


async def test_nothing_is_believed_of_a_directory_that_is_taken_away_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.write("/only", "one")
    await stage.sync()
    look = StoreDirectory.digests

    async def removed(directory: StoreDirectory) -> Mapping[str, str] | None:
        stage.dirs.base.rename(stage.dirs.base.parent / "trash")
        (stage.dirs.base.parent / "trash" / MEMORY / "notes" / "only").unlink()
        stage.notes.mkdir(parents=True)
        return await look(directory)

    monkeypatch.setattr(StoreDirectory, "digests", removed)
    assert await stage.sync() == [f"{MOUNT.path}: {NOT_NOW}"]
    assert await stage.stored() == {"/only": "one"}
    # What is noted belongs to what was taken away.
    assert [each.name for each in stage.dirs.base.iterdir()] == [MEMORY]


async def test_what_a_later_release_noted_beside_is_left_out(stage: Stage) -> None:
    await stage.write("/a", "one")
    await stage.sync()
    note = stage.dirs.base / "memory.json"
    noted = orjson.loads(note.read_bytes())
    note.write_bytes(orjson.dumps({STORE: {**noted[STORE], "later": 1}}))
    (stage.notes / "a").unlink()
    assert await stage.sync() == [] and await stage.stored() == {}


async def test_nothing_is_known_of_a_directory_that_is_made_anew(stage: Stage) -> None:
    await stage.write("/only", "one")
    await stage.sync()
    stage.notes.rename(stage.dirs.base / "elsewhere")
    assert await stage.sync() == [] and await stage.stored() == {"/only": "one"}
    assert (stage.notes / "only").read_text() == "one"


async def test_the_model_is_told_once_of_what_is_not_kept(stage: Stage) -> None:
    await stage.write("/a", "one")
    await stage.sync()
    (stage.notes / "binary").write_bytes(b"\xff")
    (stage.notes / "ends.").mkdir()
    assert await stage.sync() == [f"Not kept in memory:\n{MOUNT.path}/binary: is no text in UTF-8"]
    assert await stage.sync() == []
    for number in range(12):
        (stage.notes / f"{number:02}").write_bytes(b"\xff")
    (line,) = await stage.sync()
    assert "/09: " in line and "/10: " not in line and line.endswith(f"{MOUNT.path}: so it is with 2 more files")


async def test_a_store_that_is_deleted_is_told_of_once(stage: Stage) -> None:
    await stage.sync()
    await stage.memory.delete(STORE)
    assert await stage.sync() == [f"{MOUNT.path}: this memory store was deleted; nothing there is kept."]
    assert await stage.sync() == []


async def test_a_file_whose_name_is_no_text_hurts_nobody(stage: Stage) -> None:
    await stage.sync()
    (stage.notes / "bad\udcff").write_text("x")
    (stage.notes / "fine").write_text("x")
    (line,) = await stage.sync()
    assert f"{MOUNT.path}/bad?" in line
    assert await stage.sync() == [] and await stage.stored() == {"/fine": "x"}


async def test_a_directory_that_is_only_read_comes_back_to_what_the_store_has(stage: Stage) -> None:
    await stage.write("/d/a", "one")
    await stage.sync(READ_ONLY)
    assert oct((stage.notes / "d/a").stat().st_mode)[-3:] == "444"
    assert [oct(each.stat().st_mode)[-3:] for each in (stage.notes, stage.notes / "d")] == ["555", "555"]
    # What a user could do whom nothing but modes keep from it.
    subprocess.run(["chmod", "-R", "u+w", stage.notes], check=True)
    (stage.notes / "d/a").write_text("mine")
    (stage.notes / "new").write_text("new")
    (line,) = await stage.sync(READ_ONLY)
    assert f"{MOUNT.path}/d/a: your change was undone: this memory store is read-only" in line and "/new: " in line
    assert (stage.notes / "d/a").read_text() == "one" and not (stage.notes / "new").exists()
    await stage.memory.delete(STORE)
    await stage.memory.insert(MemoryStoreRecord(STORE, {"name": "Notes"}, NOW, NOW))
    await stage.sync(READ_ONLY)
    assert not (stage.notes / "d").exists() and await stage.stored() == {}


async def test_a_directory_that_is_only_read_is_written_past_no_link(stage: Stage) -> None:
    await stage.sync(READ_ONLY)
    outside = stage.dirs.base.parent / "outside"
    outside.mkdir()
    (outside / "a").write_text("not the sandbox's")
    stage.notes.chmod(0o755)
    (stage.notes / "d").symlink_to(outside)
    (stage.notes / "b").symlink_to(outside / "a")
    await stage.write("/d/a", "x")
    await stage.write("/b", "x")
    (line,) = await stage.sync(READ_ONLY)
    assert f"{MOUNT.path}/d/a: " in line and (stage.notes / "b").read_text() == "x"
    assert (outside / "a").read_text() == "not the sandbox's"


async def test_a_call_that_has_ended_is_in_the_store_and_the_next_sees_what_others_wrote(
    stage: Stage, place: Path
) -> None:
    sandboxes = hosted(stage, place / "root")
    await sandboxes.host.start()
    try:
        await stage.write("/a", "one")
        assert said(await sandboxes.bash("cat /mnt/memory/notes/a; echo mine > /mnt/memory/notes/b")) == "one"
        assert await stage.stored() == {"/a": "one", "/b": "mine\n"}
        await stage.write("/c", "three")
        (read,) = await sandboxes.all(("read", {"file_path": "/mnt/memory/notes/c"}))
        assert "three" in said(read)
        (write,) = await sandboxes.all(("write", {"file_path": "/mnt/memory/notes/d/e", "content": "deep"}))
        assert not write.is_error and (await stage.stored())["/d/e"] == "deep"
        for command in ("touch /mnt/memory/x", "rmdir /mnt/memory/notes", "mv /mnt/memory/notes /mnt/memory/other"):
            assert (await sandboxes.bash(command)).is_error, command
    finally:
        await sandboxes.host.stop()


async def test_calls_of_one_batch_share_their_passes(stage: Stage, place: Path) -> None:
    sandboxes = hosted(stage, place / "root")
    await sandboxes.host.start()
    try:
        await sandboxes.bash("true")
        stage.opened = 0
        writes = [("write", {"file_path": f"/mnt/memory/notes/{number}", "content": "x"}) for number in range(12)]
        assert not any(each.is_error for each in await sandboxes.all(*writes))
        assert len(await stage.stored()) == 12 and stage.opened < 24
    finally:
        await sandboxes.host.stop()


async def test_a_result_says_when_its_changes_are_not_kept_yet_and_the_last_pass_keeps_them(
    stage: Stage, place: Path
) -> None:
    sandboxes = hosted(stage, place / "root")
    await sandboxes.host.start()
    try:
        await sandboxes.bash("true")
        stage.away = True
        assert told(await sandboxes.bash("echo x > /mnt/memory/notes/a")).count(NOT_NOW) == 1
        assert await stage.stored() == {}
        stage.away = False
    finally:
        await sandboxes.host.stop()
    assert await stage.stored() == {"/a": "x\n"}


async def test_a_host_that_follows_on_the_same_files_brings_what_one_that_died_had_not(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hosted(stage, place / "root", warm=0)
    await first.host.start()
    await first.bash("echo x > /mnt/memory/notes/a; echo y > /mnt/memory/notes/b")
    stage.away = True
    await first.bash("rm /mnt/memory/notes/a; echo z > /mnt/memory/notes/c")
    await first.host.stop()  # as good as dead: its last pass fails, too
    stage.away = False
    second = hosted(stage, place / "root", warm=0)
    await second.host.start()
    try:
        await second.all(("glob", {"pattern": "*", "path": "/mnt/memory/notes"}))
        assert await stage.stored() == {"/b": "y\n", "/c": "z\n"}
    finally:
        await second.host.stop()


async def test_a_sandbox_changes_nothing_of_what_it_only_reads(stage: Stage, place: Path) -> None:
    await stage.write("/d/a", "one\n")
    sandboxes = hosted(stage, place / "root")
    await sandboxes.host.start()
    try:
        here = "/mnt/memory/notes"
        assert said((await sandboxes.all(("bash", {"command": f"cat {here}/d/a"}), mount=READ_ONLY))[0]) == "one"
        for command in (f"echo x > {here}/d/a", f"touch {here}/new", f"rm -rf {here}/d", f"chmod u+w {here}"):
            (result,) = await sandboxes.all(("bash", {"command": command}), mount=READ_ONLY)
            # A server that is no root is the owner of them: there modes can be changed, and the store cannot.
            assert result.is_error or command.startswith("chmod"), command
        assert await stage.stored() == {"/d/a": "one\n"}
    finally:
        await sandboxes.host.stop()
