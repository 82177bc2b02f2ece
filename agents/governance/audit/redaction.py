"""What an event looks like once its content was taken away: still an event that every client and model understands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.errors import InvalidRequest
from agents.sessions.events import TOOL_RESULTS, TOOL_USES, Event, EventType, text_content

SHOWN = "[redacted]"
_WITH_CONTENT = TOOL_RESULTS.keys() | {
    EventType.USER_MESSAGE,
    EventType.SYSTEM_MESSAGE,
    EventType.AGENT_MESSAGE,
    EventType.THREAD_MESSAGE_SENT,
    EventType.THREAD_MESSAGE_RECEIVED,
}


def redacted(event: Event) -> Event:
    """Return *event* without its content. Raises InvalidRequest for a type that has none."""
    if event.type in _WITH_CONTENT:
        return replace(event, body={**event.body, "content": text_content(SHOWN)})
    if event.type in TOOL_USES:
        return replace(event, body={**event.body, "input": {"redacted": True}})
    if event.type is EventType.USER_TOOL_CONFIRMATION and event.body.get("deny_message"):
        return replace(event, body={**event.body, "deny_message": SHOWN})
    if event.type is EventType.AGENT_THINKING and event.hidden:
        return replace(event, hidden=None)
    if event.type is EventType.CONTEXT_COMPACTED and event.hidden:
        hidden: dict[str, Any] = {**event.hidden, "summary": SHOWN}
        return replace(event, hidden=hidden)
    raise InvalidRequest(f"event_id: a {event.type.value} has no content that could be redacted")
