"""A worker of this platform on hands in memory, at a server that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anthropic
import pytest

from agents.clock import ManualClock
from agents.hands.memory import MemoryHands
from agents.hands.port import Hands, ToolCall, ToolResult, Workspace
from agents.workers import session_mounts, session_server, worker
from agents.workers.journal import FileNotes, SessionJournals
from agents.workers.remote_memory import RemoteStores
from agents.workers.session_server import ServeOptions
from agents.workers.worker import Worker
from tests.unit.sessions.mortal_hands import Moment, MortalHands
from tests.unit.waiting import until
from tests.unit.workers.fake_server import ENV, FakeServer, Line

_PATIENCE = 5.0


class SeenHands(MemoryHands):
    """Remembers what was said of the sandboxes of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Workspace] = []

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        self.seen.append(workspace)
        async for result in super().execute(workspace, calls, host=host):
            yield result


class Rack:
    """A machine with a worker: its hands' time is moved by hand, so that a call sleeps until a test lets it end."""

    def __init__(self, server: FakeServer, notes: Path) -> None:
        self.server = server
        self.clock = ManualClock()
        self.hands = MemoryHands(clock=self.clock)
        self.notes = notes
        self.options = ServeOptions({"type": "cloud"})
        self.stores = RemoteStores()

    @asynccontextmanager
    async def working(self, hands: Hands | None = None, *, shared: bool = False) -> AsyncIterator[Worker]:
        """Run a worker until the block ends."""
        async with self.server.client() as client:
            made = self._worker(client, hands or self.hands, shared=shared)
            task = asyncio.create_task(made.run())
            try:
                yield made
            finally:
                made.leave()
                # A call that still sleeps would be waited for.
                self.clock.advance(1000)
                async with asyncio.timeout(_PATIENCE):
                    with suppress(anthropic.APIStatusError):
                        await task

    @asynccontextmanager
    async def in_a_call(self, *, shared: bool = False) -> AsyncIterator[None]:
        """Run a worker until the block ends; when it begins, the worker has a call that sleeps for a minute."""
        self.server.queue()
        self.server.call("call_1", "sleep 60; echo slept")
        async with self.working(shared=shared):
            await until(lambda: self.clock.sleeping)
            yield

    async def dies_in_a_call(self, hands: MortalHands, moment: Moment) -> None:
        """Run a worker until its call comes to *moment* and it is dead: neither the server nor the hands hear of it."""
        hands.hold = moment
        self.server.queue()
        self.server.call("call_1", "x")
        before, line = asyncio.all_tasks(), Line(self.server)
        worker = self._worker(self.server.client(line), hands, shared=True)
        running = asyncio.create_task(worker.run())
        await hands.reached.wait()
        assert not running.done()
        line.cut = True
        on_hosts = {run for host in hands.hosts.values() for run in host.runs.values()}
        tasks = asyncio.all_tasks() - before - on_hosts
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def _worker(self, client: anthropic.AsyncAnthropic, hands: Hands, *, shared: bool) -> Worker:
        journals = SessionJournals(FileNotes(self.notes))
        return Worker(client, ENV, hands, journals, self.options, shared=shared, stores=self.stores)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def rack(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    for module in (worker, session_server, session_mounts):
        monkeypatch.setattr(module, "pause", lambda *_: 0.001)
    monkeypatch.setattr(worker, "_BETWEEN_POLLS_SECONDS", (0.001, 0.001))
    return Rack(server, tmp_path / "calls")
