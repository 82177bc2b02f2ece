"""Which client event a turn's trace is named by: a gateway knows it before the turn, and the log for ever after.

A client that sends a ``traceparent`` of its own gives the turn its trace. The event that the turn is named by keeps it,
hidden, in the log; without one nothing is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, takewhile
from typing import Any

from agents.sessions.events import Event, EventType
from agents.telemetry.tracing.context import arrived
from agents.telemetry.tracing.ids import trace_id_of

_BEFORE_STATE = (EventType.THREAD_IDLE, EventType.THREAD_TERMINATED, EventType.SESSION_USAGE)
TRACEPARENT = "traceparent"
"""Under this name an event's hidden part keeps what its client sent."""


def seed_of_request(events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the id of the event that a turn is named by which these events of a client begin; None without any."""
    first = next((event for event in events if event["type"] == EventType.USER_MESSAGE), events[0] if events else None)
    return None if first is None else first.get("id")


def foreign_trace(session_id: str, events: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the trace that came with the call being served, where the events alone do not say which it is."""
    if (came := arrived()) is None:
        return None
    seed = seed_of_request(events)
    if seed is None or came.trace_id == trace_id_of(session_id, seed):
        return None
    return came.traceparent()


def seed_of_turn(events: Sequence[Event], running: int) -> Event:
    """Return the event that the turn is named by which begins with ``events[running]``.

    It is the first message that the turn takes up at once, else the first answer; one that the turn was waiting for
    stands just before its beginning.
    """
    after = [each for each in takewhile(_opens, islice(events, running + 1, None)) if each.type.from_client]
    before = list(takewhile(lambda each: each.type.from_client, (events[at] for at in range(running - 1, -1, -1))))
    messages = [each for each in after if each.type is EventType.USER_MESSAGE]
    return next(iter((*messages, *after, *reversed(before))), events[running])


def seed_of_commit(events: Sequence[Event]) -> Event:
    """Return the event that the trace of a commit is named by which is no turn's: the request's, if there was one."""
    asked = [event for event in events if event.type.from_client]
    messages = [event for event in asked if event.type is EventType.USER_MESSAGE]
    return next(iter((*messages, *asked, *events)))


def seed_of_state(events: Sequence[Event], index: int) -> Event:
    """Return the event that the trace of a change of state, ``events[index]``, is named by which is no turn's."""
    before = takewhile(_leads, (events[at] for at in range(index - 1, -1, -1)))
    return seed_of_commit([*reversed(list(before)), events[index]])


def _leads(event: Event) -> bool:
    return event.type.from_client or event.type in _BEFORE_STATE


def _opens(event: Event) -> bool:
    return event.type.from_client or event.type is EventType.THREAD_RUNNING
