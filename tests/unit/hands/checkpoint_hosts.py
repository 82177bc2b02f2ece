"""Several sandbox hosts that share one store of checkpoints, and a session that moves between them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agents.config import CheckpointSettings, SandboxSettings
from agents.hands.checkpoint_store import CheckpointStore, LocalStore, Sink, StoreUnavailable
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, ToolResult, Workspace
from agents.hands.session_state import SessionState, read_state
from tests.unit.hands.results import said

_ids = itertools.count()


class TestStore:
    """A local store whose writing can be held up, or made to fail."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.local = LocalStore(directory)
        self.open = threading.Event()
        self.open.set()
        self.broken = False
        self.asked = 0

    def _check(self) -> None:
        self.asked += 1
        self.open.wait()
        if self.broken:
            raise StoreUnavailable("the store is gone")

    def sizes(self, folder: str) -> dict[str, int]:
        self._check()
        return self.local.sizes(folder)

    def writing(self, folder: str, name: str) -> AbstractContextManager[Sink]:
        self._check()
        return self.local.writing(folder, name)

    def read(self, folder: str, name: str, start: int, length: int) -> bytes:
        self._check()
        return self.local.read(folder, name, start, length)

    def remove(self, folder: str, names: Iterable[str]) -> None:
        self._check()
        self.local.remove(folder, names)

    def remove_folder(self, folder: str) -> None:
        self._check()
        self.local.remove_folder(folder)

    def packs(self, session: str = "sesn_a") -> list[Path]:
        """Return a session's packs, oldest first."""
        return sorted((self.directory / session).glob("*.pack"))


class Session:
    """A session as its owner knows it: what the log says goes with every batch of calls."""

    def __init__(self, name: str = "sesn_a") -> None:
        self.workspace = Workspace(name)

    async def batch(self, host: SandboxHost, *calls: tuple[str, dict[str, Any]]) -> list[ToolResult]:
        made = [ToolCall(f"call_{next(_ids)}", name, body) for name, body in calls]
        found = {result.call_id: result async for result in host.execute(self.workspace, made)}
        results = [found[call.call_id] for call in made]
        for result in results:
            version = max(self.workspace.version, result.version or 0)
            self.workspace = Workspace(self.workspace.session_id, host=result.host, version=version)
        return results

    async def one(self, host: SandboxHost, name: str, **body: Any) -> ToolResult:
        return (await self.batch(host, (name, body)))[0]

    async def bash(self, host: SandboxHost, command: str) -> ToolResult:
        return await self.one(host, "bash", command=command)

    async def out(self, host: SandboxHost, command: str) -> str:
        return said(await self.bash(host, command))


class Hosts:
    """Starts hosts; all of them are stopped at the end."""

    def __init__(self, place: Path, store: CheckpointStore | None) -> None:
        self._place = place
        self.store = store
        self._hosts: list[SandboxHost] = []

    async def start(
        self, name: str = "one", *, checkpoints: dict[str, Any] | None = None, **settings: Any
    ) -> SandboxHost:
        """Start a host with a root of its own by *name*; the same name again is the same machine."""
        host = SandboxHost(
            SandboxSettings(**{"warm": 0, **settings}),
            self._place / name,
            name=name,
            checkpoints=CheckpointSettings(**(checkpoints or {})),
            store=self.store,
            linger=0,
        )
        await host.start()
        self._hosts.append(host)
        return host

    async def stop(self) -> None:
        for host in self._hosts:
            await host.stop()


def state_of(base: str) -> SessionState:
    """Return what is noted beside a session's files."""
    state = read_state(base)
    assert state is not None
    return state


def wrapped(notice: str) -> str:
    return f"<system-note>{notice}</system-note>"
