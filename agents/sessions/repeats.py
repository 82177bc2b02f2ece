"""Recognising a client's request that was accepted before, also by an owner that is no more (spec H-7).

Repeats come from two sides. A gateway asks the next owner when the last one was lost before it answered:
then the events carry the ids that they had the first time. The SDK sends a POST again whose answer was lost:
then the gateway has given the events new ids, but the body is the same, byte for byte. So the first event
of a request keeps, hidden, the digest of the body and the ids of the answer. All of it is a fold of the log.

A retry that was never seen before may also be of a request that never came here (its gateway was dying, it was over
the rate limit), with words that the client had said before: "go on", and again "go on". Nothing in it tells the two
apart. It is taken for the latter only from a client that is known to say the same on purpose, once the turn of the
earlier words is over, and has been for longer than the client waits between its tries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agents.ids import EventId, new_event_id
from agents.sessions.events import Event, EventType
from agents.telemetry.tracing.seeds import TRACEPARENT, seed_of_request

_MAX_EVENTS = 2048
"""Client events that are remembered; a repeat comes within seconds, and a request has at most a hundred."""
_MAX_REQUESTS = 16
_HIDDEN = "repeat"
_FIRST_WAIT_SECONDS = 0.375
_LONGEST_WAIT_SECONDS = 6.0
"""What the SDK waits at least before its first retry, and before any; it doubles in between."""
_WAIT_FIRST = frozenset({EventType.USER_MESSAGE, EventType.USER_TOOL_CONFIRMATION, EventType.SYSTEM_MESSAGE})


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """One request to take events in, each with its id."""

    events: tuple[dict[str, Any], ...]
    digest: str | None = None
    retries: int = 0
    """How often the SDK says that it has sent this before."""
    again: bool = False
    """Whether the gateway has."""
    span: float = 0.0
    """Seconds for which a retry is recognised."""
    traceparent: str | None = None
    """The trace that the client asks it to be a part of."""

    @classmethod
    def of(
        cls,
        events: Iterable[dict[str, Any]],
        *,
        repeat_key: str | None = None,
        again: bool = False,
        span: float = 0.0,
        traceparent: str | None = None,
    ) -> ClientRequest:
        """Make one of wire params; *repeat_key* is ``<retry count>:<digest>``. An event without an id gets one."""
        count, _, digest = (repeat_key or "").partition(":")
        return cls(
            tuple({**event, "id": event.get("id") or new_event_id()} for event in events),
            digest=digest if span > 0 and digest else None,
            retries=int(count or 0),
            again=again,
            span=span,
            traceparent=traceparent,
        )

    def trace_of(self, event_id: str) -> dict[str, Any] | None:
        """Return what an event keeps of the client's trace: the one that a turn of this request is named by does."""
        if self.traceparent is None or event_id != seed_of_request(self.events):
            return None
        return {TRACEPARENT: self.traceparent}

    def mark(self, answer: Sequence[EventId], at: float) -> dict[str, Any] | None:
        """Return what the first event of the request keeps; *at* is its time in seconds since the epoch."""
        return None if self.digest is None else {_HIDDEN: {"digest": self.digest, "at": at, "answer": list(answer)}}

    @property
    def waited(self) -> float:
        """Return the seconds that have passed at least since the SDK sent this for the first time."""
        waits = (_FIRST_WAIT_SECONDS * 2.0**retry for retry in range(self.retries))
        return sum(min(wait, _LONGEST_WAIT_SECONDS) for wait in waits)


@dataclass(frozen=True, slots=True)
class _Answered:
    at: float
    answer: tuple[EventId, ...]
    said_before: bool = False
    """Whether the same bytes had been taken in before: the client says them again on purpose."""


class Accepted:
    """The newest client events of one session, and the requests that they came with."""

    def __init__(self) -> None:
        self._events: dict[EventId, Event] = {}
        self._requests: dict[str, _Answered] = {}
        self._idle_since = 0.0

    def note(self, event: Event) -> None:
        """Take note of an event that waits, or of its place in the log."""
        self._events[event.id] = event
        if len(self._events) > _MAX_EVENTS:
            del self._events[next(iter(self._events))]
        mark = (event.hidden or {}).get(_HIDDEN)
        if mark is not None:
            self._note_request(mark["digest"], _Answered(mark["at"], tuple(mark["answer"])))

    def _note_request(self, digest: str, request: _Answered) -> None:
        known = self._requests.get(digest)
        if known is not None:
            # The newest counts: of a session that is read back, what waits is noted before what is in the log.
            newest = max(request, known, key=lambda each: each.at)
            request = replace(newest, said_before=known.said_before or known.answer != request.answer)
        self._requests[digest] = request
        if len(self._requests) > _MAX_REQUESTS:
            del self._requests[min(self._requests, key=lambda each: self._requests[each].at)]

    def note_idle(self, at: float) -> None:
        """Take note that a turn has ended, *at* in seconds since the epoch."""
        self._idle_since = at

    def echo(self, request: ClientRequest, now: float) -> list[Event] | None:
        """Return what *request* was answered with; None when it has not been seen before."""
        first = next((each for event in request.events if (each := self._events.get(event["id"]))), None)
        if request.again and first is not None:
            mark = (first.hidden or {}).get(_HIDDEN)
            return self._found(mark["answer"] if mark else (event["id"] for event in request.events))
        known = self._requests.get(request.digest) if request.retries and request.digest else None
        if known is None or now - known.at > request.span or self._is_said_again(known, request, now):
            return None
        return self._found(known.answer)

    def _is_said_again(self, known: _Answered, request: ClientRequest, now: float) -> bool:
        """Whether a retry is of something said after the turn of *known*, and not of *known* itself."""
        return known.said_before and known.at < self._idle_since <= now - request.waited

    def _found(self, ids: Iterable[EventId]) -> list[Event]:
        return [_as_answered(self._events[event_id]) for event_id in ids if event_id in self._events]


def _as_answered(event: Event) -> Event:
    # What waits in the queue first is echoed so, also when its turn starts in the same commit.
    return replace(event, processed_at=None) if event.type in _WAIT_FIRST else event
