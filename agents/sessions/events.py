"""What a session's log is made of.

An :class:`Event` is immutable. Its ``body`` holds the wire fields beyond ``id``, ``type`` and
``processed_at``; its ``hidden`` part is kept for the model and for the session's owners (signed
thinking blocks, summaries) and is never shown to a client. A queued client event has
``processed_at is None`` and no place in the log (``seq is None``) until a turn takes it up (law 2 of
the design).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.clock import rfc3339
from agents.ids import EventId


class EventType(StrEnum):
    """Every event type of this release (spec B.1 and B.2)."""

    USER_MESSAGE = "user.message"
    USER_INTERRUPT = "user.interrupt"
    USER_DEFINE_OUTCOME = "user.define_outcome"
    USER_TOOL_CONFIRMATION = "user.tool_confirmation"
    USER_CUSTOM_TOOL_RESULT = "user.custom_tool_result"
    USER_TOOL_RESULT = "user.tool_result"
    SYSTEM_MESSAGE = "system.message"
    AGENT_MESSAGE = "agent.message"
    AGENT_THINKING = "agent.thinking"
    AGENT_TOOL_USE = "agent.tool_use"
    AGENT_TOOL_RESULT = "agent.tool_result"
    AGENT_CUSTOM_TOOL_USE = "agent.custom_tool_use"
    AGENT_MCP_TOOL_USE = "agent.mcp_tool_use"
    AGENT_MCP_TOOL_RESULT = "agent.mcp_tool_result"
    CONTEXT_COMPACTED = "agent.thread_context_compacted"
    THREAD_MESSAGE_SENT = "agent.thread_message_sent"
    THREAD_MESSAGE_RECEIVED = "agent.thread_message_received"
    SESSION_RUNNING = "session.status_running"
    SESSION_IDLE = "session.status_idle"
    SESSION_RESCHEDULED = "session.status_rescheduled"
    SESSION_TERMINATED = "session.status_terminated"
    SESSION_DELETED = "session.deleted"
    SESSION_UPDATED = "session.updated"
    SESSION_ERROR = "session.error"
    SESSION_USAGE = "session.usage"
    THREAD_CREATED = "session.thread_created"
    THREAD_RUNNING = "session.thread_status_running"
    THREAD_IDLE = "session.thread_status_idle"
    THREAD_RESCHEDULED = "session.thread_status_rescheduled"
    THREAD_TERMINATED = "session.thread_status_terminated"
    MODEL_REQUEST_START = "span.model_request_start"
    MODEL_REQUEST_END = "span.model_request_end"
    OUTCOME_EVALUATION_START = "span.outcome_evaluation_start"
    OUTCOME_EVALUATION_ONGOING = "span.outcome_evaluation_ongoing"
    OUTCOME_EVALUATION_END = "span.outcome_evaluation_end"

    @property
    def from_client(self) -> bool:
        return self.value.startswith(("user.", "system."))


TOOL_USES = frozenset({EventType.AGENT_TOOL_USE, EventType.AGENT_MCP_TOOL_USE, EventType.AGENT_CUSTOM_TOOL_USE})
TOOL_RESULTS = {
    EventType.AGENT_TOOL_RESULT: "tool_use_id",
    EventType.USER_TOOL_RESULT: "tool_use_id",
    EventType.AGENT_MCP_TOOL_RESULT: "mcp_tool_use_id",
    EventType.USER_CUSTOM_TOOL_RESULT: "custom_tool_use_id",
}
"""Events that end a tool call, and where each names it."""


MESSAGES = frozenset({EventType.USER_MESSAGE, EventType.THREAD_MESSAGE_RECEIVED})
"""What starts a turn of the thread that it waits for."""
TAKEN_UP = MESSAGES | {EventType.SYSTEM_MESSAGE}
"""What a model request takes up of what waits."""


class SessionStatus(StrEnum):
    IDLE = "idle"
    RUNNING = "running"
    RESCHEDULING = "rescheduling"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a session's log, or one queued client event."""

    id: EventId
    type: EventType
    body: dict[str, Any]
    processed_at: datetime | None
    seq: int | None = None
    hidden: dict[str, Any] | None = None
    thread: str | None = None
    """Whose event it is, or for whom it waits; None: the session's, and its primary thread's."""
    crossposted: bool = False
    """Whether the list and the stream of the primary thread show it, too, though it is another's."""

    def wire(self) -> dict[str, Any]:
        """Return the event as the API shows it."""
        processed = rfc3339(self.processed_at) if self.processed_at else None
        return {"id": self.id, "type": self.type.value, **self.body, "processed_at": processed}

    def at(self, seq: int) -> Event:
        return replace(self, seq=seq)

    def processed(self, moment: datetime) -> Event:
        return replace(self, processed_at=moment)

    def shown_in(self, thread: str | None) -> bool:
        """Whether the list and the stream of *thread* show it; None: those of the session, its primary thread's."""
        return self.thread == thread or (thread is None and self.crossposted)


@dataclass(frozen=True, slots=True)
class Usage:
    """Cumulative consumption of a session; money in micro-USD so that no float ever rounds it."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    token_cost_micro_usd: int = 0
    web_search_requests: int = 0
    web_fetch_requests: int = 0
    """Those that brought something; their price is in the price book."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """The row of a session: what a client reads, plus what its owner needs to go on.

    ``seq`` is the log position of the last event. ``active_seconds`` counts closed running spans;
    ``running_since`` opens the current one. ``stop_reason`` is the last idle event's reason.
    What stands from ``principal`` on is never shown to a client as it is.
    """

    id: str
    partition: int
    created_at: datetime
    updated_at: datetime
    agent: dict[str, Any]
    agent_id: str
    agent_version: int
    environment_id: str
    environment: dict[str, Any]
    thread_id: str
    title: str | None = None
    metadata: dict[str, str] = field(default_factory=lambda: {})
    vault_ids: tuple[str, ...] = ()
    budget: dict[str, Any] | None = None
    status: SessionStatus = SessionStatus.IDLE
    stop_reason: dict[str, Any] | None = None
    seq: int = 0
    queued: int = 0
    usage: Usage = Usage()
    active_seconds: float = 0.0
    running_since: datetime | None = None
    archived_at: datetime | None = None
    principal: str = ""
    """Name of the API key that made the session; shares of what is scarce are dealt per principal."""
    dispatched: dict[str, str] = field(default_factory=lambda: {})
    """Intents: open tool calls by id, with the incarnation of the host that each was about to be sent to."""
    workspace_host: str | None = None
    workspace_version: int = 0
    """Where the session's sandbox was last, and the version of its files that the log stands on."""
    epoch: int | None = None
    """Epoch of the partition's owner under which the log last grew, see ``resuming``."""
    topology: str | None = None
    """The side that the session was made for, where there are two (``agents.sessions.sides``)."""
    workspace_id: str = DEFAULT_WORKSPACE
    """Whose the session is; no other workspace knows of it. (Its sandbox's files are ``workspace_version``.)"""
    resources: tuple[dict[str, Any], ...] = ()
    """What is mounted for it, as ``agents.catalog.resources`` keeps it; a client sees their ``wire``."""
    deployment_id: str | None = None
    """The deployment that made it."""
    outcomes: tuple[dict[str, Any], ...] = ()
    """What clients wanted it to work towards, and what came of each, as the API shows it."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        """Take what another process has pickled: one of an earlier release has not said the newest fields."""
        known = fields(self)
        for each, value in zip(known, (*state, *(each.default for each in known[len(state) :])), strict=False):
            object.__setattr__(self, each.name, value)

    @property
    def self_hosted(self) -> bool:
        """Whether the session's sandbox tools run at a worker elsewhere, and never here (spec D)."""
        return self.environment.get("type") == "self_hosted"


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """The row of a thread. A session has rows of threads, its primary's included, once it has more than one.

    ``active_seconds`` counts closed running spans; ``running_since`` opens the current one. ``stop_reason`` is the last
    idle event's reason.
    """

    id: str
    session_id: str
    parent_id: str | None
    """The thread that created it; None: it is the primary."""
    agent: dict[str, Any]
    """The agent as it was when the thread was created; empty for the primary, whose agent is the session's."""
    created_at: datetime
    updated_at: datetime
    status: SessionStatus = SessionStatus.IDLE
    stop_reason: dict[str, Any] | None = None
    usage: Usage = Usage()
    active_seconds: float = 0.0
    running_since: datetime | None = None
    archived_at: datetime | None = None
    epoch: int | None = None
    """Epoch of the partition's owner under which the thread's part of the log last grew."""


def text_content(text: str) -> list[dict[str, Any]]:
    """Return the content of an event that is one text."""
    return [{"type": "text", "text": text}]
