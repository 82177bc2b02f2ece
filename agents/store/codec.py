"""How records become rows and rows become records.

Both databases and the in-memory twin store exactly these rows, so that what is read back is the same
everywhere. Structured values are JSON text (key order kept: what a model wrote must be shown to it
unchanged), times are integer microseconds since the epoch, so that they order exactly.
"""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Protocol

import orjson

from agents.errors import InvalidRequest
from agents.ids import EventId
from agents.sessions.events import Event, EventType, SessionRecord, SessionStatus, ThreadRecord, Usage
from agents.store.ports import AgentRecord, EnvironmentRecord

Row = dict[str, Any]


class RowView(Protocol):
    """A row as a database or the in-memory twin hands it out."""

    def __getitem__(self, key: str, /) -> Any: ...


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_INTEGER = 2**63 - 1
EVENT_TYPES = {kind.value: kind for kind in EventType}
"""Every type by what a row and a client call it."""


def encode(value: object) -> str:
    """Return *value* as JSON text; raises InvalidRequest when it holds what JSON cannot (an unpaired surrogate)."""
    try:
        return orjson.dumps(value).decode()
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"value cannot be stored as JSON: {error}") from error


def decode(text: str) -> Any:
    return orjson.loads(text)


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def moment_at(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def micros_or_none(moment: datetime | None) -> int | None:
    return None if moment is None else micros(moment)


def moment_or_none(value: int | None) -> datetime | None:
    return None if value is None else moment_at(value)


def findable(key: str | int) -> bool:
    """Whether a database could hold *key* at all: PostgreSQL refuses NUL, UTF-8 unpaired surrogates, 64 bits more."""
    if isinstance(key, int):
        return -_MAX_INTEGER <= key <= _MAX_INTEGER
    try:
        return b"\0" not in key.encode()
    except UnicodeEncodeError:
        return False


def clamped(number: int) -> int:
    """Bring a number to compare with into the range of a column: no stored one lies beyond."""
    return max(-_MAX_INTEGER, min(number, _MAX_INTEGER))


def event_row(session_id: str, event: Event, seq: int | None = None) -> Row:
    """Return an event's row; with *seq* its place in the log, without one its row in the queue."""
    row: Row = {
        "session_id": session_id,
        "id": event.id,
        "type": event.type._value_,  # ``value`` is a call in Python
        "body": encode(event.body),
        "hidden": None if event.hidden is None else encode(event.hidden),
        "thread_id": event.thread,
    }
    if seq is not None:
        row["seq"] = seq
        row["processed_at"] = micros_or_none(event.processed_at)
        row["link"] = None  # until its log's chain is known (``log_chain``)
        row["crossposted"] = 1 if event.crossposted else None
    return row


def event_of(row: RowView) -> Event:
    """Return the event of a row of the log."""
    hidden = row["hidden"]
    return Event(
        id=EventId(row["id"]),
        type=EVENT_TYPES[row["type"]],
        body=decode(row["body"]),
        processed_at=moment_or_none(row["processed_at"]),
        seq=row["seq"],
        hidden=None if hidden is None else decode(hidden),
        thread=row["thread_id"],
        crossposted=bool(row["crossposted"]),
    )


def queued_event_of(row: RowView) -> Event:
    """Return the event of a row of the queue, which has neither position nor time."""
    hidden = row["hidden"]
    return Event(
        id=EventId(row["id"]),
        type=EVENT_TYPES[row["type"]],
        body=decode(row["body"]),
        processed_at=None,
        hidden=None if hidden is None else decode(hidden),
        thread=row["thread_id"],
    )


def snapshot_row(record: SessionRecord) -> Row:
    """Return what a session keeps of its agent and environment, and its resources: large, and seldom changed."""
    return {
        "session_id": record.id,
        "agent": encode(record.agent),
        "environment": encode(record.environment),
        "resources": encode(record.resources) if record.resources else None,
    }


def snapshot_digest(record: SessionRecord) -> str:
    """Return a name for the content of a session's snapshot row."""
    agent, environment = encode(record.agent), encode(record.environment)
    resources = encode(record.resources) if record.resources else ""
    return blake2b(f"{len(agent)}:{agent}{environment}{resources}".encode(), digest_size=16).hexdigest()


def session_row(record: SessionRecord, digest: str) -> Row:
    """Return the part of a session that every commit rewrites: small; *digest* names its snapshot row."""
    usage = record.usage
    state = {
        "thread_id": record.thread_id,
        "title": record.title,
        "metadata": record.metadata,
        "vault_ids": record.vault_ids,
        "budget": record.budget,
        "stop_reason": record.stop_reason,
        "active_seconds": record.active_seconds,
        "running_since": micros_or_none(record.running_since),
        "usage": [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_5m_input_tokens,
            usage.cache_creation_1h_input_tokens,
            usage.token_cost_micro_usd,
            usage.web_search_requests,
            usage.web_fetch_requests,
        ],
        "principal": record.principal,
        "dispatched": record.dispatched,
        "workspace": [record.workspace_host, record.workspace_version],
        "epoch": record.epoch,
        **({} if record.topology is None else {"topology": record.topology}),
        **({} if record.deployment_id is None else {"deployment_id": record.deployment_id}),
        **({"outcomes": record.outcomes} if record.outcomes else {}),
    }
    return {
        "id": record.id,
        "partition": record.partition,
        "status": record.status.value,
        "seq": record.seq,
        "queued": record.queued,
        "created_at": micros(record.created_at),
        "updated_at": micros(record.updated_at),
        "archived_at": micros_or_none(record.archived_at),
        "agent_id": record.agent_id,
        "agent_version": record.agent_version,
        "environment_id": record.environment_id,
        "workspace_id": record.workspace_id,
        "deployment_id": record.deployment_id,
        "digest": digest,
        "state": encode(state),
    }


def session_of(row: RowView) -> SessionRecord:
    """Return the session of a row joined with its snapshot."""
    state = decode(row["state"])
    # Rows of the first release lack what came later.
    workspace_host, workspace_version = state.get("workspace", (None, 0))
    return SessionRecord(
        id=row["id"],
        partition=row["partition"],
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        agent=decode(row["agent"]),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        environment_id=row["environment_id"],
        environment=decode(row["environment"]),
        thread_id=state["thread_id"],
        title=state["title"],
        metadata=state["metadata"],
        vault_ids=tuple(state["vault_ids"]),
        budget=state["budget"],
        status=SessionStatus(row["status"]),
        stop_reason=state["stop_reason"],
        seq=row["seq"],
        queued=row["queued"],
        usage=Usage(*state["usage"]),
        active_seconds=state["active_seconds"],
        running_since=moment_or_none(state["running_since"]),
        archived_at=moment_or_none(row["archived_at"]),
        principal=state.get("principal", ""),
        dispatched=state.get("dispatched", {}),
        workspace_host=workspace_host,
        workspace_version=workspace_version,
        epoch=state.get("epoch"),
        topology=state.get("topology"),
        workspace_id=row["workspace_id"],
        resources=tuple(decode(row["resources"])) if row["resources"] else (),
        deployment_id=state.get("deployment_id"),
        outcomes=tuple(state.get("outcomes", ())),
    )


def thread_progress(thread: ThreadRecord) -> Row:
    """Return what changes of a thread's row, with its key: no commit of a thread writes its whole agent again."""
    state = {
        "parent_id": thread.parent_id,
        "stop_reason": thread.stop_reason,
        "usage": astuple(thread.usage),
        "active_seconds": thread.active_seconds,
        "running_since": micros_or_none(thread.running_since),
        "updated_at": micros(thread.updated_at),
        "epoch": thread.epoch,
    }
    return {
        "id": thread.id,
        "archived_at": micros_or_none(thread.archived_at),
        "status": thread.status.value,
        "state": encode(state),
    }


def thread_row(thread: ThreadRecord) -> Row:
    return {
        **thread_progress(thread),
        "session_id": thread.session_id,
        "created_at": micros(thread.created_at),
        "agent": encode(thread.agent),
    }


def thread_of(row: RowView) -> ThreadRecord:
    state = decode(row["state"])
    return ThreadRecord(
        id=row["id"],
        session_id=row["session_id"],
        parent_id=state["parent_id"],
        agent=decode(row["agent"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(state["updated_at"]),
        status=SessionStatus(row["status"]),
        stop_reason=state["stop_reason"],
        usage=Usage(*state["usage"]),
        active_seconds=state["active_seconds"],
        running_since=moment_or_none(state["running_since"]),
        archived_at=moment_or_none(row["archived_at"]),
        epoch=state.get("epoch"),
    )


def agent_rows(agent: AgentRecord) -> tuple[Row, Row]:
    """Return the row of the agent and the row of this version of it."""
    head: Row = {
        "id": agent.id,
        "workspace_id": agent.workspace_id,
        "version": agent.version,
        "created_at": micros(agent.created_at),
        "archived_at": micros_or_none(agent.archived_at),
    }
    version: Row = {
        "agent_id": agent.id,
        "version": agent.version,
        "body": encode(agent.body),
        "updated_at": micros(agent.updated_at),
    }
    return head, version


def agent_of(row: RowView) -> AgentRecord:
    return AgentRecord(
        id=row["id"],
        version=row["version"],
        body=decode(row["body"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        workspace_id=row["workspace_id"],
    )


def environment_row(environment: EnvironmentRecord) -> Row:
    """Raises InvalidRequest for a name that no database can compare."""
    if not findable(environment.name):
        raise InvalidRequest("name: must not hold NUL or unpaired surrogates")
    return {
        "id": environment.id,
        "workspace_id": environment.workspace_id,
        "name": environment.name,
        "body": encode(environment.body),
        "created_at": micros(environment.created_at),
        "updated_at": micros(environment.updated_at),
        "archived_at": micros_or_none(environment.archived_at),
    }


def environment_of(row: RowView) -> EnvironmentRecord:
    return EnvironmentRecord(
        id=row["id"],
        name=row["name"],
        body=decode(row["body"]),
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        archived_at=moment_or_none(row["archived_at"]),
        workspace_id=row["workspace_id"],
    )
