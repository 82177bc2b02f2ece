"""The skills of an agent, and of a session: what may be asked for, and what is kept of each (spec C.5).

An agent keeps ids and versions, as the API shows them. A session keeps beside them what its sandboxes and its model
need, so that neither asks for the skill again: all that they see is a function of the session's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agents.catalog import limits
from agents.errors import InvalidRequest, NotFound
from agents.hands.port import Mount
from agents.skills.records import LATEST, SkillRepository, SkillVersionRecord
from agents.skills.rules import no_skill

_SHOWN = ("type", "skill_id", "version")


async def chosen_skills(
    given: Sequence[Mapping[str, Any]], skills: SkillRepository, workspace_id: str, prefix: str = ""
) -> list[dict[str, Any]]:
    """Return an agent's skills as responses show them: one without a version is pinned to the newest that there is.

    ``latest`` stays what it is, and means the newest whenever a session is made. *prefix* names where the skills stand
    in the request. Raises InvalidRequest, NotFound (also for another workspace's), Unavailable.
    """
    limits.check_count(f"{prefix}skills", given, limits.SKILLS)
    chosen: list[dict[str, Any]] = []
    for index, each in enumerate(given):
        where, skill_id = f"{prefix}skills[{index}]", each["skill_id"]
        if each["type"] != "custom":
            raise limits.not_available(where, f"skills of type {each['type']} are")
        if any(skill_id == other["skill_id"] for other in chosen):
            raise InvalidRequest(f"{where}.skill_id: {skill_id[:80]!r} is given twice")
        wanted = each.get("version") or None
        version = await _version(where, skills, skill_id, wanted or LATEST, workspace_id)
        shown = LATEST if wanted == LATEST else version.id
        chosen.append({"type": "custom", "skill_id": skill_id, "version": shown})
    return chosen


async def session_skills(
    chosen: Iterable[Mapping[str, Any]], skills: SkillRepository, workspace_id: str
) -> list[dict[str, Any]]:
    """Return what a new session keeps of its agent's skills.

    Raises NotFound (``skill_not_found``) for one that has been deleted since it was chosen, Unavailable.
    """
    kept: list[dict[str, Any]] = []
    for index, each in enumerate(chosen):
        where = f"agent.skills[{index}]"
        version = await _version(where, skills, each["skill_id"], each["version"], workspace_id)
        facts = {"name": version.name, "description": version.description, "size": version.size}
        kept.append({"type": each["type"], "skill_id": each["skill_id"], "version": version.id, **facts})
    return kept


def shown_skills(kept: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a session's skills as the API shows them."""
    return [{name: each[name] for name in _SHOWN} for each in kept]


def skill_mounts(kept: Iterable[Mapping[str, Any]]) -> tuple[Mount, ...]:
    """Return what a session's skills put into its sandbox: directories that nobody writes to.

    A mount's ``source`` is ``skill id/version id``, its ``name`` the size of the archive in bytes.
    """
    return tuple(_mount(each) for each in kept)


def _mount(skill: Mapping[str, Any]) -> Mount:
    source, path = f"{skill['skill_id']}/{skill['version']}", f"/workspace/skills/{skill['name']}"
    return Mount("skill", source, path, name=str(skill["size"]))


async def _version(
    where: str, skills: SkillRepository, skill_id: str, version_id: str, workspace_id: str
) -> SkillVersionRecord:
    try:
        skill = await skills.get(skill_id)
        if skill.workspace_id != workspace_id:
            raise no_skill(skill_id)
        return await skills.version(skill_id, version_id)
    except NotFound as missing:
        raise NotFound(f"{where}: {missing.message}", error_code="skill_not_found") from None
