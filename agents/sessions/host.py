"""The port between the HTTP edge and the owners of sessions.

The gateway is stateless: it reads from the store and sends every change of a session through this
port. In one process it is :class:`agents.sessions.harness.Harness` itself; on Ray it is a client
that finds the owning harness actor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from agents.ids import SessionId
from agents.sessions.events import SessionRecord

PackedFrame = tuple[Any, ...]

THREADS = "threads"
"""What a gateway asks for, beside types of previews, that takes what is not the primary thread's; one of an earlier
release takes only what the session's own stream shows, without saying whose it is."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing to show on event streams.

    ``data`` is the JSON text of the event. ``seq`` and ``event_id`` are set for an event that has
    its place in the log. ``preview`` names the previewed type (``agent.message``, ``agent.thinking``)
    of an ``event_start``/``event_delta`` (``event_id`` is then the previewed event); such frames go only to
    streams that asked for that type.
    ``ends`` closes the stream after it (``session.deleted``).
    ``thread`` and ``crossposted`` as of an event: whose streams show it.
    """

    type: str
    data: bytes
    seq: int | None = None
    event_id: str | None = None
    preview: str | None = None
    ends: bool = False
    thread: str | None = None
    crossposted: bool = False

    def shown_in(self, thread: str | None) -> bool:
        """Whether the streams of *thread* show it; None: those of the session, its primary thread's."""
        return self.thread == thread or (thread is None and self.crossposted)

    def packed(self) -> PackedFrame:
        """A plain tuple, several times cheaper to pickle than a dataclass."""
        return self.type, self.data, self.seq, self.event_id, self.preview, self.ends, self.thread, self.crossposted

    def packed_without_thread(self) -> PackedFrame:
        """The same for a peer that does not ask for THREADS."""
        return self.type, self.data, self.seq, self.event_id, self.preview, self.ends

    @classmethod
    def unpacked(cls, packed: PackedFrame) -> Frame:
        return cls(*packed)


class SessionHost(Protocol):
    """What the gateway may ask of a session's owner."""

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        """Store a new session; with initial events (validated wire params with ids) its first turn starts.

        Returns the stored row. Asking again with the same record id is answered with the stored row.
        Raises Overloaded or Unavailable.
        """
        ...

    async def send(
        self,
        session_id: SessionId,
        events: Sequence[dict[str, Any]],
        *,
        repeat_key: str | None = None,
        again: bool = False,
    ) -> list[dict[str, Any]]:
        """Accept client events, all or none; returns their wire echoes in order.

        Each event carries the ``id`` that the gateway has given it. With *again* the same events may have
        been accepted already by an owner that was lost before it answered: then they are only echoed.
        *repeat_key* (``<retry count>:<digest of body and key>``) recognises the SDK's own retries.
        Raises NotFound, InvalidRequest, Conflict (archived), RateLimited, Overloaded, Unavailable.
        """
        ...

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        """Apply validated changes: ``title``, ``metadata`` (a patch whose nulls delete), ``agent`` (fields to replace),
        ``budget`` (None removes it), ``resources`` (one change, see ``agents.catalog.resources.with_change``).

        Emits ``session.updated`` when something changed, and goes on with a session that its budget had stopped.
        Raises NotFound, InvalidRequest (not idle, budget not raised), RateLimited or Overloaded (no room to go on).
        """
        ...

    async def archive(self, session_id: SessionId) -> SessionRecord:
        """Terminate and archive. Raises NotFound, InvalidRequest (running)."""
        ...

    async def archive_thread(self, session_id: SessionId, thread_id: str) -> None:
        """Terminate and archive a thread that was created in the session; one that is archived stays as it is.

        Raises NotFound, InvalidRequest (running, or terminated), Conflict (the session is archived or terminated).
        """
        ...

    async def delete(self, session_id: SessionId) -> None:
        """Remove the session and its sandbox. Raises NotFound, InvalidRequest (running)."""
        ...

    def watch(
        self, session_id: SessionId, *, previews: frozenset[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Frame]]]:
        """Open a live subscription: on entry it is established (no later event is missed).

        The iterator yields batches of frames, in order. It ends when the session is deleted, or when the
        reader lags behind its bounded queue (it should then be told to reconnect). It raises Unavailable
        when its source is lost or moves (the owner died, or gave the session to another): the caller
        watches again and reads from the log what it missed. Whether the session exists is for the caller
        to check once the subscription stands.
        """
        ...
