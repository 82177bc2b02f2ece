"""Tools that servers run: how the log keeps them, and how a call of one is put to its server.

A tool-use event has what a client is shown; its hidden part has what else the call's dispatch needs (the server's
URL, the hand's version, whether it may be repeated), so that whoever owns the session next asks nobody for it. An
offer, too, is kept in the log, with the first answer of a model that was shown it (ADR 0023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from agents.hands.servers.port import Caller, Offer, OfferedTool, ServerCall, ServerResult, ToolServer
from agents.sessions.events import Event, EventType, SessionRecord, Usage, text_content

WEB_TOOLS = ("web_fetch", "web_search")
_HIDDEN = "served"


@dataclass(frozen=True, slots=True)
class ServedTool:
    """A tool that a server runs; ``server`` and ``url`` are empty for the built-in web tools."""

    server: str
    url: str
    name: str
    """The server's own name for it."""
    hand: str = ""
    repeatable: bool = False

    @property
    def at(self) -> ToolServer:
        return ToolServer(self.server, self.url)

    def hidden(self, known_as: str) -> dict[str, Any]:
        """Return what the event of a call keeps; *known_as* is the model's name for the tool."""
        return {_HIDDEN: {"as": known_as, "url": self.url, "hand": self.hand, "repeatable": self.repeatable}}

    def call(
        self, call_id: str, tool_input: dict[str, Any], agent: Mapping[str, Any], *, deadline: float
    ) -> ServerCall:
        """Put a call of this tool to its server, for a thread of *agent*."""
        return ServerCall(
            call_id,
            self.at,
            self.name,
            tool_input,
            deadline,
            self.hand,
            config={} if self.server else _web_config(agent, self.name),
        )


def web_tool(name: str) -> ServedTool:
    """Return a built-in web tool. Each only looks."""
    return ServedTool("", "", name, repeatable=True)


def served_by(event: Event) -> ServedTool | None:
    """Return the tool that the call of *event* is for, None where no server runs it."""
    if event.type is EventType.AGENT_TOOL_USE:
        return web_tool(event.body["name"]) if event.body["name"] in WEB_TOOLS else None
    if event.type is not EventType.AGENT_MCP_TOOL_USE:
        return None
    kept = (event.hidden or {})[_HIDDEN]
    return ServedTool(
        event.body["mcp_server_name"], kept["url"], event.body["name"], kept["hand"], repeatable=kept["repeatable"]
    )


def known_as(event: Event) -> str:
    """Return the name by which the model called the tool of this tool-use event."""
    kept = (event.hidden or {}).get(_HIDDEN)
    return kept["as"] if kept else event.body["name"]


def account(tool: ServedTool, result: ServerResult) -> dict[str, Any]:
    """Return what a result event keeps, so that the call's bill can be made from the log alone."""
    return {
        "call": {
            "outcome": result.outcome,
            "server": tool.server,
            "tool": tool.name,
            "hand": tool.hand,
            **asdict(result.consumption),
        }
    }


def counted(usage: Usage, tool: ServedTool, result: ServerResult) -> Usage:
    """Return *usage* with a call of a web tool that brought something."""
    if tool.server or result.outcome != "ok":
        return usage
    if tool.name == "web_search":
        return replace(usage, web_search_requests=usage.web_search_requests + 1)
    return replace(usage, web_fetch_requests=usage.web_fetch_requests + 1)


def caller_of(record: SessionRecord, versions: Mapping[str, str]) -> Caller:
    """Say whose calls a session's are; *versions* are those of the hands that it stays with."""
    return Caller(record.id, record.principal, record.vault_ids, dict(versions))


def system_message(agent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the agent's author tells it, as a message; none where they say nothing."""
    system = agent["system"]
    return [{"role": "system", "content": text_content(system)}] if system else []


def _web_config(agent: Mapping[str, Any], name: str) -> dict[str, Any]:
    configs: list[dict[str, Any]] = [each for tool in agent["tools"] for each in tool.get("configs", ())]
    found = [config for config in configs if config.get("type") == name]
    return found[0] if found else {}


# -- offers --------------------------------------------------------------------------------------


def offers_told(
    shown: Mapping[str, Offer], before: Mapping[str, Offer], failed: Iterable[str], urls: Mapping[str, str]
) -> dict[str, Any] | None:
    """Return what an answer's end keeps of the offers *shown* to its model, as far as it is news; None when it is not.

    *before* are those that the log has, *failed* the servers whose failure was the last that it says of them.
    """
    recovered = set(failed)
    news: dict[str, Any] = {
        name: _packed(offer, urls[name])
        for name, offer in shown.items()
        if name in recovered or before.get(name) != offer
    }
    news |= {name: None for name in before if name not in shown}
    return {"offers": news} if news else None


def _packed(offer: Offer, url: str) -> dict[str, Any]:
    return {"url": url, "hand": offer.hand, "tools": [asdict(tool) for tool in offer.tools]}


def offer_of(kept: Mapping[str, Any]) -> Offer:
    """Read an offer back from the log."""
    return Offer(tuple(OfferedTool(**tool) for tool in kept["tools"]), kept["hand"])


def version_kept(kept: Mapping[str, Any]) -> dict[str, str]:
    """Return the hand's version that a session stays with because of this offer; one that a URL pins is no choice."""
    name, _, version = kept["hand"].partition("@")
    return {name: version} if version and "@" not in kept["url"] else {}
