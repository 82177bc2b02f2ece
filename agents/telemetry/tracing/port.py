"""What a session's owner may ask of tracing, and the twin of it that does nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from agents.sessions.events import Event, SessionRecord
from agents.telemetry.tracing.spans import Value


class SessionTrace(Protocol):
    """The traces of one session, told by its owner."""

    def restore(self, record: SessionRecord, events: Sequence[Event], *, untold_since: datetime | None) -> None:
        """Take a log that was read: the open turn goes on in its trace; what is over was an earlier owner's.

        What of it has ended at *untold_since* or later is told again, under the same ids: it may have told nobody.
        """
        ...

    def committed(self, record: SessionRecord, events: Sequence[Event], start: int, end: int) -> None:
        """Take what one commit has brought; it lasted from *start* to *end* (microseconds since the epoch)."""
        ...

    def note(self, request_id: str, attributes: Mapping[str, Value]) -> None:
        """Tell what the log does not know of the open model request."""
        ...

    def asking(self, event_id: str | None, service: str, name: str) -> AbstractContextManager[None]:
        """Have calls that go out on links in here belong to that event's span (None: to the turn's).

        What the *service* at the other end did for them becomes a span called *name*.
        """
        ...


class Tracing(Protocol):
    """Makes the traces of sessions."""

    def session(self, session_id: str) -> SessionTrace: ...

    @property
    def delay_seconds(self) -> float:
        """For how long spans that are told may still be lost with the process; 0: nothing is traced."""
        ...

    @property
    def figures(self) -> Mapping[str, int]:
        """What was exported and what was dropped, since the process began."""
        ...


class Untraced:
    """The SessionTrace that tells nobody."""

    def restore(self, record: SessionRecord, events: Sequence[Event], *, untold_since: datetime | None) -> None:
        del record, events, untold_since

    def committed(self, record: SessionRecord, events: Sequence[Event], start: int, end: int) -> None:
        del record, events, start, end

    def note(self, request_id: str, attributes: Mapping[str, Value]) -> None:
        del request_id, attributes

    def asking(self, event_id: str | None, service: str, name: str) -> AbstractContextManager[None]:
        del event_id, service, name
        return nullcontext()


@dataclass(frozen=True, slots=True)
class NoTracing:
    """The Tracing of a process that is not traced."""

    figures: Mapping[str, int] = field(default_factory=lambda: {})
    delay_seconds: float = 0.0

    def session(self, session_id: str) -> SessionTrace:
        del session_id
        return Untraced()
