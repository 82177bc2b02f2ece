"""A memory store, the directories of a sandbox that has it, and hosts of such sandboxes, for tests."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from agents.clock import Clock, ManualClock, SystemClock
from agents.config import SandboxSettings
from agents.errors import Unavailable
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.host import SandboxHost
from agents.hands.mounts import Mounts
from agents.hands.port import Mount, ToolCall, ToolResult, Workspace
from agents.hands.sandbox_dirs import MEMORY, SandboxDirs
from agents.ids import new_memory_id
from agents.memory import rules
from agents.memory.mounting import MemoryMounts
from agents.memory.records import Change, MemoryListing, MemoryRecord, MemoryStoreRecord
from agents.store.memory_agent_memory import MemoryAgentMemory
from agents.telemetry.recorder import Recorder

STORE, SESSION = "memstore_1", "sesn_a"
MOUNT = Mount("memory", STORE, "/mnt/memory/notes", read_only=False, name="Notes")
READ_ONLY = Mount("memory", STORE, "/mnt/memory/notes", read_only=True, name="Notes")
NOW = ManualClock().now()


class Stage:
    """A store, which may be away, and the directories of a sandbox."""

    def __init__(self, base: Path) -> None:
        self.memory = MemoryAgentMemory()
        self.away = False
        self.opened = 0
        self.recorder = Recorder()
        self.dirs = SandboxDirs(base, None, base.parent)
        self.notes = base / MEMORY / "notes"

    async def open(self, session_id: str) -> MemoryAgentMemory:
        self.opened += 1
        if self.away:
            raise Unavailable("the store is away")
        return self.memory

    def mounts(self) -> MemoryMounts:
        return MemoryMounts(self.open, SystemClock(), self.recorder)

    async def sync(self, mount: Mount = MOUNT) -> list[str]:
        """Make a pass, as a process that has just begun."""
        mounts = self.mounts()
        await mounts.make(SESSION, self.dirs, [mount])
        return await mounts.synchronize(SESSION, self.dirs, [mount])

    async def write(self, path: str, content: str) -> None:
        change = Change(f"memver_{secrets.token_hex(4)}", None, NOW)
        text = rules.text_of(content)
        record = MemoryRecord(new_memory_id(), STORE, change.version_id, path, text, NOW, NOW)
        await self.memory.create_memory(record, change)

    async def stored(self) -> dict[str, str | None]:
        found = await self.memory.memories(STORE, MemoryListing(limit=100, with_content=True))
        return {each.path: each.text.content for each in found if isinstance(each, MemoryRecord)}


@pytest.fixture
async def stage(tmp_path: Path) -> Stage:
    (tmp_path / "sandbox" / MEMORY).mkdir(parents=True)
    stage = Stage(tmp_path / "sandbox")
    await stage.memory.insert(MemoryStoreRecord(STORE, {"name": "Notes"}, NOW, NOW))
    return stage


class Sandboxes:
    """A host whose sandboxes have the store."""

    def __init__(self, host: SandboxHost) -> None:
        self.host = host
        self.version = 0

    async def all(self, *calls: tuple[str, dict[str, Any]], mount: Mount = MOUNT) -> list[ToolResult]:
        made = [ToolCall(secrets.token_hex(8), name, given) for name, given in calls]
        workspace = Workspace(SESSION, mounts=(mount,), version=self.version)
        found = {each.call_id: each async for each in self.host.execute(workspace, made)}
        return [found[each.call_id] for each in made]

    async def bash(self, command: str) -> ToolResult:
        return (await self.all(("bash", {"command": command})))[0]


def hosted(
    stage: Stage, root: Path, store: CheckpointStore | None = None, clock: Clock | None = None, **settings: Any
) -> Sandboxes:
    stores = stage.mounts()
    mounts = Mounts({"memory": stores}, {"memory": stores})
    wanted = SandboxSettings(**{"warm": 1, **settings})
    return Sandboxes(SandboxHost(wanted, root, name=root.name, store=store, clock=clock, mounts=mounts, linger=0))
