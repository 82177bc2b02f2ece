"""Skills and their versions, in one process's memory; nothing between two awaits changes but at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter

from agents.errors import Conflict
from agents.listing import Listing
from agents.skills.records import LATEST, SkillRecord, SkillVersionRecord
from agents.skills.rules import check_next, name_taken, no_skill, no_version, only_version
from agents.store.memory_catalog import memory_page


class MemorySkills:
    """The SkillRepository of one process."""

    def __init__(self) -> None:
        self._skills: dict[str, SkillRecord] = {}
        self._versions: dict[str, SkillVersionRecord] = {}

    async def insert(self, skill: SkillRecord, version: SkillVersionRecord) -> None:
        places = {(each.workspace_id, each.name) for each in self._skills.values()}
        if (skill.workspace_id, skill.name) in places:
            raise name_taken(skill.name)
        if skill.id in self._skills:
            raise Conflict(f"skill {skill.id} already exists")
        self._put(version)
        self._skills[skill.id] = skill

    async def get(self, skill_id: str) -> SkillRecord:
        found = self._skills.get(skill_id)
        if found is None:
            raise no_skill(skill_id)
        return found

    async def list(self, query: Listing) -> Sequence[SkillRecord]:
        return memory_page(self._skills.values(), query)

    async def delete(self, skill_id: str) -> None:
        await self.get(skill_id)
        for each in self._of(skill_id):
            del self._versions[each.id]
        del self._skills[skill_id]

    async def add_version(self, version: SkillVersionRecord) -> None:
        skill = await self.get(version.skill_id)
        check_next(skill, version, len(self._of(skill.id)))
        self._put(version)
        self._skills[skill.id] = replace(skill, latest_version_id=version.id, updated_at=version.created_at)

    async def version(self, skill_id: str, version_id: str) -> SkillVersionRecord:
        skill = await self.get(skill_id)
        found = self._versions.get(skill.latest_version_id if version_id == LATEST else version_id)
        if found is None or found.skill_id != skill_id:
            raise no_version(skill_id, version_id)
        return found

    async def versions(self, skill_id: str, query: Listing) -> Sequence[SkillVersionRecord]:
        await self.get(skill_id)
        return memory_page(self._of(skill_id), query)

    async def delete_version(self, skill_id: str, version_id: str, moment: datetime) -> None:
        skill = await self.get(skill_id)
        gone = self._versions.get(version_id)
        if gone is None or gone.skill_id != skill_id:
            raise no_version(skill_id, version_id)
        left = [each for each in self._of(skill_id) if each.id != version_id]
        if not left:
            raise only_version(skill)
        del self._versions[version_id]
        latest = max(left, key=attrgetter("created_at", "id")).id
        self._skills[skill_id] = replace(skill, latest_version_id=latest, updated_at=moment)

    def _put(self, version: SkillVersionRecord) -> None:
        if version.id in self._versions:
            raise Conflict(f"skill version {version.id} already exists")
        self._versions[version.id] = version

    def _of(self, skill_id: str) -> Sequence[SkillVersionRecord]:
        return [each for each in self._versions.values() if each.skill_id == skill_id]
