"""What an agent is: creating and changing its resolved body (spec A.1).

A body holds every field of the resource but ids, version and times, nulls explicit, so that equality
of bodies is what decides whether an update makes a new version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from anthropic.types.beta import AgentCreateParams, AgentUpdateParams

from agents.catalog import limits, metadata
from agents.catalog.model_config import resolve_model
from agents.catalog.tools import check_tools_agree, resolve_mcp_servers, resolve_tools
from agents.clock import rfc3339
from agents.errors import InvalidRequest
from agents.store.ports import AgentRecord

_SNAPSHOT_LEAVES_OUT = frozenset({"metadata"})


def agent_body(params: AgentCreateParams, skills: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the resolved body of a new agent, whose *skills* are resolved already. Raises InvalidRequest."""
    _refuse_unavailable(params)
    body: dict[str, Any] = {
        "name": _name(params["name"]),
        "description": params.get("description"),
        "system": checked_system(params.get("system")),
        "model": resolve_model(params["model"]),
        "tools": resolve_tools(_items(params.get("tools"))),
        "mcp_servers": resolve_mcp_servers(_items(params.get("mcp_servers"))),
        "skills": list(skills),
        "multiagent": None,
        "metadata": metadata.checked(params.get("metadata", {})),
        "execution_identity": {"type": "service_account"},
    }
    check_tools_agree(body)
    return body


def updated_body(
    stored: Mapping[str, Any], params: AgentUpdateParams, skills: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return *stored* with a change applied: omitted keeps, null clears, arrays replace, metadata merges.

    *skills* are resolved already; None keeps those that are there. Raises InvalidRequest.
    """
    _refuse_unavailable(params)
    body = dict(stored)
    if "name" in params:
        body["name"] = _name(params["name"])
    if "description" in params:
        body["description"] = params["description"] or None
    if "system" in params:
        body["system"] = checked_system(params["system"]) or None
    if "model" in params:
        body["model"] = resolve_model(params["model"], stored=stored["model"])
    if "tools" in params:
        body["tools"] = resolve_tools(_items(params["tools"]))
    if "mcp_servers" in params:
        body["mcp_servers"] = resolve_mcp_servers(_items(params["mcp_servers"]))
    if skills is not None:
        body["skills"] = list(skills)
    if "metadata" in params:
        body["metadata"] = metadata.merged(stored["metadata"], params["metadata"])
    check_tools_agree(body)
    return body


def checked_system(system: str | None, prefix: str = "") -> str | None:
    """Return a system prompt; raises InvalidRequest when it is too long."""
    if system is not None:
        limits.check_length(f"{prefix}system", system, limits.SYSTEM_CHARS)
    return system


def agent_wire(agent: AgentRecord) -> dict[str, Any]:
    """Return the ``agent`` resource."""
    return {
        "id": agent.id,
        "type": "agent",
        "version": agent.version,
        **agent.body,
        "created_at": rfc3339(agent.created_at),
        "updated_at": rfc3339(agent.updated_at),
        "archived_at": rfc3339(agent.archived_at) if agent.archived_at else None,
    }


def agent_snapshot(agent: AgentRecord) -> dict[str, Any]:
    """Return the definition that a session keeps of an agent: the body less its metadata (spec A.4)."""
    body = {key: value for key, value in agent.body.items() if key not in _SNAPSHOT_LEAVES_OUT}
    return {"id": agent.id, "type": "agent", "version": agent.version, **body}


def _name(name: str) -> str:
    limits.check_length("name", name, limits.NAME_CHARS, shortest=1)
    return name


def _items(items: Any) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", items or [])


def _refuse_unavailable(params: AgentCreateParams | AgentUpdateParams) -> None:
    identity = params.get("execution_identity")
    if identity is not None and identity["type"] == "aws_role":
        raise limits.not_available("execution_identity", f"running as {identity['role_arn'][:80]!r} is")


def check_not_archived(agent: AgentRecord) -> None:
    """Raise InvalidRequest when the agent is archived."""
    if agent.archived_at is not None:
        raise InvalidRequest(f"agent {agent.id} is archived", error_code="agent_archived")
