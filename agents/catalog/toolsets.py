"""Toolsets, resolved: ``configs`` beats ``default_config`` beats the built-in default (spec C.1, C.2, C.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.catalog import limits
from agents.catalog.web_tools import resolve_web_fetch, resolve_web_search
from agents.errors import InvalidRequest

AGENT_TOOLSET = "agent_toolset_20260401"
BUILTIN_TOOLS = ("bash", "read", "write", "edit", "glob", "grep", "web_fetch", "web_search")


def resolve_agent_toolset(where: str, toolset: Mapping[str, Any], custom_names: frozenset[str]) -> dict[str, Any]:
    """Return the built-in toolset as responses show it; *custom_names* stand beside it. Raises InvalidRequest."""
    default = _default_config(toolset, policy="always_allow")
    configs = [
        _builtin_config(f"{where}.configs[{index}]", config, default, custom_names)
        for index, config in enumerate(toolset.get("configs", ()))
    ]
    _check_unique(where, configs)
    return {"type": AGENT_TOOLSET, "default_config": default, "configs": configs}


def resolve_mcp_toolset(where: str, toolset: Mapping[str, Any]) -> dict[str, Any]:
    """Return an MCP toolset as responses show it. Raises InvalidRequest."""
    default = _default_config(toolset, policy="always_ask")
    configs: list[dict[str, Any]] = []
    for index, config in enumerate(toolset.get("configs", ())):
        limits.check_length(f"{where}.configs[{index}].name", config["name"], limits.TOOL_NAME_CHARS, shortest=1)
        configs.append({"name": config["name"], **_switches(config, default)})
    _check_unique(where, configs)
    return {
        "type": "mcp_toolset",
        "mcp_server_name": toolset["mcp_server_name"],
        "default_config": default,
        "configs": configs,
    }


def _default_config(toolset: Mapping[str, Any], *, policy: str) -> dict[str, Any]:
    built_in = {"enabled": True, "permission_policy": {"type": policy}}
    return _switches(toolset.get("default_config") or {}, built_in)


def _switches(config: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    enabled, policy = config.get("enabled"), config.get("permission_policy")
    return {
        "enabled": default["enabled"] if enabled is None else enabled,
        "permission_policy": dict(default["permission_policy"] if policy is None else policy),
    }


def _builtin_config(
    where: str, config: Mapping[str, Any], default: Mapping[str, Any], custom_names: frozenset[str]
) -> dict[str, Any]:
    name = config["name"]
    # ``type`` equals ``name`` and is inferred; a contradiction is refused by the request's schema.
    resolved = {"name": name, "type": config.get("type", name), **_switches(config, default)}
    if name == "web_fetch":
        resolved |= resolve_web_fetch(where, config, custom_names)
    elif name == "web_search":
        resolved |= resolve_web_search(where, config)
    return resolved


def _check_unique(where: str, configs: Sequence[Mapping[str, Any]]) -> None:
    seen: set[str] = set()
    for index, config in enumerate(configs):
        if config["name"] in seen:
            raise InvalidRequest(f"{where}.configs[{index}].name: {config['name']} is configured twice")
        seen.add(config["name"])
