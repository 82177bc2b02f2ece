"""A coordinator's roster: the agents that it may delegate to, and the model that it may ask for advice (spec C.6).

Saved with an agent it names versions; in a session it has the agents' full definitions, as they were when the session
was made. So what an agent of the roster becomes later changes neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from agents.catalog import limits
from agents.catalog.agent_config import agent_snapshot, check_not_archived
from agents.errors import InvalidRequest, NotFound
from agents.store.ports import AgentRecord, AgentRepository

KeptSkills = Callable[[Sequence[Mapping[str, Any]]], Awaitable[list[dict[str, Any]]]]
"""Returns what a session keeps of skills that were chosen for an agent."""

MAX_AGENTS = 20
_WHERE = "multiagent.agents"


async def saved_roster(
    agents: AgentRepository, given: Mapping[str, Any] | None, *, own: tuple[str, int], workspace_id: str
) -> dict[str, Any] | None:
    """Return the ``multiagent`` of an agent as it is saved and shown; *own* are the id and version that it gets.

    Raises InvalidRequest.
    """
    if given is None:
        return None
    if given["type"] != "coordinator":
        raise limits.not_available("multiagent.type", f"{given['type']!r} is")
    entries: Sequence[str | Mapping[str, Any]] = given["agents"]
    if not 1 <= len(entries) <= MAX_AGENTS:
        raise InvalidRequest(f"{_WHERE}: must have 1 to {MAX_AGENTS} entries, not {len(entries)}")
    members: list[dict[str, Any]] = []
    advisors: list[dict[str, Any]] = []
    for index, entry in enumerate(entries):
        where = f"{_WHERE}[{index}]"
        if isinstance(entry, str):
            entry = {"type": "agent", "id": entry}
        if entry["type"] == "advisor":
            limits.check_length(f"{where}.model", entry["model"], limits.MODEL_ID_CHARS, shortest=1)
            advisors.append({"type": "advisor", "model": entry["model"]})
        elif entry["type"] == "self":
            members.append(_reference(*own))
        else:
            members.append(await _member(agents, entry, where, own=own, workspace_id=workspace_id))
    if len({member["id"] for member in members}) < len(members):
        raise InvalidRequest(f"{_WHERE}: must name distinct agents, the agent itself at most once")
    if len(advisors) > 1:
        raise InvalidRequest(f"{_WHERE}: at most one advisor")
    return {"type": "coordinator", "agents": [*members, *advisors]}


async def _member(
    agents: AgentRepository, entry: Mapping[str, Any], where: str, *, own: tuple[str, int], workspace_id: str
) -> dict[str, Any]:
    version = entry.get("version")
    if version is not None and version < 1:
        raise InvalidRequest(f"{where}.version: must be at least 1, not {version}")
    if entry["id"] == own[0]:
        return _reference(*own)
    try:
        found = await agents.get(entry["id"], version)
    except NotFound:
        raise InvalidRequest(f"{where}: there is no agent {entry['id'][:80]!r} of that version") from None
    if found.workspace_id != workspace_id:
        raise InvalidRequest(f"{where}: there is no agent {entry['id'][:80]!r} of that version")
    check_not_archived(found)
    if found.body.get("multiagent") is not None:
        raise InvalidRequest(f"{where}: agent {found.id} has a roster of its own; a roster is one level deep")
    return _reference(found.id, found.version)


def _reference(agent_id: str, version: int) -> dict[str, Any]:
    return {"type": "agent", "id": agent_id, "version": version}


async def session_roster(
    agents: AgentRepository,
    agent: AgentRecord,
    snapshot: Mapping[str, Any],
    kept_skills: KeptSkills,
) -> dict[str, Any] | None:
    """Return the ``multiagent`` of a session's *agent*, with full definitions.

    *snapshot* is the agent with the session's overrides, which are its own and those of the copies of itself.
    *kept_skills* gives what a session keeps of skills that were chosen; this raises what it does.
    """
    saved: Mapping[str, Any] | None = agent.body.get("multiagent")
    if saved is None:
        return None
    members: list[dict[str, Any]] = []
    for each in saved["agents"]:
        if each["type"] == "advisor":
            members.append(dict(each))
        elif each["id"] == agent.id:
            members.append({key: value for key, value in snapshot.items() if key != "multiagent"})
        else:
            found = agent_snapshot(await agents.get(each["id"], each["version"]))
            found["skills"] = await kept_skills(found["skills"])
            members.append({key: value for key, value in found.items() if key != "multiagent"})
    return {"type": "coordinator", "agents": members}
