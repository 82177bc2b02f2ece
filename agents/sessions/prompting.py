"""The system prompt of an agent in a session: its parts, in their order, as a pure function of the session's row.

An agent of a session is a snapshot (``agents.catalog.session_agent``): each of its skills carries, beside what the API
shows of it, the name and the description that its version had when the session was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from agents.catalog.resources import StoredResource, mounts_of, resource_wire
from agents.memory.attaching import note_on
from agents.sessions.events import SessionRecord

_SANDBOX_NOTE = (
    "Your tools run in a Linux sandbox. The working directory is /workspace. "
    "Files for the user go to /mnt/session/outputs."
)
_UPLOADS_NOTE = "Files that the user has given are below /mnt/session/uploads; they cannot be changed there."
_REPOSITORIES_NOTE = (
    "These Git repositories are copied into the sandbox when it is first used. What is committed there stays there: "
    "the sandbox has no credentials to push or fetch."
)
_ELSEWHERE_NOTE = "Your tools run on a machine of the user's. The working directory is /workspace by default."
_SKILLS_NOTE = (
    "Skills are instructions and files for particular kinds of tasks. When a task is of a skill's kind, read the "
    "skill's file first, and follow it; paths in it are relative to the file's directory."
)


def system_prompt(record: SessionRecord, agent: Mapping[str, Any], *, has_sandbox_tools: bool) -> str | None:
    """Return what *agent*, one of the session's, is told before all messages; None when there is nothing to say."""
    parts: list[str | None] = [agent["system"]]
    if has_sandbox_tools:
        parts.append(_ELSEWHERE_NOTE if record.self_hosted else _SANDBOX_NOTE)
        if any(mount.kind == "file" for mount in mounts_of(record.resources)):
            parts.append(_UPLOADS_NOTE)
        parts.append(_repositories(record.resources))
        parts.append(_skills(agent.get("skills", ()), "" if record.self_hosted else "/workspace/"))
        parts.append(note_on(record.resources))
    return "\n\n".join(part for part in parts if part) or None


def _repositories(resources: Iterable[StoredResource]) -> str | None:
    wires = [wire for wire in map(resource_wire, resources) if wire["type"] == "github_repository"]
    entries = [f"- {wire['url']} at {wire['mount_path']}" for wire in wires]
    return "\n".join([_REPOSITORIES_NOTE, *entries]) if entries else None


def _skills(skills: Sequence[Mapping[str, Any]], workdir: str) -> str | None:
    if not skills:
        return None
    # The form that the Agent Skills specification suggests: agentskills.io, "Integrate skills into your agent".
    entries = [_entry(skill["name"], skill["description"], workdir) for skill in skills]
    return "\n".join([_SKILLS_NOTE, "<available_skills>", *entries, "</available_skills>"])


def _entry(name: str, description: str, workdir: str) -> str:
    name, description = escape(name, quote=False), escape(description, quote=False)
    location = f"{workdir}skills/{name}/SKILL.md"
    parts = {"name": name, "description": description, "location": location}
    return "\n".join(["<skill>", *(f"<{tag}>{text}</{tag}>" for tag, text in parts.items()), "</skill>"])
