"""Whether a version of a hand can take the place of another one, for those who use it now.

A finding that is breaking makes calls fail that went well before, or lets a result be what its readers do not expect.
What no live agent can call breaks nobody: it is told and does not stand in the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agents.governance.contract import Contract, ToolContract
from agents.governance.schema_change import narrowings
from agents.hands.deployed.records import SCHEME

Uses = Mapping[str, Collection[str]]
"""Who may call a tool: ids of agents, by the tool's name."""

_SEVERITY = ("none", "idempotent", "destructive")


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between two versions that matters to who uses them."""

    where: str
    """Such as ``tools.find.input.name``."""
    reason: str
    breaking: bool
    used_by: tuple[str, ...] = ()
    """The agents that it breaks."""

    @property
    def text(self) -> str:
        used = f" (used by {', '.join(self.used_by)})" if self.used_by else ""
        return f"{self.where}: {self.reason}{used}"


def compare(older: Contract, newer: Contract, uses: Uses | None = None) -> Sequence[Finding]:
    """Return what differs for the worse from *older* to *newer*; without *uses* every tool counts as used."""
    return [*_tools(older, newer, uses), *_terms(older, newer)]


def _tools(older: Contract, newer: Contract, uses: Uses | None) -> Iterator[Finding]:
    for name, before in older.tools.items():
        users = tuple(sorted(uses.get(name, ()))) if uses is not None else ()
        breaking = uses is None or bool(users)
        after = newer.tools.get(name)
        faults = [("", "is no longer there")] if after is None else _tool(before, after)
        for place, reason in faults:
            yield Finding(f"tools.{name}{place}", reason, breaking, users)


def _tool(before: ToolContract, after: ToolContract) -> Iterator[tuple[str, str]]:
    for each in narrowings(before.input, after.input):
        yield f".input.{each.path}".rstrip("."), each.reason
    if before.output is not None and after.output is None:
        yield ".output", "nothing is promised of the result any more"
    elif before.output is not None and after.output is not None:
        # The other way round: who reads results must be able to take all that there will be.
        for each in narrowings(after.output, before.output):
            yield f".output.{each.path}".rstrip("."), f"by the schema that there was, {each.reason}"
    if _SEVERITY.index(after.side_effects) > _SEVERITY.index(before.side_effects):
        yield (
            ".side_effects",
            f"was {before.side_effects} and is {after.side_effects}; calls were repeated on that word",
        )


def _terms(older: Contract, newer: Contract) -> Iterator[Finding]:
    for name in ("input_bytes", "output_bytes", "calls_per_minute", "concurrent_calls"):
        was, now = getattr(older.limits, name), getattr(newer.limits, name)
        if now < was:
            yield Finding(f"limits.{name}", f"was {was} and is {now}", breaking=name == "input_bytes")
    for name in ("p95_seconds", "error_rate", "availability"):
        was, now = getattr(older.sla, name), getattr(newer.sla, name)
        if (now < was) if name == "availability" else (now > was):
            yield Finding(f"sla.{name}", f"was {was:g} and is {now:g}", breaking=False)
    for name in ("egress", "data_classes", "secrets"):
        for more in sorted(set(getattr(newer, name)) - set(getattr(older, name))):
            yield Finding(name, f"{more} is new", breaking=False)
    for name in ("per_call", "per_cpu_second", "per_mb", "cached_rate"):
        was, now = getattr(older.price, name), getattr(newer.price, name)
        if now > was:
            yield Finding(f"price.{name}", f"was {was} and is {now}", breaking=False)


def uses_of(hand: str, tools: Collection[str], agents: Iterable[tuple[str, Mapping[str, Any]]]) -> Uses:
    """Return which of *agents* (id and body) may call which of the *tools* of the hand.

    Agents that name a version (``hand://crm@1.4``) get that one whatever is released, and do not count.
    """
    found: dict[str, set[str]] = {}
    for agent_id, body in agents:
        servers = {server["name"] for server in body.get("mcp_servers", ()) if _means(server["url"], hand)}
        for toolset in body.get("tools", ()):
            if toolset["type"] == "mcp_toolset" and toolset["mcp_server_name"] in servers:
                for tool in _enabled(toolset, tools):
                    found.setdefault(tool, set()).add(agent_id)
    return found


def who_name(version: str, agents: Iterable[tuple[str, Mapping[str, Any]]]) -> Sequence[str]:
    """Return which of *agents* (id and body) name just this version (an id) of a hand, and can have no other."""
    return [
        agent_id
        for agent_id, body in agents
        if any(_means(each["url"], version) for each in body.get("mcp_servers", ()))
    ]


def _means(url: str, hand: str) -> bool:
    return url.rstrip("/") == f"{SCHEME}{hand}"


def _enabled(toolset: Mapping[str, Any], tools: Collection[str]) -> Iterator[str]:
    configs = {config["name"]: config["enabled"] for config in toolset["configs"]}
    default = toolset["default_config"]["enabled"]
    yield from (tool for tool in tools if configs.get(tool, default))
