"""One session's rows in the store in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.sessions.events import SessionRecord
from agents.store.batch import Head
from agents.store.codec import Row, session_of


@dataclass(slots=True)
class StoredSession:
    """One session's rows, the queue in order of arrival."""

    session: Row
    events: list[Row] = field(default_factory=lambda: [])
    queue: dict[str, Row] = field(default_factory=lambda: {})
    threads: dict[str, Row] = field(default_factory=lambda: {})

    def record(self) -> SessionRecord:
        return session_of(self.session)

    def head(self) -> Head:
        row = self.session
        return Head(row["partition"], row["seq"], row["digest"], row["stamp"])
