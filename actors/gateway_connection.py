"""A gateway as its harness sees it: besides calls it watches sessions, whose frames are sent to it."""

from __future__ import annotations

from collections.abc import Sequence

from actors.link_server import Call, Connection
from actors.message_stream import Message, MessageStream
from actors.replies import Reply
from agents.sessions.bus import Bus
from agents.sessions.host import Frame


class _SessionSink:
    """What one gateway wants of one session."""

    __slots__ = ("previews", "stream")

    def __init__(self, stream: MessageStream, previews: frozenset[str]) -> None:
        self.stream = stream
        self.previews = previews

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        self.stream.send(("frames", session_id, [frame.packed() for frame in frames]))


class GatewayConnection(Connection):
    """Adds ``watch`` and ``unwatch`` to calls."""

    def __init__(self, stream: MessageStream, call: Call, bus: Bus) -> None:
        super().__init__(stream, call, None)
        self._bus = bus
        self._sinks: dict[str, _SessionSink] = {}

    def received(self, message: Message) -> None:
        match message:
            case ("watch", int(number), str(session_id), frozenset() as previews):
                self._watch(session_id, previews)
                self.stream.send(("reply", number, Reply(True)))
            case ("unwatch", str(session_id)):
                sink = self._sinks.pop(session_id, None)
                if sink is not None:
                    self._bus.detach(session_id, sink)
            case _:
                super().received(message)

    def _watch(self, session_id: str, previews: frozenset[str]) -> None:
        sink = self._sinks.get(session_id)
        if sink is None:
            sink = self._sinks[session_id] = _SessionSink(self.stream, previews)
            self._bus.attach(session_id, sink)
        else:
            sink.previews |= previews

    async def closed(self) -> None:
        for session_id, sink in self._sinks.items():
            self._bus.detach(session_id, sink)
        await super().closed()
