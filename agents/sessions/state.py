"""A session as its owner holds it: the row plus a fold of the log. Nothing here survives only in memory.

``SessionState.apply`` is the single place where an event changes state, for live events and for the
log that a new owner reads back alike, so that resuming is the same computation as never having stopped.
What belongs to one thread of the session is folded by its ``ThreadState``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from agents.brains.assembly import TokenUsage
from agents.ids import EventId
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, ThreadRecord
from agents.sessions.log import SessionSnapshot
from agents.sessions.outcome import NEEDS_REVISION, Outcome, entries_with, entry_after
from agents.sessions.repeats import Accepted
from agents.sessions.thread_state import OpenCall, ThreadState


@dataclass(slots=True, eq=False)
class SessionState:
    """Mutable state of one session; changed only by ``apply`` and by the fields of its row."""

    record: SessionRecord
    queue: list[Event] = field(default_factory=lambda: [])
    sizes: dict[EventId, int] = field(default_factory=lambda: {})
    """Bytes of waiting events, as far as they were asked for."""
    answers: dict[tuple[EventType, str], Event] = field(default_factory=lambda: {})
    """Accepted answers by their type and call: a call may get a confirmation, and then a result."""
    accepted: Accepted = field(default_factory=Accepted)
    unreachable_credentials: set[str] = field(default_factory=lambda: set[str]())
    """Credentials of which the log says that the environment does not let a sandbox reach their hosts."""
    hand_versions: dict[str, str] = field(default_factory=lambda: {})
    """Versions of hands that the session stays with, by the hand's name."""
    versions: dict[str, str] = field(default_factory=lambda: {})
    """Versions of brains that the session stays with, by the brain's name."""
    outcome: Outcome | None = None
    """What the session works towards, until there is a final result."""
    last_moment: datetime | None = None
    primary: ThreadState = field(init=False)
    """The thread that the session began with."""
    threads: dict[str, ThreadState] = field(init=False)
    """All threads by their ids, in order of creation."""

    def __post_init__(self) -> None:
        record = self.record
        self.primary = ThreadState(self, record.thread_id, record.status, record.stop_reason)
        self.threads = {record.thread_id: self.primary}

    @classmethod
    def restore(cls, snapshot: SessionSnapshot) -> SessionState:
        """Rebuild the state from the log."""
        state = cls(snapshot.record)
        for event in snapshot.queued:
            state.enqueue(event)
        for event in snapshot.events:
            state.apply(event)
        # Rows were written with the last event of the log, so they are already what the fold leads to.
        state.record = snapshot.record
        for row in snapshot.threads:
            state.threads[row.id].row = row
        return state

    @property
    def status(self) -> SessionStatus:
        return self.record.status

    @property
    def busy(self) -> bool:
        return self.status in (SessionStatus.RUNNING, SessionStatus.RESCHEDULING)

    @property
    def paused(self) -> bool:
        """Whether a thread stopped because the budget is used up."""
        return any(thread.paused for thread in self.threads.values())

    def thread_of(self, event: Event) -> ThreadState:
        """Return the thread that *event* is of, or waits for."""
        return self.primary if event.thread is None else self.threads[event.thread]

    def holder(self, call_id: EventId) -> ThreadState | None:
        """Return the thread that has this call open."""
        return next((thread for thread in self.threads.values() if call_id in thread.calls), None)

    def call(self, call_id: EventId) -> OpenCall | None:
        holder = self.holder(call_id)
        return None if holder is None else holder.calls[call_id]

    def open_calls(self) -> Iterator[OpenCall]:
        """Yield the calls without a result, of every thread."""
        for thread in self.threads.values():
            yield from thread.calls.values()

    def waiting_bytes(self) -> int:
        """Return the size of what the client has waiting in the queue; each event is measured once."""
        known, waiting = self.sizes, (event for event in self.queue if event.type.from_client)
        self.sizes = {event.id: known.get(event.id) or len(orjson.dumps(event.body)) for event in waiting}
        return sum(self.sizes.values())

    def enqueue(self, event: Event) -> None:
        """Let a client event wait, or a message of another thread."""
        self.queue.append(event)
        if event.type.from_client:
            self.accepted.note(event)

    def apply(self, event: Event) -> None:
        """Take the next event of the log."""
        if event.type.from_client:
            self.accepted.note(event)
        if event.processed_at is not None:
            self.last_moment = event.processed_at
        self.thread_of(event).apply(event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def set(self, **columns: Any) -> None:
        """Change columns of the row; durable only with the commit that carries the row."""
        self.record = replace(self.record, **columns)

    def forget_intent(self, call_id: EventId) -> None:
        """Take the intent to send a call out of the row: it has its result."""
        if call_id in self.record.dispatched:
            self.set(dispatched={other: host for other, host in self.record.dispatched.items() if other != call_id})


def _thread_created(state: SessionState, event: Event) -> None:
    record, created_at = state.record, event.processed_at or state.record.created_at
    if state.primary.row is None:
        # From here on what the primary does is counted apart from what the session does.
        state.primary.row = ThreadRecord(
            record.thread_id,
            record.id,
            None,
            {},
            record.created_at,
            created_at,
            usage=record.usage,
            active_seconds=record.active_seconds,
            running_since=record.running_since,
        )
    agent, thread_id = (event.hidden or {})["agent"], event.body["session_thread_id"]
    row = ThreadRecord(thread_id, record.id, record.thread_id, agent, created_at, created_at)
    state.threads[thread_id] = ThreadState(state, thread_id, SessionStatus.IDLE, None, row=row)


def _outcome_defined(state: SessionState, event: Event) -> None:
    state.outcome = Outcome.of(event)
    state.set(outcomes=entries_with(state.record.outcomes, event))


def _request_opened(state: SessionState, event: Event) -> None:
    outcome = state.outcome
    if outcome is None or outcome.begun or event.thread is not None or "keeps" in (event.hidden or {}):
        return
    outcome.begun = True
    _note_outcome(state, {**state.record.outcomes[-1], "result": "running"})


def _evaluation_opened(state: SessionState, event: Event) -> None:
    if state.outcome is not None:
        state.outcome.evaluation = event.id
        state.outcome.put_off, state.outcome.spent = 0, TokenUsage()
        _note_outcome(state, {**state.record.outcomes[-1], "result": "evaluating"})


def _evaluation_goes_on(state: SessionState, event: Event) -> None:
    spent = (event.hidden or {}).get("spent")
    if state.outcome is not None and spent is not None:
        state.outcome.put_off += 1
        state.outcome.spent += TokenUsage(**spent)


def _evaluation_closed(state: SessionState, event: Event) -> None:
    outcome = state.outcome
    if outcome is None:
        return
    _note_outcome(state, entry_after(state.record.outcomes[-1], event))
    if event.body["result"] == NEEDS_REVISION:
        outcome.evaluation = None
        outcome.iteration += 1
    else:
        state.outcome = None
    state.primary.rounds = 0


def _note_outcome(state: SessionState, entry: dict[str, Any]) -> None:
    state.set(outcomes=(*state.record.outcomes[:-1], entry))


def _answer(state: SessionState, event: Event) -> None:
    state.answers[event.type, event.body["tool_use_id"]] = event


def _custom_answer(state: SessionState, event: Event) -> None:
    state.answers[event.type, event.body["custom_tool_use_id"]] = event


def _error(state: SessionState, event: Event) -> None:
    credential = event.body["error"].get("credential_id")
    if credential is not None:
        state.unreachable_credentials.add(credential)


def _idle(state: SessionState, event: Event) -> None:
    if event.processed_at is not None:
        state.accepted.note_idle(event.processed_at.timestamp())
    state.set(status=SessionStatus.IDLE, stop_reason=event.body["stop_reason"])


def _running(state: SessionState, event: Event) -> None:
    del event
    state.set(status=SessionStatus.RUNNING, stop_reason=None)


def _rescheduled(state: SessionState, event: Event) -> None:
    del event
    state.set(status=SessionStatus.RESCHEDULING)


def _terminated(state: SessionState, event: Event) -> None:
    del event
    state.set(status=SessionStatus.TERMINATED, dispatched={})


_HANDLERS = {
    EventType.THREAD_CREATED: _thread_created,
    EventType.USER_DEFINE_OUTCOME: _outcome_defined,
    EventType.MODEL_REQUEST_START: _request_opened,
    EventType.OUTCOME_EVALUATION_START: _evaluation_opened,
    EventType.OUTCOME_EVALUATION_ONGOING: _evaluation_goes_on,
    EventType.OUTCOME_EVALUATION_END: _evaluation_closed,
    EventType.USER_CUSTOM_TOOL_RESULT: _custom_answer,
    EventType.USER_TOOL_RESULT: _answer,
    EventType.USER_TOOL_CONFIRMATION: _answer,
    EventType.SESSION_ERROR: _error,
    EventType.SESSION_IDLE: _idle,
    EventType.SESSION_RUNNING: _running,
    EventType.SESSION_RESCHEDULED: _rescheduled,
    EventType.SESSION_TERMINATED: _terminated,
}
