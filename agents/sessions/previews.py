"""Live previews of an answer in the making: ``event_start`` and ``event_delta`` (spec B.2).

A preview announces the id that the persisted event will have; its deltas, concatenated, are a prefix
of the final text. Previews are best-effort and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from agents.brains.assembly import BlockStarted, Change, TextDelta
from agents.ids import EventId, new_event_id
from agents.sessions.bus import Bus
from agents.sessions.host import Frame

PREVIEWED = ("agent.message", "agent.thinking")
"""The event types that streams may ask to see in the making."""


def _frame(type_: str, preview: str, event_id: EventId, body: dict[str, object], thread: str | None) -> Frame:
    return Frame(type_, orjson.dumps({"type": type_, **body}), event_id=event_id, preview=preview, thread=thread)


class PreviewWriter:
    """Publishes the previews of one model request and remembers the ids it promised, by block index.

    A block is previewed from its start or not at all, so that what a stream saw stays a prefix.
    """

    def __init__(self, bus: Bus, session_id: str, thread: str | None = None) -> None:
        self._bus = bus
        self._session_id = session_id
        self._thread = thread
        self._wanted_text: set[int] = set()
        self.ids: dict[int, EventId] = {}

    def show(self, changes: Sequence[Change]) -> None:
        """Publish what *changes* show; does nothing while nobody asked for previews."""
        frames: list[Frame] = []
        for change in changes:
            if isinstance(change, BlockStarted):
                frames.extend(self._start(change))
            elif isinstance(change, TextDelta) and change.index in self._wanted_text:
                frames.extend(self._delta(change))
        if frames:
            self._bus.publish(self._session_id, frames)

    def _start(self, change: BlockStarted) -> list[Frame]:
        if change.kind == "thinking" and self._bus.wants(self._session_id, "agent.thinking"):
            return [self._announce(change.index, "agent.thinking")]
        # A text block may stay empty and then never becomes an event: its first text announces it.
        if change.kind == "text" and self._bus.wants(self._session_id, "agent.message"):
            self._wanted_text.add(change.index)
        return []

    def _announce(self, index: int, preview: str) -> Frame:
        event_id = self.ids[index] = new_event_id()
        body: dict[str, object] = {"event": {"type": preview, "id": event_id}}
        return _frame("event_start", preview, event_id, body, self._thread)

    def _delta(self, change: TextDelta) -> list[Frame]:
        frames: list[Frame] = []
        if change.index not in self.ids:
            frames.append(self._announce(change.index, "agent.message"))
        event_id = self.ids[change.index]
        delta = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": change.text}}
        body: dict[str, object] = {"event_id": event_id, "delta": delta}
        frames.append(_frame("event_delta", "agent.message", event_id, body, self._thread))
        return frames
