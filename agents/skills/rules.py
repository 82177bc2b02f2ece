"""What every repository of skills refuses, in the same words."""

from __future__ import annotations

from agents.errors import Conflict, InvalidRequest, NotFound
from agents.skills.records import MOST_VERSIONS, SkillRecord, SkillVersionRecord


def no_skill(skill_id: str) -> NotFound:
    """Word that there is no such skill."""
    return NotFound(f"skill {skill_id} not found")


def no_version(skill_id: str, version_id: str) -> NotFound:
    """Word that a skill has no such version."""
    return NotFound(f"skill {skill_id} has no version {version_id}")


def name_taken(name: str) -> Conflict:
    """Word that another skill of the workspace has the name."""
    return Conflict(f"files: a skill named {name!r} already exists; add a version to it", error_code="skill_name_taken")


def check_next(skill: SkillRecord, version: SkillVersionRecord, there: int) -> None:
    """Raise InvalidRequest when *skill*, which has *there* versions, cannot take one more."""
    if version.name != skill.name:
        raise InvalidRequest(f"files: the skill is named {skill.name!r}, which never changes, not {version.name!r}")
    if there >= MOST_VERSIONS:
        raise InvalidRequest(f"skill {skill.id} has {MOST_VERSIONS} versions, and may have no more; delete some")


def only_version(skill: SkillRecord) -> InvalidRequest:
    """Word that a skill has at least one version."""
    return InvalidRequest(f"skill {skill.id} has no other version; delete the skill instead")
