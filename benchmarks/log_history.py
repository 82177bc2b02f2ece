"""What a long history costs: to resume it, and to read a page of it anywhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from agents.ids import SessionId, new_event_id
from agents.sessions.events import Event, EventType
from agents.sessions.log import Commit, Lease
from agents.sessions.state import SessionState
from agents.store.database import SqlStore
from agents.store.ports import EventListing
from benchmarks.log_sessions import TEXT, session

RESUMED = 10_000
RESUME_SECONDS = 1.0
SHORT, LONG = 100, 100_000
PAGE = 20
PAGES = 60
TYPES = ("agent.message", "user.message", "session.error")
PAGE_RATIO = 1.5
"""The same, give or take: a B-tree of 100 000 events is two levels deeper than one of 100."""
_PER_COMMIT = 100


async def measure_history(store: SqlStore, lease: Lease) -> dict[str, Any]:
    """Seconds of resuming, and of each page in a short and in a long history (in turns)."""
    resumed = await written(store, lease, RESUMED)
    resuming = [await timed(lambda: resume(store, resumed)) for _ in range(7)]
    short, long = await written(store, lease, SHORT), await written(store, lease, LONG)
    pages: dict[str, tuple[list[float], list[float]]] = {}
    for name, near, far in (
        ("oldest first", listing(), listing()),
        ("newest first", listing(order="desc"), listing(order="desc")),
        ("after a cursor", listing(after=SHORT // 2), listing(after=LONG // 2)),
        ("before a cursor", listing(after=SHORT // 2, order="desc"), listing(after=LONG // 2, order="desc")),
        ("of one type", listing(after=SHORT // 2, types=TYPES[:1]), listing(after=LONG // 2, types=TYPES[:1])),
        ("of three types", listing(after=SHORT // 2, types=TYPES), listing(after=LONG // 2, types=TYPES)),
    ):
        pages[name] = ([], [])
        for _ in range(PAGES):
            pages[name][0].append(await timed(lambda near=near: store.sessions.events(short, near)))
            pages[name][1].append(await timed(lambda far=far: store.sessions.events(long, far)))
    return {"resume": resuming, "pages": pages}


def listing(
    *, after: int | None = None, order: Literal["asc", "desc"] = "asc", types: tuple[str, ...] = ()
) -> EventListing:
    return EventListing(limit=PAGE, after=after, order=order, types=types)


async def written(store: SqlStore, lease: Lease, count: int) -> SessionId:
    """A session with so many events."""
    record, events = session(), turns(count)
    await store.log.create(Commit(lease, 0, record))
    for start in range(0, count, _PER_COMMIT):
        after = replace(record, seq=start + _PER_COMMIT)
        await store.log.append(Commit(lease, start, after, tuple(events[start : start + _PER_COMMIT])))
    return SessionId(record.id)


async def resume(store: SqlStore, session_id: SessionId) -> None:
    """What a new owner does before it can go on: read all, and fold it."""
    state = SessionState.restore(await store.log.load(session_id))
    assert state.record.seq == RESUMED and not state.primary.calls


def turns(events: int) -> list[Event]:
    """A log of turns with one tool call each, of about 400 bytes per event where there is text."""
    made: list[Event] = []
    while len(made) < events:
        made += _turn(datetime.now(UTC))
    return made


def _turn(now: datetime) -> list[Event]:
    def event(kind: EventType, **body: Any) -> Event:
        return Event(new_event_id(), kind, body, now)

    text = TEXT["content"]
    call = event(EventType.AGENT_TOOL_USE, name="bash", input={"command": "ls"}, evaluated_permission="allow")
    first, second = event(EventType.MODEL_REQUEST_START), event(EventType.MODEL_REQUEST_START)
    return [
        event(EventType.USER_MESSAGE, content=text),
        event(EventType.SESSION_RUNNING),
        event(EventType.THREAD_RUNNING),
        first,
        call,
        event(EventType.MODEL_REQUEST_END, model_request_start_id=first.id, is_error=False, model_usage={}),
        event(EventType.AGENT_TOOL_RESULT, tool_use_id=call.id, content=text, is_error=False),
        second,
        event(EventType.AGENT_MESSAGE, content=text),
        event(EventType.MODEL_REQUEST_END, model_request_start_id=second.id, is_error=False, model_usage={}),
        event(EventType.THREAD_IDLE, stop_reason={"type": "end_turn"}),
        event(EventType.SESSION_IDLE, stop_reason={"type": "end_turn"}),
    ]


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began
