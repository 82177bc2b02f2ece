"""What a result has said is kept later: it is, or it stays where it is.

Bug class this catches: memory that could not be kept while the database was away, and that goes with the files of its
session, or waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agents.clock import ManualClock
from agents.config import SandboxSettings
from agents.hands.checkpoint_store import LocalStore
from agents.hands.port import ToolCall, Workspace
from agents.hands.sandbox import SandboxUnavailable
from agents.memory.records import MemoryListing, MemoryRecord
from tests.unit.hands.conftest import place
from tests.unit.hands.results import said, told
from tests.unit.memory.stage import MOUNT, READ_ONLY, SESSION, Sandboxes, Stage, hosted, stage
from tests.unit.waiting import until

__all__ = ["place", "stage"]

NOTE = "echo x > /mnt/memory/notes/a"


@pytest.fixture
async def owing(stage: Stage, place: Path) -> AsyncIterator[Sandboxes]:
    """A host that nobody calls any more, with a session whose memory the store has not."""
    sandboxes = hosted(stage, place / "one", LocalStore(place / "store"), warm=0)
    await sandboxes.host.start()
    await sandboxes.bash("true")
    stage.away = True
    assert "tried again" in told(await sandboxes.bash(NOTE))
    await sandboxes.host._pool.drop(SESSION, discard=False)
    await until(lambda: not sandboxes.host._pool.knows(SESSION))
    yield sandboxes
    await sandboxes.host.stop()


async def test_files_with_memory_that_is_not_kept_stay_until_it_is(stage: Stage, owing: Sandboxes) -> None:
    host = owing.host
    assert not await host._owed.sweep()
    assert not await host._pool.evict(SESSION) and host._root.sessions() == [SESSION]
    stage.away = False
    assert await host._owed.sweep() and await stage.stored() == {"/a": "x\n"}
    assert not await host._owed.sweep()
    assert await host._pool.evict(SESSION) and host._root.sessions() == []


async def test_a_host_that_follows_keeps_what_nobody_asks_for(stage: Stage, owing: Sandboxes) -> None:
    await owing.host.stop()
    stage.away = False
    second = hosted(stage, owing.host.root, warm=0)
    await second.host.start()
    try:
        await until(lambda: not stage.mounts().owes(second.host.root / SESSION))
        assert await stage.stored() == {"/a": "x\n"}
    finally:
        await second.host.stop()


async def test_a_host_that_leaves_tries_again(stage: Stage, owing: Sandboxes) -> None:
    stage.away = False
    await owing.host.drain()
    assert await stage.stored() == {"/a": "x\n"}


async def test_a_session_is_not_deleted_with_what_is_not_kept(stage: Stage, owing: Sandboxes) -> None:
    with pytest.raises(SandboxUnavailable):
        await owing.host.release(SESSION, destroy=True)
    assert owing.host._root.sessions() == [SESSION]
    stage.away = False
    await owing.host.release(SESSION, destroy=True)
    assert owing.host._root.sessions() == [] and await stage.stored() == {"/a": "x\n"}


async def test_directories_give_way_to_newer_files_only_when_nothing_is_owed(
    stage: Stage, owing: Sandboxes, place: Path
) -> None:
    """The session goes on elsewhere and comes back."""
    stage.away = False
    other = hosted(stage, place / "two", LocalStore(place / "store"), warm=0)
    await other.host.start()
    try:
        other.version = 1
        newer = (await other.bash("echo newer > f")).version
    finally:
        await other.host.stop()
    assert newer is not None
    owing.version = newer
    stage.away = True
    assert "cannot be kept yet" in said(await owing.bash("cat f"))
    stage.away = False
    assert said(await owing.bash("cat f /mnt/memory/notes/a")) == "newer\nx"
    assert await stage.stored() == {"/a": "x\n"}


async def test_only_what_a_result_may_have_promised_is_owed(stage: Stage) -> None:
    mounts, base = stage.mounts(), stage.dirs.base
    stage.away = True
    with pytest.raises(SandboxUnavailable):
        await stage.sync()
    assert not mounts.owes(base)
    stage.away = False
    await stage.sync()
    stage.away = True
    await stage.sync(READ_ONLY)
    assert not mounts.owes(base)
    await stage.sync()
    assert mounts.owes(base)
    with pytest.raises(SandboxUnavailable):
        await mounts.bring_owed(SESSION, stage.dirs)
    stage.away = False
    (stage.notes / "a").write_text("x")
    await mounts.bring_owed(SESSION, stage.dirs)
    assert not mounts.owes(base) and await stage.stored() == {"/a": "x"}


async def test_a_store_that_was_deleted_is_owed_nothing(stage: Stage) -> None:
    await stage.sync()
    stage.away = True
    await stage.sync()
    stage.away = False
    await stage.memory.delete(MOUNT.source)
    await stage.mounts().bring_owed(SESSION, stage.dirs)
    assert not stage.mounts().owes(stage.dirs.base)


async def test_a_note_that_a_crash_of_the_machine_left_empty_holds_nothing_up(stage: Stage) -> None:
    await stage.sync()
    stage.away = True
    await stage.sync()
    (stage.dirs.base / "memory.owed").write_bytes(b"")
    await stage.mounts().bring_owed(SESSION, stage.dirs)
    assert not stage.mounts().owes(stage.dirs.base)


async def test_a_session_whose_memory_is_slow_keeps_no_other_from_being_put_away(
    stage: Stage, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    sandboxes = hosted(stage, place / "one", clock=clock, warm=0)
    await sandboxes.host.start()
    waiting, back = 0, asyncio.Event()
    read = stage.memory.memories

    async def slow(store_id: str, query: MemoryListing) -> Sequence[MemoryRecord | str]:
        nonlocal waiting
        waiting += 1
        await back.wait()
        return await read(store_id, query)

    try:
        both = [ToolCall(name, "bash", {"command": "true"}) for name in ("sesn_a", "sesn_b")]
        async with asyncio.TaskGroup() as calls:
            for call in both:
                calls.create_task(_called(sandboxes, call))
        monkeypatch.setattr(stage.memory, "memories", slow)
        clock.advance(SandboxSettings().idle_seconds)
        await until(lambda: waiting == 2, seconds=5)
    finally:
        back.set()
        await sandboxes.host.stop()


async def _called(sandboxes: Sandboxes, call: ToolCall) -> None:
    async for result in sandboxes.host.execute(Workspace(call.call_id, mounts=(MOUNT,)), [call]):
        assert not result.is_error
