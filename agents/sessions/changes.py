"""Changing a session that exists: title, metadata, budget, resources, the agent's tools and servers (A.4, A.7, B.3)."""

from __future__ import annotations

from typing import Any

from agents.catalog.resources import with_change
from agents.catalog.tools import check_tools_agree
from agents.errors import InvalidRequest
from agents.sessions.draft import Draft
from agents.sessions.events import EventType, SessionRecord, SessionStatus
from agents.sessions.intake import check_open
from agents.sessions.lifecycle import TurnRules
from agents.sessions.transitions import resume_paused
from agents.sessions.wire import agent_wire

_MAX_PAIRS = 16


def _merged(bag: dict[str, str], patch: dict[str, str | None]) -> dict[str, str]:
    merged = {**bag, **patch}
    result = {key: value for key, value in merged.items() if value is not None}
    if len(result) > _MAX_PAIRS:
        raise InvalidRequest(f"metadata: at most {_MAX_PAIRS} pairs; the change would make {len(result)}")
    return result


def _told(changed: dict[str, Any]) -> dict[str, Any]:
    """Return the event's body: the agent as clients see it, and no emptied bag (the spec leaves that out)."""
    shown = {**changed, "agent": agent_wire(changed["agent"])} if "agent" in changed else changed
    return {key: value for key, value in shown.items() if value != {}}


def _changed_agent(record: SessionRecord, change: dict[str, Any]) -> dict[str, Any]:
    """Return the session's agent with what replaces fields of it, in the copies of itself on its roster, too."""
    agent = {**record.agent, **change}
    check_tools_agree(
        agent, "agent."
    )  # the gateway has judged the change by a row that may have been changed meanwhile
    roster: dict[str, Any] | None = agent.get("multiagent")
    if roster is not None:
        members = [{**each, **change} if each.get("id") == record.agent_id else each for each in roster["agents"]]
        agent["multiagent"] = {**roster, "agents": members}
    return agent


def apply_changes(draft: Draft, rules: TurnRules, changes: dict[str, Any]) -> SessionRecord:
    """Apply *changes*: ``title``, ``metadata`` (a patch: null deletes), ``agent`` (fields to replace), ``budget``,
    ``resources`` (see ``with_change``).

    Emits ``session.updated`` with what really changed; a session that its budget had stopped goes on when there is
    something to spend again, in the same commit. Raises Conflict (archived) or InvalidRequest (tools or servers
    changed while not idle, or that do not go together; too much metadata; a budget that was not there, or not raised).
    """
    record = draft.state.record
    check_open(draft.session)
    changed: dict[str, Any] = {}
    if "title" in changes and changes["title"] != record.title:
        changed["title"] = changes["title"]
    if "metadata" in changes:
        bag = _merged(record.metadata, changes["metadata"] or {})
        if bag != record.metadata:
            changed["metadata"] = bag
    if "agent" in changes:
        if record.status is not SessionStatus.IDLE:
            raise InvalidRequest(f"agent: session {record.id} is {record.status.value}; it must be idle to change it")
        agent = _changed_agent(record, changes["agent"])
        if agent != record.agent:
            changed["agent"] = agent
    if "budget" in changes and changes["budget"] != record.budget:
        # The one that it has is no change, also where it is used up: a raise that is sent twice is answered twice.
        if changes["budget"] is not None:
            rules.budgets.check_change(record, draft.now, changes["budget"])
        changed["budget"] = changes["budget"]
    if changed:
        draft.state.set(**changed)
        draft.emit(EventType.SESSION_UPDATED, _told(changed))
    if "budget" in changed:
        resume_paused(draft, rules)
    if "resources" in changes:
        # No event tells of them (the type of session.updated has no such field).
        draft.state.set(resources=with_change(draft.state.record.resources, changes["resources"]))
    return draft.state.record
