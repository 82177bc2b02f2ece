"""A worker of this platform on hands in memory, at a server that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anthropic
import pytest

from agents.clock import ManualClock
from agents.hands.memory import MemoryHands
from agents.hands.port import Hands
from agents.workers import session_server, worker
from agents.workers.journal import CallJournal, FileNotes
from agents.workers.session_server import ServeOptions
from agents.workers.worker import Worker
from tests.unit.workers.fake_server import ENV, FakeServer

_PATIENCE = 5.0


class Rack:
    """A machine with a worker: its hands' time is moved by hand, so that a call sleeps until a test lets it end."""

    def __init__(self, server: FakeServer, journal: Path) -> None:
        self.server = server
        self.clock = ManualClock()
        self.hands = MemoryHands(clock=self.clock)
        self.journal = CallJournal(FileNotes(journal))

    @asynccontextmanager
    async def working(self, hands: Hands | None = None, *, max_idle: float = 60.0) -> AsyncIterator[Worker]:
        """Run a worker until the block ends."""
        options = ServeOptions({"type": "cloud"}, max_idle)
        async with self.server.client() as client:
            made = Worker(client, ENV, hands or self.hands, self.journal, options)
            task = asyncio.create_task(made.run())
            try:
                yield made
            finally:
                made.leave()
                async with asyncio.timeout(_PATIENCE):
                    with suppress(anthropic.APIStatusError):
                        await task


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def rack(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rack:
    for module in (worker, session_server):
        monkeypatch.setattr(module, "pause", lambda *_: 0.001)
    monkeypatch.setattr(worker, "_BETWEEN_POLLS_SECONDS", (0.001, 0.001))
    return Rack(server, tmp_path / "calls")
