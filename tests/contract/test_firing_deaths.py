"""Processes that fire one schedule, and are killed in the middle of it.

Bug class this catches: an instant that has two sessions, or two runs; one that has none because whoever fired it died.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from store_records import T0

from agents.deployments.records import DeploymentRecord, RunListing
from agents.deployments.timing import scheduled_after
from agents.store.database import open_store
from agents.store.ports import SessionListing

PROCESS = Path(__file__).with_name("firing_process.py")
PATIENCE = 60.0
OPEN = timedelta(seconds=130)
"""Longer than a run that somebody has taken stays theirs."""


class Process:
    def __init__(self, running: asyncio.subprocess.Process) -> None:
        self._running = running

    async def hear(self) -> str:
        assert self._running.stdout is not None
        async with asyncio.timeout(PATIENCE):
            return (await self._running.stdout.readline()).decode().strip()

    def look(self, moment: datetime, halts: str = "never") -> None:
        assert self._running.stdin is not None
        self._running.stdin.write(f"{moment.isoformat()} {halts}\n".encode())

    async def kill(self) -> None:
        if self._running.returncode is None:
            self._running.kill()
        async with asyncio.timeout(PATIENCE):
            await self._running.wait()


@asynccontextmanager
async def process(where: str, partition: int) -> AsyncIterator[Process]:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, str(PROCESS), where, str(partition)]
    started = Process(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=PROCESS.parent))
    try:
        assert await started.hear() == "ready"
        yield started
    finally:
        await started.kill()


@pytest.mark.parametrize("halts", ["before", "after"])
async def test_an_instant_has_one_session_though_the_process_that_fires_it_is_killed(location: str, halts: str) -> None:
    """Before it has made the session, or after it has and before that is stored with the run."""
    store = await open_store(location)
    schedule = {"type": "cron", "expression": "0 * * * *", "timezone": "UTC"}
    body = {"agent": {"type": "agent", "id": "agent_1", "version": 1}, "schedule": schedule, "resources": []}
    made = scheduled_after(DeploymentRecord("depl_1", "", body, T0, T0), T0)
    await store.deployments.insert(made, most=1)
    assert made.due_at is not None
    async with AsyncExitStack() as stack:
        both = await asyncio.gather(*(stack.enter_async_context(process(location, number)) for number in (1, 2)))
        for each in both:
            each.look(made.due_at, halts)
        said = [await each.hear() for each in both]
        assert sorted(said) == ["looked", "making"]
        await both[said.index("making")].kill()
        survivor = both[said.index("looked")]
        survivor.look(made.due_at)
        assert await survivor.hear() == "looked"
        assert await store.deployments.list_runs(RunListing(include_archived=True)) == []
        survivor.look(made.due_at + OPEN)
        assert await survivor.hear() == "looked"
    [run] = await store.deployments.list_runs(RunListing(include_archived=True))
    [session] = await store.sessions.list(SessionListing(deployment_id=made.id))
    assert (run.session_id, run.error, run.scheduled_at) == (session.id, None, made.next_at)
    await store.close()
