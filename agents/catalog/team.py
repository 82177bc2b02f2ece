"""Who works in a session: its agent, and the agents that it may delegate to, as the session keeps them (spec C.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.catalog import limits
from agents.errors import InvalidRequest


def roster(agent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the agents that this agent of a session may delegate to."""
    multiagent: Mapping[str, Any] = agent.get("multiagent") or {}
    return [each for each in multiagent.get("agents", ()) if each["type"] == "agent"]


def advisor_model(agent: Mapping[str, Any]) -> str | None:
    """Return the model that this agent may ask for advice, if there is one."""
    multiagent: Mapping[str, Any] = agent.get("multiagent") or {}
    return next((each["model"] for each in multiagent.get("agents", ()) if each["type"] == "advisor"), None)


def team(agent: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the agent of a session and its roster."""
    return [agent, *roster(agent)]


def models_of(agent: Mapping[str, Any]) -> list[str]:
    """Return the models that a session with this agent may ask, each once."""
    advisor = advisor_model(agent)
    return list(dict.fromkeys([*(each["model"]["id"] for each in team(agent)), *([advisor] if advisor else ())]))


def server_urls(agent: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the MCP servers of a session with this agent are, each once."""
    urls = (server["url"] for each in team(agent) for server in each.get("mcp_servers") or ())
    return tuple(dict.fromkeys(urls))


def skills_of(agent: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the skills that the sandbox of a session with this agent has, each once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for each in team(agent):
        for skill in each.get("skills", ()):
            found.setdefault((skill["skill_id"], skill["version"]), skill)
    return list(found.values())


def check_skills_agree(agent: Mapping[str, Any]) -> None:
    """Raise InvalidRequest for too many skills of a session, and for different ones of two agents in one directory."""
    places: dict[str, str] = {}
    skills = skills_of(agent)
    if len(skills) > limits.SKILLS:
        words = f"its agents have {len(skills)} skills together, and a session may have {limits.SKILLS}"
        raise InvalidRequest(f"agent.multiagent: {words}")
    for skill in skills:
        source = f"{skill['skill_id']} version {skill['version']}"
        other = places.setdefault(skill["name"], source)
        if other != source:
            words = f"its agents share their files, and {other} and {source} are both named {skill['name']!r}"
            raise InvalidRequest(f"agent.multiagent: {words}")
