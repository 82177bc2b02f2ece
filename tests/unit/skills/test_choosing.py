"""The skills of agents and sessions (spec C.5).

Bug class this catches: a session whose skill changes under it, a skill of another workspace, skills that nobody can
read, and facts of a session's row that the API shows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agents.catalog import limits
from agents.catalog.tools import check_can_read, resolve_tools
from agents.errors import InvalidRequest, NotFound
from agents.hands.port import Mount
from agents.skills.choosing import chosen_skills, session_skills, shown_skills, skill_mounts
from agents.skills.records import SkillRecord, SkillVersionRecord
from agents.store.memory_skills import MemorySkills

T0 = datetime(2026, 11, 1, tzinfo=UTC)
MINE = "default"


def version(number: int, of: str = "skill_1", name: str = "tidy") -> SkillVersionRecord:
    return SkillVersionRecord(f"v{number}", of, name, f"d{number}", 7, T0.replace(day=number))


def wanted(skill_id: str = "skill_1", **more: Any) -> dict[str, Any]:
    return {"type": "custom", "skill_id": skill_id, **more}


@pytest.fixture
async def skills() -> MemorySkills:
    made = MemorySkills()
    await made.insert(SkillRecord("skill_1", "tidy", "Tidy", "v1", T0, T0), version(1))
    theirs = SkillRecord("skill_2", "tidy", "Tidy", "v2", T0, T0, workspace_id="theirs")
    await made.insert(theirs, version(2, "skill_2"))
    return made


async def test_a_skill_without_a_version_is_pinned_to_the_newest(skills: MemorySkills) -> None:
    for given in (wanted(), wanted(version=None)):
        chosen = await chosen_skills([given], skills, MINE)
        assert chosen == [wanted(version="v1")]
    await skills.add_version(version(3))
    (kept,) = await session_skills(chosen, skills, MINE)
    assert kept["version"] == "v1"


async def test_latest_is_the_newest_when_the_session_is_made(skills: MemorySkills) -> None:
    chosen = await chosen_skills([wanted(version="latest")], skills, MINE)
    assert chosen == [wanted(version="latest")]
    await skills.add_version(version(3))
    (kept,) = await session_skills(chosen, skills, MINE)
    assert kept == wanted(version="v3", name="tidy", description="d3", size=7)
    assert shown_skills([kept]) == [wanted(version="v3")]
    assert skill_mounts([kept]) == (Mount("skill", "skill_1/v3", "/workspace/skills/tidy", name="7"),)


@pytest.mark.parametrize("given", [wanted("skill_x"), wanted("skill_2"), wanted(version="v2"), wanted(version="v9")])
async def test_what_is_not_there_or_anothers_is_not_found(skills: MemorySkills, given: dict[str, Any]) -> None:
    with pytest.raises(NotFound, match=r"^agent\.skills\[0\]: ") as missing:
        await chosen_skills([given], skills, MINE, "agent.")
    assert missing.value.error_code == "skill_not_found"


async def test_a_skill_that_was_deleted_is_missed_by_a_new_session(skills: MemorySkills) -> None:
    chosen = await chosen_skills([wanted()], skills, MINE)
    await skills.delete("skill_1")
    with pytest.raises(NotFound, match=r"agent\.skills\[0\]"):
        await session_skills(chosen, skills, MINE)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([wanted(), wanted()], "skills[1].skill_id"),
        ([{"type": "anthropic", "skill_id": "xlsx"}], "skills[0]"),
        ([wanted()] * (limits.SKILLS + 1), "skills"),
    ],
)
async def test_a_bad_choice_is_refused_by_name(skills: MemorySkills, given: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await chosen_skills(given, skills, MINE)
    assert refused.value.message.startswith(f"{named}:")


def test_skills_need_the_tool_that_reads_them() -> None:
    toolset: dict[str, Any] = {"type": "agent_toolset_20260401"}
    off: dict[str, Any] = {"name": "read", "enabled": False}
    check_can_read([], [])
    check_can_read([wanted()], resolve_tools([toolset]))
    only = {**toolset, "default_config": {"enabled": False}, "configs": [{"name": "read", "enabled": True}]}
    check_can_read([wanted()], resolve_tools([only]))
    for tools in ([], [{**toolset, "configs": [off]}], [{**toolset, "default_config": {"enabled": False}}]):
        with pytest.raises(InvalidRequest, match=r"^agent\.skills: "):
            check_can_read([wanted()], resolve_tools(tools), "agent.")
