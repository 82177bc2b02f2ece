"""Fan-out of frames to event streams: never blocks the publisher, never grows without bound.

A :class:`Bus` maps sessions to sinks. In the harness a sink is one gateway's link; in a gateway
(or in a single process) it is one client's :class:`Subscription`. A subscription that lags behind its
bounded queue is cut off: the reader is told to reconnect and catches up from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from agents.errors import Unavailable
from agents.sessions.host import Frame


class Sink(Protocol):
    """Where a session's frames go. Neither ``deliver`` nor ``sever`` may block."""

    @property
    def previews(self) -> frozenset[str]: ...

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None: ...

    def sever(self) -> None:
        """Take note that no more frames of the session come from here, and that some may have been missed."""
        ...


class Bus:
    """Sinks by session."""

    def __init__(self) -> None:
        self._sinks: dict[str, list[Sink]] = {}

    def attach(self, session_id: str, sink: Sink) -> None:
        self._sinks.setdefault(session_id, []).append(sink)

    def detach(self, session_id: str, sink: Sink) -> None:
        sinks = self._sinks.get(session_id, [])
        if sink in sinks:
            sinks.remove(sink)
        if not sinks:
            self._sinks.pop(session_id, None)

    def publish(self, session_id: str, frames: Sequence[Frame]) -> None:
        for sink in tuple(self._sinks.get(session_id, ())):
            sink.deliver(session_id, frames)

    def sever(self, session_id: str) -> None:
        """Detach every sink of the session and tell it so: it watches again elsewhere, and reads from the log."""
        for sink in self._sinks.pop(session_id, ()):
            sink.sever()

    def sessions(self) -> list[str]:
        """Name the sessions that somebody watches."""
        return list(self._sinks)

    def watched(self, session_id: str) -> bool:
        return session_id in self._sinks

    def wants(self, session_id: str, preview: str) -> bool:
        """Whether any sink of the session asked for previews of this event type."""
        return any(preview in sink.previews for sink in self._sinks.get(session_id, ()))


class Subscription:
    """One client's view of one session: a queue of frames, bounded in number and in bytes."""

    def __init__(self, previews: frozenset[str], *, max_frames: int, max_bytes: int = 8 * 1024 * 1024) -> None:
        self._previews = previews
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._bytes = 0
        self._ready = asyncio.Event()
        self._closed = False
        self._severed = False
        self._previewing: dict[str | None, set[str]] = {}
        """Events that are previewed now, by thread."""

    @property
    def previews(self) -> frozenset[str]:
        return self._previews

    def deliver(self, session_id: str, frames: Sequence[Frame]) -> None:
        del session_id
        for frame in frames:
            if self._closed or self._severed or not self._admits(frame):
                continue
            # One frame always fits: a reader that keeps up is never cut off for the size of what it reads.
            if self._frames and (
                len(self._frames) >= self._max_frames or self._bytes + len(frame.data) > self._max_bytes
            ):
                self.close()
                break
            self._frames.append(frame)
            self._bytes += len(frame.data)
            self._closed = self._closed or frame.ends
        self._ready.set()

    def _admits(self, frame: Frame) -> bool:
        if frame.preview is None:
            if frame.type == "span.model_request_end":
                self._previewing.pop(frame.thread, None)
            return True
        if frame.preview not in self._previews or frame.event_id is None:
            return False
        # A delta without its start would break the client's accumulator: this stream came too late for it.
        if frame.type == "event_start":
            self._previewing.setdefault(frame.thread, set()).add(frame.event_id)
        return frame.event_id in self._previewing.get(frame.thread, ())

    def close(self) -> None:
        """End the iteration after what is already queued; the reader catches up from the log."""
        self._closed = True
        self._ready.set()

    def sever(self) -> None:
        """Let the iteration raise Unavailable after what is already queued: the frames' source is lost or moves."""
        self._severed = True
        self._ready.set()

    async def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        """Yield whatever has come since the last time, as one batch."""
        while True:
            if self._frames:
                batch, self._frames, self._bytes = self._frames, [], 0
                yield batch
            elif self._closed:
                return
            elif self._severed:
                raise Unavailable("the session's owner is being replaced", retry_after=1.0)
            else:
                self._ready.clear()
                await self._ready.wait()
