from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from agents.brains.scripted import ScriptedBrain
from agents.clock import ManualClock
from agents.config import Settings
from agents.economics.meter import MemoryMeter
from agents.economics.price_book import PriceBook
from agents.hands.port import ToolCall, ToolResult, Workspace
from agents.ids import SessionId, new_session_id, new_thread_id
from agents.sessions.bus import Bus
from agents.sessions.events import SessionRecord
from agents.sessions.harness import Harness
from agents.sessions.partition import partition_of
from agents.sessions.ports import HarnessPorts
from agents.store.memory import MemoryStore
from agents.telemetry.harness_metrics import HarnessMetrics
from agents.telemetry.recorder import Recorder

ASK = {"type": "always_ask"}
ALLOW = {"type": "always_allow"}


def toolset(**policies: dict[str, Any]) -> dict[str, Any]:
    """The built-in toolset with some tools under another policy (or {"enabled": False})."""
    configs = [
        {
            "name": name,
            "type": name,
            "enabled": policy.get("enabled", True),
            "permission_policy": policy if "type" in policy else ALLOW,
        }
        for name, policy in policies.items()
    ]
    return {
        "type": "agent_toolset_20260401",
        "default_config": {"enabled": True, "permission_policy": ALLOW},
        "configs": configs,
    }


CUSTOM = {
    "type": "custom",
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def agent_snapshot(*tools: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "agent",
        "id": "agent_1",
        "version": 1,
        "name": "tester",
        "description": None,
        "system": "Be brief.",
        "model": {
            "id": "claude-test",
            "effort": {"type": "high"},
            "inference_geo": None,
            "speed": "standard",
        },
        "tools": list(tools) or [toolset()],
        "mcp_servers": [],
        "skills": [],
        "multiagent": None,
        "execution_identity": {"type": "service_account"},
    }


def definition(name: str) -> dict[str, Any]:
    return {"name": name, "description": name, "input_schema": {"type": "object"}}


class FakeHands:
    """Runs each call by a function; a call named in ``gates`` waits for its gate first."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self.released: list[tuple[str, bool]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.answer: Callable[[ToolCall], ToolResult] = lambda call: ToolResult(
            call.call_id, [{"type": "text", "text": f"ran {call.name}"}]
        )
        self.fault: Exception | None = None
        self.cancelled: list[str] = []
        self.where: str | None = "fake-host/1"
        self._started = asyncio.Condition()

    async def started(self, count: int) -> None:
        async with asyncio.timeout(5), self._started:
            await self._started.wait_for(lambda: len(self.calls) >= count)

    def place(self, workspace: Workspace) -> str | None:
        return self.where

    async def locate(self, workspace: Workspace) -> str:
        return self.where or "fake-host/1"

    def cancel(self, session_id: str, calls: Mapping[str, str]) -> None:
        self.cancelled.extend(calls)

    async def execute(
        self, workspace: Workspace, calls: Sequence[ToolCall], *, host: str | None = None
    ) -> AsyncGenerator[ToolResult, None]:
        async with self._started:
            self.calls.extend(calls)
            self._started.notify_all()
        if self.fault is not None:
            raise self.fault
        waiting = [asyncio.create_task(self._one(call)) for call in calls]
        try:
            for done in asyncio.as_completed(waiting):
                yield await done
        finally:
            for task in waiting:
                task.cancel()

    async def _one(self, call: ToolCall) -> ToolResult:
        gate = self.gates.get(call.name)
        if gate is not None:
            await gate.wait()
        return self.answer(call)

    async def release(self, session_id: str, *, destroy: bool) -> None:
        self.released.append((session_id, destroy))


@dataclass
class World:
    """A harness over in-memory twins, and what a test wants to ask of it."""

    brain: ScriptedBrain
    hands: FakeHands
    store: MemoryStore
    clock: ManualClock
    settings: Settings
    harness: Harness
    ports: HarnessPorts
    meter: MemoryMeter

    def new_record(self, *tools: dict[str, Any], principal: str = "") -> SessionRecord:
        """The row of a session that is yet to be stored, as a gateway makes it."""
        session_id, now = new_session_id(), self.clock.now()
        return SessionRecord(
            id=session_id,
            partition=partition_of(session_id, self.settings.harness.partitions),
            created_at=now,
            updated_at=now,
            agent=agent_snapshot(*tools),
            agent_id="agent_1",
            agent_version=1,
            environment_id="env_1",
            environment={"type": "cloud"},
            thread_id=new_thread_id(),
            principal=principal,
        )

    async def create(
        self, *tools: dict[str, Any], initial: Sequence[dict[str, Any]] = (), principal: str = ""
    ) -> SessionId:
        record = self.new_record(*tools, principal=principal)
        await self.harness.create(record, initial)
        return SessionId(record.id)

    async def send(self, session_id: SessionId, *events: dict[str, Any]) -> list[dict[str, Any]]:
        return await self.harness.send(session_id, events)

    async def log(self, session_id: SessionId) -> list[dict[str, Any]]:
        snapshot = await self.store.log.load(session_id)
        return [event.wire() for event in snapshot.events]

    async def types(self, session_id: SessionId) -> list[str]:
        return [event["type"] for event in await self.log(session_id)]

    async def record(self, session_id: SessionId) -> SessionRecord:
        return (await self.store.log.load(session_id)).record

    async def until(self, session_id: SessionId, type_: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until the log holds *count* events of a type; returns the log."""
        async with asyncio.timeout(5):
            async with self.harness.watch(session_id, previews=frozenset()) as frames:
                while True:
                    log = await self.log(session_id)
                    if sum(event["type"] == type_ for event in log) >= count:
                        return log
                    await anext(frames)

    async def idle(self, session_id: SessionId, count: int = 1) -> list[dict[str, Any]]:
        return await self.until(session_id, "session.status_idle", count)

    @asynccontextmanager
    async def stream(self, session_id: SessionId, *previews: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        async with self.harness.watch(session_id, previews=frozenset(previews)) as frames:

            async def events() -> AsyncIterator[dict[str, Any]]:
                async for batch in frames:
                    for frame in batch:
                        yield orjson.loads(frame.data)

            yield events()

    async def quiet(self) -> None:
        """Wait until no turn is under way."""
        async with asyncio.timeout(5):
            while self.harness.active:
                await asyncio.sleep(0)

    async def sleepers(self, count: int) -> None:
        """Wait until *count* tasks sleep on the clock (the lease heartbeat is always one of them)."""
        async with asyncio.timeout(5):
            while self.clock.sleeping < count:
                await asyncio.sleep(0)

    def another_harness(self) -> Harness:
        """A second owner over the same log, as after a crash."""
        return Harness(self.ports, owner="harness-0")


def message(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def make_world(**changes: Any) -> World:
    clock = ManualClock(datetime(2026, 11, 21, 10, tzinfo=UTC))
    changes["harness"] = {"drain_seconds": 0, **changes.get("harness", {})}
    settings = Settings.model_validate(changes)
    store, brain, hands, meter = MemoryStore(clock), ScriptedBrain(), FakeHands(), MemoryMeter()
    ports = HarnessPorts(
        settings=settings,
        log=store.log,
        leases=store.leases,
        brain=brain,
        hands=hands,
        clock=clock,
        meter=meter,
        bus=Bus(),
        prices=PriceBook.load(),
        tool_definitions=lambda: [definition(n) for n in ("bash", "read", "write", "edit", "glob", "grep")],
        metrics=HarnessMetrics(Recorder(), implied_brain="default@1"),
    )
    return World(brain, hands, store, clock, settings, Harness(ports, owner="harness-0"), ports, meter)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Hundreds of deaths are not worth a line each."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = make_world()
    await made.harness.start()
    yield made
    await made.harness.stop()
