"""``/v1/sessions/{id}/events``: sending, reading and streaming what happens (spec A.5, B)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from anthropic.types.beta.sessions import (
    BetaManagedAgentsSendSessionEvents,
    BetaManagedAgentsSessionEvent,
    EventSendParams,
)
from starlette.requests import Request
from starlette.responses import Response

from agents.access.key_book import KeyBook
from agents.api import describe
from agents.api.access import acts_for_worker
from agents.api.answers import json_answer
from agents.api.auth import Access, caller_digest
from agents.api.client_events import check_workers_events, checked_events
from agents.api.history import HistoryReader
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.request_trace import sending
from agents.api.routes import Operation, WorkerAccess
from agents.api.rubrics import Rubrics
from agents.api.slots import Slots
from agents.api.stream import EventStream, StreamSource, Watch
from agents.api.wire import loads, parse
from agents.api.worker_gate import Worker, lapsed
from agents.errors import InvalidRequest, NotFound, RateLimited
from agents.files.references import FileReferences
from agents.ids import SessionId
from agents.sessions.events import SessionRecord, SessionStatus
from agents.store.ports import EventListing
from agents.telemetry.tracing import names

MAX_EVENTS = 1000  # spec H-12
_KEY_LOOK_SECONDS = 15.0
"""A stream that was opened with a key of the store ends so long after the key does."""


class EventRoutes:
    """Send, list and stream; the thread routes show the same log through :meth:`history` and :meth:`open_stream`."""

    def __init__(self, platform: Platform, book: KeyBook) -> None:
        self._platform = platform
        self._book = book
        self._sessions = platform.store.sessions
        self._rubrics = Rubrics(platform.files)
        self._files = FileReferences(platform.store.files, platform.clock)
        most = platform.settings.gateway.max_streams
        self._slots = Slots(most, _too_many_streams, share=platform.settings.key_share)
        self._history = HistoryReader(platform.store.sessions, platform.settings.harness.max_queued_events)

    @property
    def streams(self) -> int:
        """Event streams that are open here."""
        return self._slots.taken

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag = "/v1/sessions/{session_id}/events", "events"
        listing = (
            describe.choices("types", describe.EVENT_TYPES, describe.MAX_FILTER_VALUES, "Only these types."),
            *describe.created_at("gt", "gte", "lt", "lte"),
            describe.order("asc"),
            *describe.page(MAX_EVENTS, MAX_EVENTS),
        )
        answer, sent, body = BetaManagedAgentsSessionEvent, BetaManagedAgentsSendSessionEvents, EventSendParams
        workers = WorkerAccess.SESSION
        return [
            Operation("POST", path, self.send, "sendEvents", tag, sent, body=body, statuses=[409], workers=workers),
            Operation(
                "GET", path, self.list, "listEvents", tag, answer, listing=True, parameters=listing, workers=workers
            ),
            Operation(
                "GET",
                f"{path}/stream",
                self.stream,
                "streamEvents",
                tag,
                media_type="text/event-stream",
                parameters=describe.STREAM,
                workers=workers,
            ),
        ]

    async def send(self, request: Request) -> Response:
        raw = await request.body()
        session_id = SessionId(request.path_params["session_id"])
        events = checked_events(parse(EventSendParams, loads(raw)))
        if acts_for_worker(request.scope):
            check_workers_events(events)
        events = await self._rubrics.resolved(events, request.state.workspace_id, session_id)
        await self._files.check("events", events, request.state.workspace_id, session_id)
        repeat_key = _repeat_key(request, session_id, raw)
        with sending(self._platform.spans, request, names.SEND_ROUTE, session_id, events):
            echoes = await self._platform.sessions.send(session_id, events, repeat_key=repeat_key)
        return json_answer({"data": echoes})

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        listing = EventListing(
            limit=query.limit(MAX_EVENTS, MAX_EVENTS),
            order=query.order("asc"),
            types=query.choices("types", describe.EVENT_TYPES, most=describe.MAX_FILTER_VALUES),
            **query.created_at().fields(),
        )
        return await self.history(SessionId(request.path_params["session_id"]), "events", listing, query)

    async def history(self, session_id: SessionId, kind: str, listing: EventListing, query: Query) -> Response:
        """Answer with one page of a session's history."""
        return json_answer(await self._history.page(session_id, kind, listing, query.text("page")))

    async def stream(self, request: Request) -> Response:
        return await self.open_stream(request, thread_id=None)

    async def open_stream(self, request: Request, *, thread_id: str | None) -> Response:
        """Answer with the session's stream; everything that can fail does so before the headers."""
        session_id = SessionId(request.path_params["session_id"])
        query = Query(request.query_params)
        previews = query.choices("event_deltas", describe.DELTA_TYPES, most=describe.MAX_DELTA_VALUES)
        last_seen = request.headers.get("last-event-id") or query.text("after")
        async with AsyncExitStack() as held:
            held.enter_context(self._slots.held_by(request.state.principal))
            watch = Watch(self._platform.sessions, session_id, frozenset(previews))
            held.push_async_callback(watch.close)
            await watch.open()
            # Read only now: whatever changes from here on arrives as a frame.
            record = await self._sessions.get(session_id)
            child = await self.child(record, thread_id)
            replay_after = await self._position(session_id, last_seen)
            live = record.status is not SessionStatus.TERMINATED
            gateway = self._platform.settings.gateway
            return EventStream(
                StreamSource(session_id, watch, record.seq, replay_after, live, child),
                self._sessions,
                self._platform.clock,
                held.pop_all(),
                keepalive_seconds=gateway.stream_keepalive_seconds,
                patience_seconds=gateway.owner_wait_seconds,
                request_id=request.state.request_id,
                lapses=self._lapses(request.state.worker, request.state.access),
            )
        raise AssertionError("no exit callback swallows an error")

    async def child(self, record: SessionRecord, thread_id: str | None) -> str | None:
        """Return *thread_id* if it names another thread than the primary. Raises NotFound when there is none of it."""
        if thread_id is None or thread_id == record.thread_id:
            return None
        if await self._sessions.thread(SessionId(record.id), thread_id) is None:
            raise NotFound(f"session {record.id} has no thread {thread_id}")
        return thread_id

    def _lapses(self, worker: Worker | None, access: Access) -> Callable[[], Awaitable[None]] | None:
        key_id = access.key_id
        if key_id is not None:
            return lambda: self._book.lapsed(key_id, every_seconds=_KEY_LOOK_SECONDS)
        if worker is None:
            return None
        store, clock = self._platform.store, self._platform.clock
        every = self._platform.settings.workers.lease_seconds / 2
        return lambda: lapsed(worker, store, clock, every_seconds=every)

    async def _position(self, session_id: SessionId, event_id: str | None) -> int | None:
        if event_id is None:
            return None
        position = await self._sessions.position(session_id, event_id)
        if position is None:
            raise InvalidRequest(f"after: {event_id[:80]!r} is not an event in this session's log")
        return position


def _too_many_streams(most: int) -> RateLimited:
    return RateLimited(f"{most} event streams are open on this replica, which is the limit", retry_after=2.0)


def _repeat_key(request: Request, session_id: SessionId, raw: bytes) -> str:
    """Name this request for the owner, who answers a client's retry from memory (spec H-7).

    With a header ``Idempotency-Key`` all requests with that key are one; without it the SDK's count marks a retry.
    """
    count, key = request.headers.get("x-stainless-retry-count", "0"), request.headers.get("idempotency-key")
    retries = int(count) if count.isdecimal() and len(count) < 4 else 0
    digest = hashlib.blake2b(caller_digest(request.scope), digest_size=16)
    digest.update(session_id.encode())
    if key is not None:
        digest.update(hashlib.blake2b(key.encode(), digest_size=16).digest())
        retries = max(retries, 1)
    digest.update(raw)
    return f"{retries}:{digest.hexdigest()}"
