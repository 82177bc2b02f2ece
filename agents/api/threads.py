"""``/v1/sessions/{id}/threads``: the primary thread, the only one until agents can delegate (spec A.6)."""

from __future__ import annotations

from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent, BetaManagedAgentsSessionThread
from starlette.requests import Request
from starlette.responses import Response

from agents.api import describe
from agents.api.answers import json_answer
from agents.api.cursor import decode
from agents.api.events import MAX_EVENTS, EventRoutes, check_thread
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation
from agents.api.wire import no_fields, read_json
from agents.errors import InvalidRequest
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.wire import thread_wire
from agents.store.ports import EventListing

_MAX_THREADS = 1000  # the SDK's field text


class ThreadRoutes:
    """List and retrieve, archive (refused), and the thread's own history and stream."""

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

    async def _record(self, request: Request) -> SessionRecord:
        """Return the session. Raises NotFound, also when the path's thread is not one of it."""
        record = await self._platform.store.sessions.get(SessionId(request.path_params["session_id"]))
        check_thread(record, request.path_params.get("thread_id"))
        return record

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        query.limit(_MAX_THREADS, _MAX_THREADS)
        statuses = query.choices("statuses", describe.STATUSES, most=describe.MAX_FILTER_VALUES)
        # One thread never fills a page, so no cursor of this listing was ever given out.
        decode(query.text("page"), kind="threads", order="asc", shape=())
        record = await self._record(request)
        shown = [record] if not statuses or record.status.value in statuses else []
        now = self._platform.clock.now()
        return json_answer(
            {"data": [thread_wire(each, now, self._platform.prices) for each in shown], "next_page": None}
        )

    async def retrieve(self, request: Request) -> Response:
        return json_answer(thread_wire(await self._record(request), self._platform.clock.now(), self._platform.prices))

    async def archive(self, request: Request) -> Response:
        no_fields(await read_json(request))
        record = await self._record(request)
        raise InvalidRequest(f"thread {record.thread_id} is the primary thread; archive the session instead")

    async def events(self, request: Request) -> Response:
        query = Query(request.query_params)
        listing = EventListing(limit=query.limit(MAX_EVENTS, MAX_EVENTS))
        record = await self._record(request)
        return await self._events.history(SessionId(record.id), "thread_events", listing, query)

    async def stream(self, request: Request) -> Response:
        return await self._events.open_stream(request, thread_id=request.path_params["thread_id"])
