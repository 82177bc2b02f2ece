"""Sandbox hosts for tests: real ones, in a directory that sandbox users can reach."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.config import SandboxSettings
from agents.hands.host import SandboxHost
from agents.hands.port import ToolCall, ToolResult, Workspace
from tests.open_directory import open_directory
from tests.unit.hands.checkpoint_hosts import Hosts, TestStore
from tests.unit.hands.results import is_notice, said, told

__all__ = ["is_notice", "said", "told"]

_ids = itertools.count()
_PREFIX = f"hands-{os.getpid()}-"


class Hands:
    """One host with shorthand for calls."""

    def __init__(self, host: SandboxHost) -> None:
        self.host = host
        self.environment: dict[str, Any] = {"type": "cloud"}
        self.mcp_urls: tuple[str, ...] = ()
        self.vault_ids: tuple[str, ...] = ()

    async def batch(self, *calls: tuple[str, dict[str, Any]], session: str = "sesn_a") -> list[ToolResult]:
        made = [ToolCall(f"call_{next(_ids)}", name, body) for name, body in calls]
        workspace = Workspace(session, self.environment, mcp_urls=self.mcp_urls, vault_ids=self.vault_ids)
        try:
            found = {result.call_id: result async for result in self.host.execute(workspace, made)}
        except asyncio.CancelledError:
            self.host.cancel(session, {call.call_id: self.host.incarnation for call in made})
            raise
        return [found[call.call_id] for call in made]

    async def one(self, name: str, session: str = "sesn_a", **body: Any) -> ToolResult:
        return (await self.batch((name, body), session=session))[0]

    async def bash(self, command: str, session: str = "sesn_a", **body: Any) -> ToolResult:
        return await self.one("bash", session, command=command, **body)

    async def out(self, command: str, session: str = "sesn_a", **body: Any) -> str:
        """Run a command and return its output, whether it failed or not."""
        return said(await self.bash(command, session, **body))

    async def python(self, program: str, session: str = "sesn_a") -> str:
        """Run a Python program inside and return its output."""
        await self.one("write", session, file_path="/tmp/program.py", content=program)
        return await self.out("/usr/bin/python3 /tmp/program.py", session)


Start = Callable[..., Awaitable[Hands]]


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory(_PREFIX) as base:
        yield base


@pytest.fixture
async def start(place: Path) -> AsyncIterator[Start]:
    """Start hosts with the settings given; they are stopped at the end."""
    hosts: list[SandboxHost] = []

    async def make(**settings: Any) -> Hands:
        host = SandboxHost(SandboxSettings(**{"warm": 0, **settings}), place / f"root{len(hosts)}")
        await host.start()
        hosts.append(host)
        return Hands(host)

    yield make
    for host in hosts:
        await host.stop()


@pytest.fixture
async def hands(start: Start) -> Hands:
    """A host with default limits and nothing warm."""
    return await start()


@pytest.fixture
def store(place: Path) -> TestStore:
    """A local store of checkpoints that can be held up, or made to fail."""
    return TestStore(place / "store")


@pytest.fixture
async def hosts(place: Path, store: TestStore) -> AsyncIterator[Hosts]:
    """Starts hosts that share the store; they are stopped at the end."""
    hosts = Hosts(place, store)
    yield hosts
    store.open.set()
    await hosts.stop()


def sandbox_processes(marker: str) -> list[int]:
    """Return the pids on this machine whose command line contains *marker*."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After all tests of this folder, no sandbox of theirs runs."""
    yield
    deadline = time.monotonic() + 5
    while left := sandbox_processes(f"/tmp/{_PREFIX}"):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
