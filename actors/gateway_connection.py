"""A gateway as its harness sees it: besides calls it watches sessions, whose frames are sent to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from actors.link_server import Call, Connection
from actors.message_stream import Message, MessageStream
from actors.replies import Reply
from agents.errors import HecatonError
from agents.sessions.bus import Bus
from agents.sessions.host import THREADS, Frame


class _SessionSink:
    """What one gateway wants of one session: types of previews, and THREADS."""

    __slots__ = ("_on_severed", "previews", "stream")

    def __init__(self, stream: MessageStream, previews: frozenset[str], on_severed: Callable[[], None]) -> None:
        self.stream = stream
        self.previews = previews
        self._on_severed = on_severed

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        if THREADS in self.previews:
            packed = [frame.packed() for frame in frames]
        else:
            packed = [frame.packed_without_thread() for frame in frames if frame.shown_in(None)]
        if packed:
            self.stream.send(("frames", session_id, packed))

    def sever(self) -> None:
        self._on_severed()


class GatewayConnection(Connection):
    """Adds ``watch`` and ``unwatch`` to calls, and says ``moved`` when a watched session must be watched again."""

    def __init__(self, stream: MessageStream, call: Call, bus: Bus, check_owner: Callable[[str], None]) -> None:
        """*check_owner* raises what a gateway is told that watches a session which is not owned here."""
        super().__init__(stream, call, None)
        self._bus = bus
        self._check_owner = check_owner
        self._sinks: dict[str, _SessionSink] = {}

    def received(self, message: Message) -> None:
        match message:
            case ("watch", int(number), str(session_id), frozenset() as previews):
                self.stream.send(("reply", number, self._watch(session_id, previews)))
            case ("unwatch", str(session_id)):
                sink = self._sinks.pop(session_id, None)
                if sink is not None:
                    self._bus.detach(session_id, sink)
            case _:
                super().received(message)

    def _watch(self, session_id: str, previews: frozenset[str]) -> Reply:
        try:
            self._check_owner(session_id)
        except HecatonError as error:
            return Reply(error=error)
        sink = self._sinks.get(session_id)
        if sink is None:
            sink = _SessionSink(self.stream, previews, lambda: self._severed(session_id))
            self._sinks[session_id] = sink
            self._bus.attach(session_id, sink)
        else:
            sink.previews |= previews
        return Reply(True)

    def _severed(self, session_id: str) -> None:
        del self._sinks[session_id]
        self.stream.send(("moved", session_id))

    async def closed(self) -> None:
        for session_id, sink in self._sinks.items():
            self._bus.detach(session_id, sink)
        await super().closed()
