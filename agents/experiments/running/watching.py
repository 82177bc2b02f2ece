"""What a session's event stream shows to the client that timed it: first text, end, and where it could resume."""

from __future__ import annotations

import re

_ENDS = (b"session.status_idle", b"session.status_terminated", b"session.deleted")
_TEXT = (b"event_delta", b"agent.message")
_ANNOUNCED = re.compile(rb'"id":"(\w+)"')


class StreamView:
    """Reads a stream's frames as they come in; moments are whoever reads'."""

    def __init__(self) -> None:
        self.last = ""
        """Id of the last event that stands in the log: where another stream would go on."""
        self.first_text: float | None = None
        self.announced: dict[str, float] = {}
        """When the first piece of an answer in the making came, by the id of the event that it becomes."""
        self.ended = False
        """Whether the turn is over. One that only paused between two tries is not."""
        self.broken = False
        """Whether the server gave the stream up and says so; another one goes on behind ``last``."""

    def read(self, body: bytearray, at: float) -> None:
        """Take the complete frames at the beginning of *body* out of it; they came at *at*."""
        end = body.rfind(b"\n\n")
        if end < 0:
            return
        for frame in bytes(body[:end]).split(b"\n\n"):
            self._see(frame, at)
        del body[: end + 2]

    def _see(self, frame: bytes, at: float) -> None:
        if not frame.startswith(b"event: "):
            return  # a comment that keeps the connection
        head, _, rest = frame.partition(b"\n")
        kind = head[7:]
        if rest.startswith(b"id: "):
            self.last = rest[4:].partition(b"\n")[0].decode()
        if kind in _TEXT and self.first_text is None:
            self.first_text = at
        if kind == b"event_start" and (found := _ANNOUNCED.search(rest)):
            self.announced.setdefault(found[1].decode(), at)
        self.broken = self.broken or kind == b"error"
        self.ended = self.ended or kind in _ENDS
