"""The agent that a session runs: a snapshot, with the session's own overrides (spec A.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.catalog.agent_config import agent_snapshot, checked_system
from agents.catalog.model_config import resolve_model
from agents.catalog.tools import check_tools_agree, resolve_mcp_servers, resolve_tools
from agents.errors import InvalidRequest
from agents.store.ports import AgentRecord


def reference(agent: str | Mapping[str, Any]) -> tuple[str, int | None]:
    """Return the id and the pinned version that a session's ``agent`` names. Raises InvalidRequest."""
    if isinstance(agent, str):
        return agent, None
    version = agent.get("version")
    if version is not None and version < 1:
        raise InvalidRequest(f"agent.version: must be at least 1, not {version}")
    return agent["id"], version


def session_agent(
    stored: AgentRecord, given: str | Mapping[str, Any], skills: Sequence[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Return the snapshot for a new session: omitted overrides inherit, null or [] clears.

    *skills* are those of the overrides, resolved already; None: the agent's own. The base agent's id and version stay.
    Raises InvalidRequest.
    """
    snapshot = agent_snapshot(stored)
    if isinstance(given, str) or given["type"] == "agent":
        return snapshot
    if skills is not None:
        snapshot["skills"] = list(skills)
    if "model" in given:
        snapshot["model"] = _model(given["model"])
    if "system" in given:
        snapshot["system"] = checked_system(given["system"], "agent.") or None
    return _with_tools(snapshot, given)


def updated_session_agent(snapshot: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session's snapshot with its ``tools`` and ``mcp_servers`` replaced. Raises InvalidRequest."""
    return _with_tools(dict(snapshot), change)


def _with_tools(snapshot: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    tools: Sequence[Mapping[str, Any]] | None = given.get("tools")
    servers: Sequence[Mapping[str, Any]] | None = given.get("mcp_servers")
    if "tools" in given:
        snapshot["tools"] = resolve_tools(tools or [], "agent.")
    if "mcp_servers" in given:
        snapshot["mcp_servers"] = resolve_mcp_servers(servers or [], "agent.")
    check_tools_agree(snapshot, "agent.")
    return snapshot


def _model(given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if given is None:
        raise InvalidRequest(
            "agent.model: cannot be cleared; omit it to keep the agent's model", error_code="agent_model_required"
        )
    # An effort in a per-session model is ignored, and the agent's is not carried over (spec A.4).
    if isinstance(given, str):
        return resolve_model(given)
    return resolve_model({key: value for key, value in given.items() if key != "effort"})
