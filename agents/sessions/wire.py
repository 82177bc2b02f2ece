"""How a session's row looks on the wire (spec A.4, A.6): every key always present, nulls explicit."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from agents.catalog.resources import resource_wire
from agents.clock import rfc3339
from agents.sessions.advising import advisor_wire
from agents.sessions.events import SessionRecord, SessionStatus, ThreadRecord, Usage
from agents.skills.choosing import shown_skills

MICRO_PER_CENT = 10_000
LIST_COST_HEADER = "hecaton-list-cost-micro-usd"
"""Of an answer that is one session: its list cost before it is rounded to the whole cents that the body tells."""
_SECONDS_PER_HOUR = 3600


class UsePrices(Protocol):
    """The part of a price book that a session's list cost needs beside its token cost."""

    @property
    def running_hour_micro_usd(self) -> int:
        """List price of one hour in status running ($0.08 in spec B.3)."""
        ...

    @property
    def web_search_micro_usd(self) -> int:
        """List price of one web search."""
        ...


class Used(Protocol):
    """What a row of a session or of a thread says of its use."""

    @property
    def usage(self) -> Usage: ...
    @property
    def active_seconds(self) -> float: ...
    @property
    def running_since(self) -> datetime | None: ...


def active_seconds(record: Used, now: datetime) -> float:
    """Return the seconds in status running so far, the open span included."""
    open_span = (now - record.running_since).total_seconds() if record.running_since else 0.0
    return round(record.active_seconds + max(open_span, 0.0), 3)


def list_cost_micro_usd(record: SessionRecord, now: datetime, prices: UsePrices) -> int:
    """Return tokens and web searches at list price plus running time, in micro-USD (spec B.3 "Budget pause")."""
    active_milliseconds = round(active_seconds(record, now) * 1000)
    runtime = active_milliseconds * prices.running_hour_micro_usd // (_SECONDS_PER_HOUR * 1000)
    return used_micro_usd(record, prices) + runtime


def used_micro_usd(record: Used, prices: UsePrices) -> int:
    """Return tokens and web searches at list price, without running time, in micro-USD."""
    return record.usage.token_cost_micro_usd + record.usage.web_search_requests * prices.web_search_micro_usd


def usd_wire(micro_usd: int) -> dict[str, str]:
    """Return an amount in whole US cents, rounded to the nearest cent."""
    return {"amount": str((micro_usd + MICRO_PER_CENT // 2) // MICRO_PER_CENT), "currency": "USD"}


def usage_wire(record: SessionRecord, now: datetime, prices: UsePrices) -> dict[str, Any]:
    """Return a session's cumulative ``usage``, as in the session and in ``session.usage`` events."""
    return _usage(record, now, list_cost_micro_usd(record, now, prices))


def _usage(record: Used, now: datetime, cost_micro_usd: int) -> dict[str, Any]:
    usage = record.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_creation_5m_input_tokens,
            "ephemeral_1h_input_tokens": usage.cache_creation_1h_input_tokens,
        },
        "list_cost": usd_wire(cost_micro_usd),
        "active_seconds": active_seconds(record, now),
        "server_tool_use": {
            "web_search_requests": usage.web_search_requests,
            "web_fetch_requests": usage.web_fetch_requests,
        },
    }


def _duration_seconds(record: SessionRecord | ThreadRecord, now: datetime) -> float:
    # A terminated session's clock stands still at its last change.
    end = record.updated_at if record.status is SessionStatus.TERMINATED else now
    return round(max((end - record.created_at).total_seconds(), 0.0), 3)


def session_wire(record: SessionRecord, now: datetime, prices: UsePrices) -> dict[str, Any]:
    """Return the ``session`` resource."""
    return {
        "id": record.id,
        "type": "session",
        "status": record.status.value,
        "title": record.title,
        "agent": agent_wire(record.agent),
        "environment_id": record.environment_id,
        "vault_ids": list(record.vault_ids),
        "resources": [resource_wire(stored) for stored in record.resources],
        "metadata": record.metadata,
        "budget": record.budget,
        "deployment_id": record.deployment_id,
        "outcome_evaluations": list(record.outcomes),
        "stats": {"active_seconds": active_seconds(record, now), "duration_seconds": _duration_seconds(record, now)},
        "usage": usage_wire(record, now, prices),
        "created_at": rfc3339(record.created_at),
        "updated_at": rfc3339(record.updated_at),
        "archived_at": rfc3339(record.archived_at) if record.archived_at else None,
    }


def agent_wire(agent: dict[str, Any]) -> dict[str, Any]:
    """Return a session's agent as clients see it: without what the session keeps of skills for its own use."""
    shown = {**agent, "skills": shown_skills(agent.get("skills", ()))}
    if (multiagent := agent.get("multiagent")) is not None:
        members = [each if each["type"] == "advisor" else agent_wire(each) for each in multiagent["agents"]]
        shown["multiagent"] = {**multiagent, "agents": members}
    return shown


def _thread_agent(agent: dict[str, Any]) -> dict[str, Any]:
    if agent.get("type") == "advisor":
        return advisor_wire(agent)
    return {key: value for key, value in agent_wire(agent).items() if key != "multiagent"}


def thread_wire(
    session: SessionRecord, thread: ThreadRecord | None, now: datetime, prices: UsePrices
) -> dict[str, Any]:
    """Return a ``session_thread``; without a row *thread* the only one of the session, which is its primary.

    ``stats`` is null before the first run and ``usage`` before the first idle; its cost has no
    running time, which is the session's (field texts of the SDK's thread usage).
    """
    row = session if thread is None else thread
    parent = None if thread is None else thread.parent_id
    agent = session.agent if thread is None or parent is None else thread.agent
    stats = {
        "active_seconds": active_seconds(row, now),
        "duration_seconds": _duration_seconds(row, now),
        # A thread starts at once: nothing is provisioned before it thinks.
        "startup_seconds": 0.0,
    }
    started = row.running_since is not None or row.stop_reason is not None
    archived_at = session.archived_at if parent is None else row.archived_at
    return {
        "id": session.thread_id if thread is None else thread.id,
        "type": "session_thread",
        "session_id": session.id,
        "parent_thread_id": parent,
        "agent": _thread_agent(agent),
        "status": row.status.value,
        "stats": stats if started else None,
        "usage": _usage(row, now, used_micro_usd(row, prices)) if row.stop_reason else None,
        "workflow_run_id": None,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "archived_at": rfc3339(archived_at) if archived_at else None,
    }
