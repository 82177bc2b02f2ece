"""One thread of a session as the session's owner holds it: a fold of the thread's events.

A thread is a context of its own: its conversation, its open calls, its open model request. What all threads of a
session share (the row, the queue, the sandbox, the budget) is the ``SessionState`` that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from agents.brains.route import versions_told
from agents.hands.servers.port import Offer
from agents.ids import EventId
from agents.sessions.approvals import call_digest
from agents.sessions.conversation import Conversation
from agents.sessions.events import MESSAGES, Event, EventType, SessionRecord, SessionStatus, ThreadRecord, Usage
from agents.sessions.served import ServedTool, known_as, offer_of, served_by, version_kept

if TYPE_CHECKING:
    from agents.sessions.state import SessionState

CallKind = Literal["builtin", "served", "custom", "worker", "internal"]
BUDGET_REACHED: dict[str, Any] = {"type": "budget_reached"}
"""Why a thread is idle that the session's budget has stopped."""
END_TURN: dict[str, Any] = {"type": "end_turn"}
"""Why a thread is idle that has done what there was to do."""
RETRIES_EXHAUSTED: dict[str, Any] = {"type": "retries_exhausted"}
"""Why a thread is idle that has given up: only its client makes it go on."""


@dataclass(slots=True)
class OpenCall:
    """A tool call without a result. ``decision`` is the client's answer to an ask."""

    id: EventId
    name: str
    """The name by which the model called the tool."""
    input: dict[str, Any]
    kind: CallKind
    """Who runs it: a sandbox here, a server, the application, a worker of a self-hosted environment, or the session
    itself, in the commit that has the call."""
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
        return self.kind not in ("custom", "worker", "internal") and (not self.asked or self.decision == "allow")

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


@dataclass(slots=True, eq=False)
class ThreadState:
    """Mutable state of one thread; changed only by ``apply`` and by the fields of its session's row."""

    session: SessionState
    id: str
    status: SessionStatus
    stop_reason: dict[str, Any] | None
    """Why the thread was idle last; None before it ever was."""
    stop_details: dict[str, Any] | None = None
    row: ThreadRecord | None = None
    """Its row; None as long as the session has one thread, whose row is the session's."""
    conversation: Conversation = field(default_factory=Conversation)
    calls: dict[EventId, OpenCall] = field(default_factory=lambda: {})
    failed_servers: dict[str, str] = field(default_factory=lambda: {})
    """MCP servers whose failure is the last that the log says of them, with the type of its error."""
    offers: dict[str, Offer] = field(default_factory=lambda: {})
    """What the model was shown last of each MCP server."""
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
    """Model requests since the client had the word, of a thread that delegates; of others, in this turn."""
    rested: bool = False
    """Whether the primary has ended a turn since its client's last message; others may keep the session running."""
    failures: int = 0

    @property
    def primary(self) -> bool:
        """Whether it is the thread that the session began with, whose events the log leaves unmarked."""
        return self.id == self.session.record.thread_id

    @property
    def event_thread(self) -> str | None:
        """Name it as its events do: None for the primary."""
        return None if self.primary else self.id

    @property
    def record(self) -> SessionRecord:
        """The session's row."""
        return self.session.record

    @property
    def agent(self) -> dict[str, Any]:
        """The agent whose thread it is, as the session keeps it."""
        return self.session.record.agent if self.primary or self.row is None else self.row.agent

    def speed_of(self, model: str) -> str:
        """Return the speed at which *model* is asked: the agent's is for its own, and another may have no fast one."""
        own = self.agent["model"]
        return own["speed"] if model == own["id"] else "standard"

    @property
    def name(self) -> str:
        return self.agent["name"]

    @property
    def advises(self) -> bool:
        """Whether it is an advisor's: final as soon as it has answered."""
        return self.agent.get("type") == "advisor"

    @property
    def queue(self) -> list[Event]:
        """What waits in the session for this thread, in order of arrival."""
        return [event for event in self.session.queue if self.session.thread_of(event) is self]

    @property
    def busy(self) -> bool:
        return self.status in (SessionStatus.RUNNING, SessionStatus.RESCHEDULING)

    @property
    def interrupted(self) -> bool:
        return self._waits(EventType.USER_INTERRUPT)

    @property
    def archived(self) -> bool:
        return self.row is not None and self.row.archived_at is not None

    @property
    def paused(self) -> bool:
        """Whether the thread stopped because the session's budget is used up."""
        return self.status is SessionStatus.IDLE and self.stop_reason == BUDGET_REACHED

    @property
    def messages_wait(self) -> bool:
        return self._waits(*MESSAGES)

    @property
    def grading(self) -> EventId | None:
        """Name the evaluation of the session's outcome that is under way; it belongs to the primary's turn."""
        outcome = self.session.outcome
        return outcome.evaluation if self.primary and outcome is not None else None

    @property
    def has_work(self) -> bool:
        """Whether something waits that starts a turn: a message, or an outcome that the agent was not told of."""
        outcome = self.session.outcome
        return self.messages_wait or (self.primary and outcome is not None and not outcome.begun)

    @property
    def wakes(self) -> bool:
        """Whether it goes on without its client: it rests, waits for nobody else, and has not given up.

        Another thread's message starts its turn; or its turn has ended, and what it works towards can be graded now.
        """
        if self.status is not SessionStatus.IDLE or self.calls or self.paused or self.stop_reason == RETRIES_EXHAUSTED:
            return False
        if self.stop_reason == END_TURN and self.to_be_graded:
            return True
        return self._waits(EventType.THREAD_MESSAGE_RECEIVED)

    @property
    def to_be_graded(self) -> bool:
        """Whether the outcome is graded once the thread's turn ends: nobody else works on it, or waits to go on."""
        outcome, others = self.session.outcome, self.session.threads.values()
        if outcome is None or not outcome.begun or not self.primary:
            return False
        return not any(each.busy or each.wakes or each.calls or each.paused for each in others if each is not self)

    def _waits(self, *types: EventType) -> bool:
        """Whether an event of these types waits for this thread; asked of every thread with every commit."""
        own = self.event_thread
        return any(event.type in types and event.thread == own for event in self.session.queue)

    def blocking_ids(self) -> list[EventId]:
        return [call.id for call in self.calls.values() if call.blocking]

    def runnable_calls(self) -> list[OpenCall]:
        return [call for call in self.calls.values() if call.runnable]

    def set(self, **columns: Any) -> None:
        """Change columns of the session's row; durable only with the commit that carries the row."""
        self.session.set(**columns)

    def use(self, add: Callable[[Usage], Usage]) -> None:
        """Count what was used, for the session and for the thread."""
        self.set(usage=add(self.record.usage))
        if self.row is not None:
            self.row = replace(self.row, usage=add(self.row.usage))

    def apply(self, event: Event) -> None:
        """Take the next event of this thread."""
        self.conversation.apply(event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event)

    def close(self, call_id: EventId) -> None:
        """Take note of a call's result: the call, and the intent to send it, are no more."""
        self.calls.pop(call_id, None)
        self.session.forget_intent(call_id)


def _opened(thread: ThreadState, event: Event) -> None:
    thread.open_request, thread.asked_at = event.id, event.processed_at
    thread.keeps = (event.hidden or {}).get("keeps")
    if thread.keeps is None:
        thread.rounds += 1


def _closed(thread: ThreadState, event: Event) -> None:
    thread.session.versions |= versions_told(event.body.get("brain"))
    refused, summarizing = (event.hidden or {}).get("too_long", False), thread.keeps is not None
    thread.open_request = thread.keeps = None
    if refused and not summarizing:
        thread.overlong = True  # and no attempt, for the next one is another request
        return
    thread.halvings += refused
    thread.failures = thread.failures + 1 if event.body.get("is_error") else 0
    for server, kept in (event.hidden or {}).get("offers", {}).items():
        _shown(thread, server, kept)


def _shown(thread: ThreadState, server: str, kept: dict[str, Any] | None) -> None:
    if kept is None:
        del thread.offers[server]
        return
    thread.offers[server] = offer_of(kept)
    thread.failed_servers.pop(server, None)
    thread.session.hand_versions |= version_kept(kept)


def _tool_use(thread: ThreadState, event: Event) -> None:
    served = served_by(event)
    thread.calls[event.id] = OpenCall(
        id=event.id,
        name=known_as(event),
        input=event.body["input"],
        kind=_kind(thread, event, served),
        asked=event.body.get("evaluated_permission") == "ask",
        served=served,
        since=event.processed_at,
    )


def _kind(thread: ThreadState, event: Event, served: ServedTool | None) -> CallKind:
    if event.type is EventType.AGENT_CUSTOM_TOOL_USE:
        return "custom"
    if served is not None:
        return "served"
    if (event.hidden or {}).get("internal"):
        return "internal"
    # What is refused before any policy never reaches a worker: it is closed at once.
    refused = event.body.get("evaluated_permission") == "deny"
    return "worker" if thread.record.self_hosted and not refused else "builtin"


def _tool_result(thread: ThreadState, event: Event) -> None:
    thread.close(EventId(event.body["tool_use_id"]))


def _mcp_result(thread: ThreadState, event: Event) -> None:
    thread.close(EventId(event.body["mcp_tool_use_id"]))


def _custom_result(thread: ThreadState, event: Event) -> None:
    thread.close(EventId(event.body["custom_tool_use_id"]))


def _confirmation(thread: ThreadState, event: Event) -> None:
    call = thread.calls.get(event.body["tool_use_id"])
    if call is not None:
        call.decision = event.body["result"]
        call.deny_message = event.body.get("deny_message")
        call.approves = (event.hidden or {}).get("approves")
        call.since = event.processed_at


def _error(thread: ThreadState, event: Event) -> None:
    server = event.body["error"].get("mcp_server_name")
    if server is not None:
        thread.failed_servers[server] = event.body["error"]["type"]


def _compacted(thread: ThreadState, event: Event) -> None:
    del event
    thread.overlong, thread.halvings = False, 0


def _idle(thread: ThreadState, event: Event) -> None:
    thread.status, thread.stop_reason = SessionStatus.IDLE, event.body["stop_reason"]
    thread.stop_details = event.body.get("stop_details")
    if event.body["stop_reason"]["type"] != "requires_action":
        # Its agents' messages may wake the primary at once: that is no new beginning, or they could go on for ever.
        thread.rested, thread.rounds = thread.primary, thread.rounds if thread.primary else 0
    thread.failures = 0


def _session_idle(primary: ThreadState, event: Event) -> None:
    if event.body["stop_reason"]["type"] != "requires_action":
        primary.rounds = 0


def _message(thread: ThreadState, event: Event) -> None:
    del event
    if thread.rested:
        thread.rested, thread.rounds = False, 0


def _running(thread: ThreadState, event: Event) -> None:
    del event
    thread.status = SessionStatus.RUNNING


def _rescheduled(thread: ThreadState, event: Event) -> None:
    del event
    thread.status = SessionStatus.RESCHEDULING


def _terminated(thread: ThreadState, event: Event) -> None:
    del event
    thread.status = SessionStatus.TERMINATED
    thread.calls.clear()
    # It stays for as long as its session does, and has nothing to say any more.
    thread.conversation = Conversation()
    thread.offers.clear()


_HANDLERS = {
    EventType.MODEL_REQUEST_START: _opened,
    EventType.MODEL_REQUEST_END: _closed,
    EventType.AGENT_TOOL_USE: _tool_use,
    EventType.AGENT_CUSTOM_TOOL_USE: _tool_use,
    EventType.AGENT_MCP_TOOL_USE: _tool_use,
    EventType.AGENT_TOOL_RESULT: _tool_result,
    EventType.AGENT_MCP_TOOL_RESULT: _mcp_result,
    EventType.USER_CUSTOM_TOOL_RESULT: _custom_result,
    EventType.USER_TOOL_RESULT: _tool_result,
    EventType.USER_TOOL_CONFIRMATION: _confirmation,
    EventType.CONTEXT_COMPACTED: _compacted,
    EventType.SESSION_ERROR: _error,
    EventType.USER_MESSAGE: _message,
    EventType.SESSION_IDLE: _session_idle,
    EventType.THREAD_IDLE: _idle,
    EventType.THREAD_RUNNING: _running,
    EventType.THREAD_RESCHEDULED: _rescheduled,
    EventType.THREAD_TERMINATED: _terminated,
}
