"""Which tools a session's agent may call, and under which policy (spec C.1-C.3).

Resolution per built-in tool: its entry in ``configs`` beats ``default_config``. Custom tools run at
the client and have no policy. ``auto`` needs a judging brain; without one every call is
indeterminate and is asked, as the spec allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Permission = Literal["allow", "ask", "deny"]

AGENT_TOOLSET = "agent_toolset_20260401"
SANDBOX_TOOLS = ("bash", "read", "write", "edit", "glob", "grep")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one call is to be handled; ``evaluation`` is None when no policy was reached."""

    kind: Literal["builtin", "custom", "refused"]
    permission: Permission
    evaluation: dict[str, Any] | None = None


_REFUSED = Verdict("refused", "deny")
_CUSTOM = Verdict("custom", "allow")


def _verdict(policy: str) -> Verdict:
    if policy == "always_allow":
        return Verdict("builtin", "allow", {"type": "always_allow"})
    if policy == "always_ask":
        return Verdict("builtin", "ask", {"type": "always_ask"})
    judged = {"type": "ask", "reason_code": "indeterminate"}
    return Verdict("builtin", "ask", {"type": "auto", "evaluated_permission": judged})


class Toolbox:
    """The tools of one agent snapshot: definitions for the model, verdicts for its calls."""

    def __init__(self, tools: list[dict[str, Any]], builtin_definitions: dict[str, dict[str, Any]]) -> None:
        self._verdicts: dict[str, Verdict] = {}
        self.definitions: list[dict[str, Any]] = []
        for tool in tools:
            if tool["type"] == AGENT_TOOLSET:
                self._add_toolset(tool, builtin_definitions)
            elif tool["type"] == "custom":
                self._add_custom(tool)

    def _add_toolset(self, toolset: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> None:
        default = toolset["default_config"]
        overrides = {config["name"]: config for config in toolset["configs"]}
        for name in SANDBOX_TOOLS:
            config = overrides.get(name, default)
            if config["enabled"] and name in definitions:
                self._verdicts[name] = _verdict(config["permission_policy"]["type"])
                self.definitions.append(definitions[name])

    def _add_custom(self, tool: dict[str, Any]) -> None:
        self._verdicts[tool["name"]] = _CUSTOM
        self.definitions.append(
            {"name": tool["name"], "description": tool["description"], "input_schema": tool["input_schema"]}
        )

    @property
    def has_sandbox_tools(self) -> bool:
        return any(verdict.kind == "builtin" for verdict in self._verdicts.values())

    def judge(self, name: str) -> Verdict:
        """Say how a call of *name* is handled; unknown and disabled tools are refused."""
        return self._verdicts.get(name, _REFUSED)
