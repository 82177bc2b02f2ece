"""A session as its owner holds it: the row plus a fold of the log. Nothing here survives only in memory.

``SessionState.apply`` is the single place where an event changes state, for live events and for the
log that a new owner reads back alike, so that resuming is the same computation as never having stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

import orjson

from agents.brains.route import versions_told
from agents.hands.servers.port import Offer
from agents.ids import EventId
from agents.sessions.approvals import call_digest
from agents.sessions.conversation import Conversation
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus
from agents.sessions.log import SessionSnapshot
from agents.sessions.repeats import Accepted
from agents.sessions.served import ServedTool, known_as, offer_of, served_by, version_kept

BUDGET_REACHED: dict[str, Any] = {"type": "budget_reached"}
"""Why a session is idle that its budget has stopped."""


@dataclass(slots=True)
class OpenCall:
    """A tool call without a result. ``decision`` is the client's answer to an ask."""

    id: EventId
    name: str
    """The name by which the model called the tool."""
    input: dict[str, Any]
    kind: Literal["builtin", "served", "custom", "worker"]
    """Who runs it: a sandbox here, a server, the application, or a worker of a self-hosted environment."""
    asked: bool
    decision: Literal["allow", "deny"] | None = None
    deny_message: str | None = None
    approves: str | None = None
    """Digest of the call that the client's answer was given for."""
    served: ServedTool | None = None
    """The tool, where a server runs it instead of the session's sandbox."""
    since: datetime | None = None
    """When the model asked for it, or the client allowed it."""

    @property
    def runnable(self) -> bool:
        return self.kind not in ("custom", "worker") and (not self.asked or self.decision == "allow")

    @property
    def cleared(self) -> bool:
        """Whether the call needs no approval, or has one for exactly this tool and these arguments."""
        return not self.asked or (self.decision == "allow" and self.approves == call_digest(self.name, self.input))

    @property
    def blocking(self) -> bool:
        """Whether the client must act before the turn can go on."""
        if self.kind == "worker":
            return self.decision != "deny"
        return self.kind == "custom" or (self.asked and self.decision is None)


@dataclass(slots=True)
class SessionState:
    """Mutable state of one session; changed only by ``apply`` and by the fields of its row."""

    record: SessionRecord
    conversation: Conversation = field(default_factory=Conversation)
    calls: dict[EventId, OpenCall] = field(default_factory=lambda: {})
    queue: list[Event] = field(default_factory=lambda: [])
    sizes: dict[EventId, int] = field(default_factory=lambda: {})
    """Bytes of waiting events, as far as they were asked for."""
    answers: dict[tuple[EventType, str], Event] = field(default_factory=lambda: {})
    """Accepted answers by their type and call: a call may get a confirmation, and then a result."""
    accepted: Accepted = field(default_factory=Accepted)
    failed_servers: dict[str, str] = field(default_factory=lambda: {})
    """MCP servers whose failure is the last that the log says of them, with the type of its error."""
    unreachable_credentials: set[str] = field(default_factory=lambda: set[str]())
    """Credentials of which the log says that the environment does not let a sandbox reach their hosts."""
    offers: dict[str, Offer] = field(default_factory=lambda: {})
    """What the model was shown last of each MCP server."""
    hand_versions: dict[str, str] = field(default_factory=lambda: {})
    """Versions of hands that the session stays with, by the hand's name."""
    versions: dict[str, str] = field(default_factory=lambda: {})
    """Versions of brains that the session stays with, by the brain's name."""
    open_request: EventId | None = None
    asked_at: datetime | None = None
    """When the request that was opened last got its place in the log."""
    keeps: int | None = None
    """Set while the open request is one for a summary: how many of the last messages it leaves as they are."""
    overlong: bool = False
    """Whether a model server has refused the context as too long, and it was not compacted since."""
    halvings: int = 0
    """How often a request for a summary was itself refused as too long, since the last one that came about."""
    rounds: int = 0
    failures: int = 0
    last_moment: datetime | None = None

    @classmethod
    def restore(cls, snapshot: SessionSnapshot) -> SessionState:
        """Rebuild the state from the log."""
        state = cls(snapshot.record)
        for event in snapshot.queued:
            state.enqueue(event)
        for event in snapshot.events:
            state.apply(event)
        # The row was written with the last event of the log, so it is already what the fold leads to.
        state.record = snapshot.record
        return state

    @property
    def status(self) -> SessionStatus:
        return self.record.status

    @property
    def busy(self) -> bool:
        return self.status in (SessionStatus.RUNNING, SessionStatus.RESCHEDULING)

    @property
    def interrupted(self) -> bool:
        return any(event.type is EventType.USER_INTERRUPT for event in self.queue)

    @property
    def paused(self) -> bool:
        """Whether the session stopped because its budget is used up."""
        return self.status is SessionStatus.IDLE and self.record.stop_reason == BUDGET_REACHED

    @property
    def messages_wait(self) -> bool:
        return any(event.type is EventType.USER_MESSAGE for event in self.queue)

    def blocking_ids(self) -> list[EventId]:
        return [call.id for call in self.calls.values() if call.blocking]

    def runnable_calls(self) -> list[OpenCall]:
        return [call for call in self.calls.values() if call.runnable]

    def waiting_bytes(self) -> int:
        """Return the size of everything that waits in the queue; each event is measured once."""
        known = self.sizes
        self.sizes = {event.id: known.get(event.id) or len(orjson.dumps(event.body)) for event in self.queue}
        return sum(self.sizes.values())

    def enqueue(self, event: Event) -> None:
        """Let a client event wait."""
        self.queue.append(event)
        self.accepted.note(event)

    def apply(self, event: Event) -> None:
        """Take the next event of the log."""
        if event.type.from_client:
            self.accepted.note(event)
        if event.processed_at is not None:
            self.last_moment = event.processed_at
        self.conversation.apply(event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def set(self, **columns: Any) -> None:
        """Change columns of the row; durable only with the commit that carries the row."""
        self.record = replace(self.record, **columns)

    def close(self, call_id: EventId) -> None:
        """Take note of a call's result: the call, and the intent to send it, are no more."""
        self.calls.pop(call_id, None)
        if call_id in self.record.dispatched:
            self.set(dispatched={other: host for other, host in self.record.dispatched.items() if other != call_id})


def _opened(state: SessionState, event: Event) -> None:
    state.open_request, state.asked_at = event.id, event.processed_at
    state.keeps = (event.hidden or {}).get("keeps")
    if state.keeps is None:
        state.rounds += 1


def _closed(state: SessionState, event: Event) -> None:
    state.versions |= versions_told(event.body.get("brain"))
    refused, summarizing = (event.hidden or {}).get("too_long", False), state.keeps is not None
    state.open_request = state.keeps = None
    if refused and not summarizing:
        state.overlong = True  # and no attempt, for the next one is another request
        return
    state.halvings += refused
    state.failures = state.failures + 1 if event.body.get("is_error") else 0
    for server, kept in (event.hidden or {}).get("offers", {}).items():
        _shown(state, server, kept)


def _shown(state: SessionState, server: str, kept: dict[str, Any] | None) -> None:
    if kept is None:
        del state.offers[server]
        return
    state.offers[server] = offer_of(kept)
    state.failed_servers.pop(server, None)
    state.hand_versions |= version_kept(kept)


def _tool_use(state: SessionState, event: Event) -> None:
    served = served_by(event)
    state.calls[event.id] = OpenCall(
        id=event.id,
        name=known_as(event),
        input=event.body["input"],
        kind=_kind(state, event, served),
        asked=event.body.get("evaluated_permission") == "ask",
        served=served,
        since=event.processed_at,
    )


def _kind(
    state: SessionState, event: Event, served: ServedTool | None
) -> Literal["builtin", "served", "custom", "worker"]:
    if event.type is EventType.AGENT_CUSTOM_TOOL_USE:
        return "custom"
    if served is not None:
        return "served"
    # What is refused before any policy never reaches a worker: it is closed at once.
    refused = event.body.get("evaluated_permission") == "deny"
    return "worker" if state.record.self_hosted and not refused else "builtin"


def _tool_result(state: SessionState, event: Event) -> None:
    state.close(EventId(event.body["tool_use_id"]))


def _worker_result(state: SessionState, event: Event) -> None:
    _tool_result(state, event)
    state.answers[event.type, event.body["tool_use_id"]] = event


def _mcp_result(state: SessionState, event: Event) -> None:
    state.close(EventId(event.body["mcp_tool_use_id"]))


def _custom_result(state: SessionState, event: Event) -> None:
    call_id = event.body["custom_tool_use_id"]
    state.close(EventId(call_id))
    state.answers[event.type, call_id] = event


def _confirmation(state: SessionState, event: Event) -> None:
    call_id = event.body["tool_use_id"]
    state.answers[event.type, call_id] = event
    call = state.calls.get(call_id)
    if call is not None:
        call.decision = event.body["result"]
        call.deny_message = event.body.get("deny_message")
        call.approves = (event.hidden or {}).get("approves")
        call.since = event.processed_at


def _error(state: SessionState, event: Event) -> None:
    server = event.body["error"].get("mcp_server_name")
    if server is not None:
        state.failed_servers[server] = event.body["error"]["type"]
    credential = event.body["error"].get("credential_id")
    if credential is not None:
        state.unreachable_credentials.add(credential)


def _compacted(state: SessionState, event: Event) -> None:
    del event
    state.overlong, state.halvings = False, 0


def _idle(state: SessionState, event: Event) -> None:
    if event.processed_at is not None:
        state.accepted.note_idle(event.processed_at.timestamp())
    if event.body["stop_reason"]["type"] != "requires_action":
        state.rounds = 0
    state.failures = 0
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
    EventType.MODEL_REQUEST_START: _opened,
    EventType.MODEL_REQUEST_END: _closed,
    EventType.AGENT_TOOL_USE: _tool_use,
    EventType.AGENT_CUSTOM_TOOL_USE: _tool_use,
    EventType.AGENT_MCP_TOOL_USE: _tool_use,
    EventType.AGENT_TOOL_RESULT: _tool_result,
    EventType.AGENT_MCP_TOOL_RESULT: _mcp_result,
    EventType.USER_CUSTOM_TOOL_RESULT: _custom_result,
    EventType.USER_TOOL_RESULT: _worker_result,
    EventType.USER_TOOL_CONFIRMATION: _confirmation,
    EventType.CONTEXT_COMPACTED: _compacted,
    EventType.SESSION_ERROR: _error,
    EventType.SESSION_IDLE: _idle,
    EventType.SESSION_RUNNING: _running,
    EventType.SESSION_RESCHEDULED: _rescheduled,
    EventType.SESSION_TERMINATED: _terminated,
}
