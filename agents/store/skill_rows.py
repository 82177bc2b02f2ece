"""How skills and their versions become rows, and rows become them: see ``codec`` for the rules."""

from __future__ import annotations

from agents.skills.records import SkillRecord, SkillVersionRecord
from agents.store.codec import Row, RowView, micros, moment_at


def skill_row(skill: SkillRecord) -> Row:
    """Return the row of a skill."""
    return {
        "id": skill.id,
        "workspace_id": skill.workspace_id,
        "name": skill.name,
        "display_name": skill.display_name,
        "latest_version_id": skill.latest_version_id,
        "created_at": micros(skill.created_at),
        "updated_at": micros(skill.updated_at),
    }


def skill_of(row: RowView) -> SkillRecord:
    """Return the skill of a row."""
    return SkillRecord(
        id=row["id"],
        name=row["name"],
        display_name=row["display_name"],
        latest_version_id=row["latest_version_id"],
        created_at=moment_at(row["created_at"]),
        updated_at=moment_at(row["updated_at"]),
        workspace_id=row["workspace_id"],
    )


def version_row(version: SkillVersionRecord) -> Row:
    """Return the row of a version."""
    return {
        "id": version.id,
        "skill_id": version.skill_id,
        "name": version.name,
        "description": version.description,
        "size": version.size,
        "created_at": micros(version.created_at),
    }


def version_of(row: RowView) -> SkillVersionRecord:
    """Return the version of a row."""
    return SkillVersionRecord(
        id=row["id"],
        skill_id=row["skill_id"],
        name=row["name"],
        description=row["description"],
        size=row["size"],
        created_at=moment_at(row["created_at"]),
    )
