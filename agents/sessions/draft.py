"""A unit of work on one session: events drafted, state folded, then committed and published as one.

A draft is of one thread: it reads that thread's state and appends that thread's events. ``of`` gives the same unit of
work on another thread.

State is changed as events are drafted. When the commit fails the owner throws the state away and
reads the log again, so a failed draft leaves no trace.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from agents.ids import EventId, new_event_id
from agents.sessions.events import Event, EventType, SessionStatus, ThreadRecord
from agents.sessions.log import Commit, Lease
from agents.sessions.resuming import gets_on
from agents.sessions.state import SessionState
from agents.sessions.thread_state import OpenCall, ThreadState

_TICK = timedelta(microseconds=1)
_WORK = frozenset(
    {
        EventType.USER_INTERRUPT,
        EventType.USER_TOOL_CONFIRMATION,
        EventType.AGENT_TOOL_USE,
        EventType.AGENT_CUSTOM_TOOL_USE,
        EventType.SESSION_RUNNING,
    }
)
"""What a worker may have something to do for."""


class Draft:
    """Collects what one commit of a session will hold; what is drafted here is of the thread ``state``."""

    def __init__(self, session: SessionState, now: datetime) -> None:
        """It is of the session's primary thread."""
        self.session = session
        self.state: ThreadState = session.primary
        self.now = now
        self.shown: list[Event] = []
        """What streams will show, in order: logged events and queued copies."""
        self.events: list[Event] = []
        self.queued: list[Event] = []
        self.consumed: list[EventId] = []
        self.called_off: dict[str, str] = {}
        """Calls that were closed without their host's result, with that host; once committed they are stopped there."""
        self.recalled: list[OpenCall] = []
        """The same of calls that servers run."""
        self._base = session.record

    def of(self, thread: ThreadState) -> Draft:
        """Return the same unit of work on *thread*: whatever is drafted on either is in one commit."""
        if thread is self.state:
            return self
        other = copy.copy(self)  # the lists are shared, and nothing else ever changes
        other.state = thread
        return other

    @property
    def thread(self) -> str | None:
        """Name the thread as its events do: None for the primary."""
        return self.state.event_thread

    @property
    def empty(self) -> bool:
        return self.session.record is self._base and not (self.events or self.queued or self.consumed)

    def _moment(self) -> datetime:
        # Strictly increasing, so that ordering by processed_at is ordering by log position.
        last = self.session.last_moment
        return self.now if last is None or self.now > last else last + _TICK

    def emit(
        self,
        type_: EventType,
        body: dict[str, Any] | None = None,
        *,
        event_id: EventId | None = None,
        hidden: dict[str, Any] | None = None,
        crossposted: bool = False,
    ) -> Event:
        """Append an event of this thread to the log; one that is *crossposted* is shown with the primary's, too."""
        event = Event(
            id=event_id or new_event_id(),
            type=type_,
            body=body or {},
            processed_at=self._moment(),
            seq=self.session.record.seq + 1,
            hidden=hidden,
            thread=self.thread,
            crossposted=crossposted and not self.state.primary,
        )
        self.session.set(seq=self.session.record.seq + 1)
        self.session.apply(event)
        self.events.append(event)
        self.shown.append(event)
        return event

    def emit_session(self, type_: EventType, body: dict[str, Any] | None = None) -> Event:
        """Append an event of the session as a whole to the log: its place is with the primary thread's."""
        return self.of(self.session.primary).emit(type_, body)

    def enqueue(self, event: Event) -> None:
        """Let a client event wait; streams show its queued copy."""
        self.queued.append(event)
        self.shown.append(event)
        self.session.enqueue(event)

    def hold(self, event: Event) -> None:
        """Let what is no client's wait; nobody is shown it before it has its place in the log."""
        self.queued.append(event)
        self.session.enqueue(event)

    def take(self, event: Event) -> Event:
        """Give a waiting event its place in the log."""
        self.session.queue.remove(event)
        if event in self.queued:
            self.queued.remove(event)
        else:
            self.consumed.append(event.id)
        # The client sees what it says on calls of a child where it was asked: with the primary's events.
        shown = event.type is EventType.USER_TOOL_CONFIRMATION
        return self.emit(event.type, event.body, event_id=event.id, hidden=event.hidden, crossposted=shown)

    def commit(self, lease: Lease) -> Commit:
        """Close the draft; the row carries the number of waiting events and the time of change."""
        self.session.set(updated_at=self.now, queued=len(self.session.queue))
        if any(map(gets_on, self.events)):
            self.session.set(epoch=lease.epoch)
        changed, new = self._rows(lease.epoch)
        return Commit(
            lease=lease,
            expected_seq=self._base.seq,
            record=self.session.record,
            events=tuple(self.events),
            queue=tuple(self.queued),
            consume=tuple(self.consumed),
            threads=changed,
            new_threads=new,
            work=self._work(),
        )

    def _rows(self, epoch: int) -> tuple[tuple[ThreadRecord, ...], tuple[ThreadRecord, ...]]:
        """Bring the rows of the threads that the events concern to where the events lead; returns old ones and new."""
        if self.session.primary.row is None:
            return (), ()
        created = {event.body["session_thread_id"] for event in self.events if event.type is EventType.THREAD_CREATED}
        if len(created) == len(self.session.threads) - 1:
            created.add(self.session.primary.id)  # it gets a row with the first of them
        changed: list[ThreadRecord] = []
        new: list[ThreadRecord] = []
        concerned = {event.thread for event in self.events}
        further = {event.thread for event in self.events if gets_on(event)}
        for thread in self.session.threads.values():
            if thread.row is not None and thread.event_thread in concerned:
                thread.row = replace(
                    thread.row,
                    status=thread.status,
                    stop_reason=thread.stop_reason,
                    updated_at=self.now,
                    epoch=epoch if thread.event_thread in further else thread.row.epoch,
                )
                (new if thread.id in created else changed).append(thread.row)
        return tuple(changed), tuple(new)

    def _work(self) -> Literal["wanted", "over"] | None:
        """Say what this commit is to the workers of a self-hosted environment (spec D.2, H-9)."""
        if not self.session.record.self_hosted:
            return None
        if self.session.status is SessionStatus.TERMINATED:
            return "over"
        first = self._base.seq == 0
        return "wanted" if first or self.queued or any(event.type in _WORK for event in self.events) else None
