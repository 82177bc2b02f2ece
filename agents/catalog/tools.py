"""An agent's tools and MCP servers together: each server needs its toolset and each toolset its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from agents.catalog import limits
from agents.catalog.custom_tools import resolve_custom_tool
from agents.catalog.toolsets import AGENT_TOOLSET, BUILTIN_TOOLS, resolve_agent_toolset, resolve_mcp_toolset
from agents.errors import InvalidRequest

_MCP_SCHEMES = ("http", "https", "hand")  # hand:// names a hand of this platform (design, section 5)


def resolve_tools(tools: Sequence[Mapping[str, Any]], prefix: str = "") -> list[dict[str, Any]]:
    """Return the tools as responses show them; *prefix* names where they stand in the request.

    Raises InvalidRequest for a bad entry, a name given twice, or more than 256 tools over all toolsets.
    """
    custom_names = frozenset(tool["name"] for tool in tools if tool["type"] == "custom")
    resolved: list[dict[str, Any]] = []
    seen: set[tuple[str, str]] = set()
    count = 0
    for index, tool in enumerate(tools):
        where = f"{prefix}tools[{index}]"
        entry = _resolve_tool(where, tool, custom_names)
        key = (entry["type"], entry.get("name") or entry.get("mcp_server_name") or "")
        if key in seen:
            raise InvalidRequest(f"{where}: {key[1] or key[0]} is given twice")
        seen.add(key)
        count += _size(entry)
        resolved.append(entry)
    if count > limits.TOOLS:
        raise InvalidRequest(f"{prefix}tools: at most {limits.TOOLS} tools over all toolsets are allowed, not {count}")
    return resolved


def _resolve_tool(where: str, tool: Mapping[str, Any], custom_names: frozenset[str]) -> dict[str, Any]:
    if tool["type"] == AGENT_TOOLSET:
        return resolve_agent_toolset(where, tool, custom_names)
    if tool["type"] == "mcp_toolset":
        return resolve_mcp_toolset(where, tool)
    return resolve_custom_tool(where, tool)


def _size(entry: Mapping[str, Any]) -> int:
    if entry["type"] == AGENT_TOOLSET:
        return len(BUILTIN_TOOLS)
    return max(len(entry.get("configs", ())), 1)


def resolve_mcp_servers(servers: Sequence[Mapping[str, Any]], prefix: str = "") -> list[dict[str, Any]]:
    """Return the MCP servers as responses show them. Raises InvalidRequest."""
    limits.check_count(f"{prefix}mcp_servers", servers, limits.MCP_SERVERS)
    resolved: list[dict[str, Any]] = []
    names: set[str] = set()
    for index, server in enumerate(servers):
        where = f"{prefix}mcp_servers[{index}]"
        limits.check_length(f"{where}.name", server["name"], limits.MCP_SERVER_NAME_CHARS, shortest=1)
        if server["name"] in names:
            raise InvalidRequest(f"{where}.name: {server['name']!r} is given twice")
        names.add(server["name"])
        _check_url(f"{where}.url", server["url"])
        resolved.append({"type": server["type"], "name": server["name"], "url": server["url"]})
    return resolved


def _check_url(where: str, url: str) -> None:
    limits.check_length(where, url, limits.MCP_URL_CHARS, shortest=1)
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in _MCP_SCHEMES or not parts.netloc:
        raise InvalidRequest(f"{where}: must be an absolute URL with scheme http, https or hand")


def check_tools_agree(agent: Mapping[str, Any], prefix: str = "") -> None:
    """Raise InvalidRequest unless an agent has the servers of its toolsets, and can read its skills."""
    check_servers_match(agent["tools"], agent["mcp_servers"], prefix)
    check_can_read(agent["skills"], agent["tools"], prefix)


def check_servers_match(
    tools: Sequence[Mapping[str, Any]], servers: Sequence[Mapping[str, Any]], prefix: str = ""
) -> None:
    """Raise InvalidRequest for a server without an mcp_toolset, or a toolset without its server (spec C.4)."""
    named = {server["name"] for server in servers}
    used = {tool["mcp_server_name"] for tool in tools if tool["type"] == "mcp_toolset"}
    for name in sorted(used - named):
        raise InvalidRequest(f"{prefix}tools: an mcp_toolset names the server {name!r}, which is not in mcp_servers")
    for name in sorted(named - used):
        raise InvalidRequest(f"{prefix}mcp_servers: the server {name!r} is not used by any mcp_toolset in tools")


def check_can_read(skills: Sequence[object], tools: Sequence[Mapping[str, Any]], prefix: str = "") -> None:
    """Raise InvalidRequest when there are skills, and no tool to read them with (spec C.5)."""
    if skills and not any(_reads(tool) for tool in tools):
        raise InvalidRequest(f"{prefix}skills: need the tool read of {AGENT_TOOLSET}, which tools does not enable")


def _reads(tool: Mapping[str, Any]) -> bool:
    if tool["type"] != AGENT_TOOLSET:
        return False
    own = next((config for config in tool["configs"] if config["name"] == "read"), tool["default_config"])
    return own["enabled"]
