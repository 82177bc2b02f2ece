"""``/v1/sessions/{id}/threads``: the primary thread, and those that were created to delegate to them (spec A.6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsSessionThread
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.cursor import Cursor, decode, encode, from_micros, to_micros
from agents.api.events import MAX_EVENTS, EventRoutes
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, read_json
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.wire import thread_wire
from agents.store.ports import EventListing, ThreadListing

_MAX_THREADS = 1000  # the SDK's field text


class ThreadRoutes:
    """List and retrieve, archive, and each thread's own history and stream."""

    def __init__(self, platform: Platform, events: EventRoutes) -> None:
        self._platform = platform
        self._events = events

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        every, tag, answer = "/v1/sessions/{session_id}/threads", "threads", BetaManagedAgentsSessionThread
        one, event = f"{every}/{{thread_id}}", BetaManagedAgentsSessionEvent
        statuses = describe.choices("statuses", describe.STATUSES, describe.MAX_FILTER_VALUES, "Only these statuses.")
        listing = (statuses, *describe.page(_MAX_THREADS, _MAX_THREADS))
        pages = describe.page(MAX_EVENTS, MAX_EVENTS)
        sse = "text/event-stream"
        return [
            Operation("GET", every, self.list, "listThreads", tag, answer, listing=True, parameters=listing),
            Operation("GET", one, self.retrieve, "getThread", tag, answer),
            Operation("POST", f"{one}/archive", self.archive, "archiveThread", tag, answer),
            Operation(
                "GET", f"{one}/events", self.events, "listThreadEvents", tag, event, listing=True, parameters=pages
            ),
            Operation(
                "GET",
                f"{one}/stream",
                self.stream,
                "streamThread",
                tag,
                media_type=sse,
                parameters=describe.STREAM,
            ),
        ]

    async def _session(self, request: Request) -> SessionRecord:
        """Raises NotFound."""
        return await self._platform.store.sessions.get(SessionId(request.path_params["session_id"]))

    async def _wire(self, session: SessionRecord, thread_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        child = await self._events.child(session, thread_id)
        row = await self._platform.store.sessions.thread(SessionId(session.id), child or session.thread_id)
        return thread_wire(session, row, self._platform.clock.now(), self._platform.prices)

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        limit = query.limit(_MAX_THREADS, _MAX_THREADS)
        statuses = query.choices("statuses", describe.STATUSES, most=describe.MAX_FILTER_VALUES)
        session_id = SessionId(request.path_params["session_id"])
        kind = f"threads:{session_id}"
        cursor = decode(query.text("page"), kind=kind, order="asc", shape=(int, str))
        after = None if cursor is None else _place(cursor)
        session, now, prices = await self._session(request), self._platform.clock.now(), self._platform.prices
        if await self._platform.store.sessions.thread(session_id, session.thread_id) is None:
            shown = not statuses or session.status.value in statuses
            return json_answer({"data": [thread_wire(session, None, now, prices)] if shown else [], "next_page": None})
        listing = ThreadListing(limit, after, statuses)
        found = await self._platform.store.sessions.threads(session_id, listing)
        page, last = found[:limit], found[limit - 1] if len(found) > limit else None
        following = None
        if last is not None:
            following = encode(Cursor(kind, "asc", False, (to_micros(last.created_at), last.id)))
        data = [thread_wire(session, row, now, prices) for row in page]
        return json_answer({"data": data, "next_page": following})

    async def retrieve(self, request: Request) -> Response:
        return json_answer(await self._wire(await self._session(request), request.path_params["thread_id"]))

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        session, thread_id = await self._session(request), request.path_params["thread_id"]
        if await self._events.child(session, thread_id) is None:
            raise InvalidRequest(f"thread {thread_id} is the primary thread; archive the session instead")
        await self._platform.sessions.archive_thread(SessionId(session.id), thread_id)
        return json_answer(await self._wire(session, thread_id))

    async def events(self, request: Request) -> Response:
        query, session = Query(request.query_params), await self._session(request)
        child = await self._events.child(session, request.path_params["thread_id"])
        listing = EventListing(limit=query.limit(MAX_EVENTS, MAX_EVENTS), thread=child)
        kind = "thread_events" if child is None else f"thread_events:{child}"
        return await self._events.history(SessionId(session.id), kind, listing, query)

    async def stream(self, request: Request) -> Response:
        return await self._events.open_stream(request, thread_id=request.path_params["thread_id"])


def _place(cursor: Cursor) -> tuple[datetime, str]:
    match cursor.position:
        case (int() as moment, str() as thread_id):
            return from_micros(moment), thread_id
        case _:
            raise InvalidRequest("page: is not a cursor of this listing")
