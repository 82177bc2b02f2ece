"""A session host without a loop, and a server around it: the edge can be tested alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import orjson

from agents.api.app import create_app
from agents.api.platform import Platform
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.registry import registry_of
from agents.brains.release_keeper import ReleaseKeeper
from agents.brains.scripted import ScriptedBrain
from agents.catalog.resources import with_change
from agents.clock import SystemClock
from agents.config import Settings
from agents.economics.price_book import PriceBook
from agents.errors import HecatonError
from agents.files.service import open_files
from agents.governance.hand_releases import HandReleases
from agents.hands.deployed.records import HandVersion
from agents.ids import SessionId, new_event_id
from agents.sessions.bus import Bus, Subscription
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.host import Frame
from agents.sessions.log import Commit
from agents.skills.archive_store import MemoryArchives
from agents.store.memory import MemoryStore
from agents.telemetry.recorder import Recorder


class FakeSessionHost:
    """Keeps sessions in a MemoryStore; messages wait in the queue until a test logs events by hand."""

    def __init__(self, store: MemoryStore, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._bus = Bus()
        self._leases: dict[int, Any] = {}
        self.sent: list[tuple[str, list[dict[str, Any]], str | None]] = []
        self.changes: list[dict[str, Any]] = []
        self.failure: HecatonError | None = None
        self.subscriptions: list[Subscription] = []
        self.watching = asyncio.Event()
        self.watches = 0

    async def start(self) -> None:
        generation = await self._store.leases.join("fake", ttl=3600)
        partitions = range(self._settings.harness.partitions)
        taken = await self._store.leases.claim("fake", generation, partitions, ttl=3600)
        self._leases = {lease.partition: lease for lease in taken}

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        waiting = tuple(_waiting(params) for params in initial_events)
        record = replace(record, queued=len(waiting))
        await self._store.log.create(Commit(self._leases[record.partition], 0, record, queue=waiting))
        return record

    async def send(
        self,
        session_id: SessionId,
        events: Sequence[dict[str, Any]],
        *,
        repeat_key: str | None = None,
        again: bool = False,
    ) -> list[dict[str, Any]]:
        del again
        self.sent.append((session_id, list(events), repeat_key))
        if self.failure is not None:
            raise self.failure
        record = await self._store.sessions.get(session_id)
        waiting = tuple(_waiting(params) for params in events)
        await self._commit(replace(record, queued=record.queued + len(waiting)), queue=waiting)
        return [event.wire() for event in waiting]

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        self.changes.append(changes)
        record = await self._store.sessions.get(session_id)
        bag = {**record.metadata, **changes.get("metadata", {})}
        record = replace(
            record,
            title=changes.get("title", record.title),
            agent={**record.agent, **changes.get("agent", {})},
            budget=changes.get("budget", record.budget),
            resources=with_change(record.resources, changes["resources"])
            if "resources" in changes
            else record.resources,
            metadata={key: value for key, value in bag.items() if value is not None},
        )
        return await self._commit(record)

    async def archive(self, session_id: SessionId) -> SessionRecord:
        record = await self._store.sessions.get(session_id)
        now = record.updated_at
        return await self._commit(replace(record, status=SessionStatus.TERMINATED, archived_at=now))

    async def archive_thread(self, session_id: SessionId, thread_id: str) -> None:
        raise AssertionError("no session here has a second thread")

    async def delete(self, session_id: SessionId) -> None:
        record = await self._store.sessions.get(session_id)
        await self._store.log.delete(self._leases[record.partition], session_id)
        self.publish(session_id, Frame("session.deleted", b'{"type":"session.deleted"}', ends=True))

    @asynccontextmanager
    async def watch(self, session_id: SessionId, *, previews: frozenset[str]) -> AsyncIterator[AsyncIterator[Frame]]:
        self.watches += 1
        if self.failure is not None:
            raise self.failure
        subscription = Subscription(previews, max_frames=self._settings.gateway.stream_queue_frames)
        self._bus.attach(session_id, subscription)
        self.subscriptions.append(subscription)
        self.watching.set()
        try:
            yield aiter(subscription)
        finally:
            self._bus.detach(session_id, subscription)
            self.subscriptions.remove(subscription)
            self.watching.clear()

    def lose(self) -> None:
        """Lose the owner of everything: what is committed from now on is shown by the next one, to who watches it."""
        for subscription in self.subscriptions:
            subscription.sever()

    def publish(self, session_id: str, *frames: Frame) -> None:
        self._bus.publish(session_id, frames)

    async def log(
        self,
        session_id: str,
        kind: EventType,
        body: dict[str, Any] | None = None,
        *,
        hidden: dict[str, Any] | None = None,
        **change: Any,
    ) -> Event:
        """Log one event and show it on the streams, as an owner would."""
        record = await self._store.sessions.get(SessionId(session_id))
        event = Event(new_event_id(), kind, body or {}, SystemClock().now(), record.seq + 1, hidden)
        await self._commit(replace(record, **change), events=(event,))
        self.publish(session_id, Frame(kind.value, orjson.dumps(event.wire()), event.seq, event.id))
        return event

    async def _commit(self, record: SessionRecord, **parts: Any) -> SessionRecord:
        stored = replace(record, seq=record.seq + len(parts.get("events", ())))
        await self._store.log.append(Commit(self._leases[record.partition], record.seq, stored, **parts))
        return stored


def _waiting(params: dict[str, Any]) -> Event:
    body = {key: value for key, value in params.items() if key not in ("id", "type")}
    return Event(params["id"], EventType(params["type"]), body, None)


class FakeCounters:
    """Counts the messages of a request as tokens."""

    async def count_tokens(self, brain: str, request: BrainRequest) -> int:
        if request.model == "uncountable":
            raise BrainFailure("overloaded", f"{brain} does not count", transient=True, retry_after=3)
        return len(request.messages)


class Server:
    """One application over a memory store, and a client for it."""

    def __init__(self, settings: Settings, more: Callable[[MemoryStore], dict[str, Any]] = lambda _: {}) -> None:
        """*more* returns other parts of the platform."""
        self.store = MemoryStore()
        self.brain = ScriptedBrain()
        self.host = FakeSessionHost(self.store, settings)
        self.readiness: dict[str, Any] = {"ready": True}
        self.hands: dict[str, HandVersion] = {}
        self.recorder = Recorder()
        self.platform = Platform(
            settings=settings,
            store=self.store,
            sessions=self.host,
            clock=SystemClock(),
            prices=PriceBook.load(),
            brain=self.brain,
            counters=FakeCounters(),
            releases=ReleaseKeeper(registry_of(settings), self.store.releases, SystemClock()),
            hand_releases=HandReleases(self.store.hand_releases, lambda: self.hands, SystemClock()),
            files=open_files(settings, self.store, SystemClock()),
            skill_archives=MemoryArchives(),
            meter=self.store.meter,
            metrics=lambda: b"hecaton_up 1\n",
            ready=self._ready,
            recorder=self.recorder,
            **more(self.store),
        )
        self.app = create_app(self.platform)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://test"
        )

    async def _ready(self) -> dict[str, Any]:
        return self.readiness

    async def agent(self, **fields: Any) -> dict[str, Any]:
        answer = await self.client.post("/v1/agents", json={"model": "claude-opus-5-5", "name": "a", **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def environment(self, name: str = "e", **fields: Any) -> dict[str, Any]:
        answer = await self.client.post("/v1/environments", json={"name": name, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def session(self, **fields: Any) -> dict[str, Any]:
        if "agent" not in fields:
            fields["agent"] = (await self.agent())["id"]
        if "environment_id" not in fields:
            listed = (await self.client.get("/v1/environments")).json()["data"]
            fields["environment_id"] = (listed[0] if listed else await self.environment())["id"]
        answer = await self.client.post("/v1/sessions", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


def refusal(answer: httpx.Response, status: int, kind: str = "invalid_request_error") -> str:
    """Check an error answer's envelope and return its message."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["error"]["type"] == kind
    assert body["request_id"] == answer.headers["request-id"]
    return body["error"]["message"]
