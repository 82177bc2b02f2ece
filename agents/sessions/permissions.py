"""Which tools a session's agent may call, and under which policy (spec C.1-C.4).

Resolution per tool: its entry in ``configs`` beats ``default_config``. Custom tools run at the client and have no
policy. Under ``auto`` each call is judged by a brain (``judging``); one that has no judgement is asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agents.hands.servers.port import Offer, OfferedTool
from agents.sessions.served import WEB_TOOLS, ServedTool, web_tool
from agents.sessions.tool_names import tool_name

Permission = Literal["allow", "ask", "deny"]

AGENT_TOOLSET = "agent_toolset_20260401"
MCP_TOOLSET = "mcp_toolset"
SANDBOX_TOOLS = ("bash", "read", "write", "edit", "glob", "grep")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one call is to be handled; ``evaluation`` is None when no policy was reached."""

    kind: Literal["builtin", "served", "custom", "internal", "refused"]
    permission: Permission
    evaluation: dict[str, Any] | None = None
    served: ServedTool | None = None
    """The tool, where a server runs it; also of a refused call, if the server offers it."""
    auto: bool = False
    """Whether each call is judged by itself."""

    def judged(self, permission: Permission) -> Verdict:
        """Return what becomes of a call that was judged so; ``ask``: there is no judgement."""
        found: dict[str, Any] = {"type": permission}
        if permission != "allow":
            found["reason_code"] = "high_risk" if permission == "deny" else "indeterminate"
        return replace(self, permission=permission, evaluation={"type": "auto", "evaluated_permission": found})


_REFUSED = Verdict("refused", "deny")
_CUSTOM = Verdict("custom", "allow")
_INTERNAL = Verdict("internal", "allow")


def _verdict(policy: str, served: ServedTool | None = None) -> Verdict:
    kind = "builtin" if served is None else "served"
    if policy == "always_allow":
        return Verdict(kind, "allow", {"type": "always_allow"}, served)
    if policy == "always_ask":
        return Verdict(kind, "ask", {"type": "always_ask"}, served)
    return Verdict(kind, "ask", None, served, auto=True).judged("ask")


class Toolbox:
    """The tools of one agent snapshot: definitions for the model, verdicts for its calls."""

    def __init__(
        self,
        tools: list[dict[str, Any]],
        builtin_definitions: dict[str, dict[str, Any]],
        urls: Mapping[str, str] | None = None,
        offers: Mapping[str, Offer] | None = None,
        internal: Sequence[dict[str, Any]] = (),
    ) -> None:
        """*urls* are those of the agent's MCP servers, *offers* what the reachable ones offer, both by name; *internal*
        tools are run by the session itself."""
        self._verdicts: dict[str, Verdict] = {}
        self.definitions: list[dict[str, Any]] = []
        for tool in tools:
            if tool["type"] == AGENT_TOOLSET:
                self._add_toolset(tool, builtin_definitions)
            elif tool["type"] == "custom":
                self._add_custom(tool)
            elif (offer := (offers or {}).get(tool["mcp_server_name"])) is not None:
                self._add_offer(tool, (urls or {})[tool["mcp_server_name"]], offer)
        for definition in internal:
            if definition["name"] not in self._verdicts:
                self._verdicts[definition["name"]] = _INTERNAL
                self.definitions.append(definition)

    def _add_toolset(self, toolset: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
        default = toolset["default_config"]
        overrides = {config["name"]: config for config in toolset["configs"]}
        for name in (*SANDBOX_TOOLS, *WEB_TOOLS):
            config = overrides.get(name, default)
            if config["enabled"] and name in definitions:
                served = web_tool(name) if name in WEB_TOOLS else None
                self._verdicts[name] = _verdict(config["permission_policy"]["type"], served)
                self.definitions.append(definitions[name])

    def _add_custom(self, tool: dict[str, Any]) -> None:
        self._verdicts[tool["name"]] = _CUSTOM
        self.definitions.append(
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["input_schema"]}
        )

    def _add_offer(self, toolset: dict[str, Any], url: str, offer: Offer) -> None:
        server, default = toolset["mcp_server_name"], toolset["default_config"]
        overrides = {config["name"]: config for config in toolset["configs"]}
        for tool in offer.tools:
            name, config = tool_name(server, tool.name), overrides.get(tool.name, default)
            if name in self._verdicts:
                continue  # a server that lists a tool twice
            served = ServedTool(server, url, tool.name, offer.hand, repeatable=tool.repeatable)
            if config["enabled"]:
                self._verdicts[name] = _verdict(config["permission_policy"]["type"], served)
                self.definitions.append(_definition(name, tool))
            else:
                self._verdicts[name] = Verdict("refused", "deny", served=served)

    @property
    def has_sandbox_tools(self) -> bool:
        return any(verdict.kind == "builtin" for verdict in self._verdicts.values())

    def judges(self, name: str) -> bool:
        """Whether calls of *name* are under the policy ``auto``."""
        return self.judge(name).auto

    def judge(self, name: str) -> Verdict:
        """Say how a call of *name* is handled; unknown and disabled tools are refused."""
        return self._verdicts.get(name, _REFUSED)


def _definition(name: str, tool: OfferedTool) -> dict[str, Any]:
    return {"name": name, "description": tool.description, "input_schema": tool.input_schema}
