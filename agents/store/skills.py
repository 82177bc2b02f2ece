"""Skills and their versions on a database.

Whoever adds or removes a version holds the skill's row until the commit: the latest is always one that is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, null, select, update

from agents.listing import Listing
from agents.skills.records import LATEST, SkillRecord, SkillVersionRecord
from agents.skills.rules import check_next, name_taken, no_skill, no_version, only_version
from agents.store.codec import findable, micros
from agents.store.engine import Database
from agents.store.paging import page
from agents.store.skill_rows import skill_of, skill_row, version_of, version_row
from agents.store.tables import skill_versions, skills

_VERSIONS = skill_versions.c


class SqlSkills:
    """The SkillRepository of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, skill: SkillRecord, version: SkillVersionRecord) -> None:
        """See SkillRepository.insert."""
        head, first = skill_row(skill), version_row(version)
        # For a message that names the fault; the unique index decides between writers that race.
        holder = select(skills.c.id).where(skills.c.workspace_id == skill.workspace_id, skills.c.name == skill.name)

        def work(connection: Connection) -> None:
            if connection.execute(holder).first() is not None:
                raise name_taken(skill.name)
            connection.execute(insert(skills), head)
            connection.execute(insert(skill_versions), first)

        await self._database.write(work)

    async def get(self, skill_id: str) -> SkillRecord:
        """See SkillRepository.get."""
        return await self._database.read(lambda connection: _skill(connection, skill_id))

    async def list(self, query: Listing) -> Sequence[SkillRecord]:
        """See SkillRepository.list."""
        columns = skills.c
        statement = page(select(skills), columns.created_at, columns.id, null(), query, workspace=columns.workspace_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [skill_of(row) for row in rows]

    async def delete(self, skill_id: str) -> None:
        """See SkillRepository.delete."""

        def work(connection: Connection) -> None:
            _skill(connection, skill_id, lock=True)
            connection.execute(delete(skill_versions).where(_VERSIONS.skill_id == skill_id))
            connection.execute(delete(skills).where(skills.c.id == skill_id))

        await self._database.write(work)

    async def add_version(self, version: SkillVersionRecord) -> None:
        """See SkillRepository.add_version."""
        row = version_row(version)
        there = select(func.count()).where(_VERSIONS.skill_id == version.skill_id)
        newest = update(skills).where(skills.c.id == version.skill_id)
        newest = newest.values(latest_version_id=version.id, updated_at=micros(version.created_at))

        def work(connection: Connection) -> None:
            skill = _skill(connection, version.skill_id, lock=True)
            check_next(skill, version, connection.execute(there).scalar_one())
            connection.execute(insert(skill_versions), row)
            connection.execute(newest).close()

        await self._database.write(work)

    async def version(self, skill_id: str, version_id: str) -> SkillVersionRecord:
        """See SkillRepository.version."""

        def work(connection: Connection) -> SkillVersionRecord:
            skill = _skill(connection, skill_id)
            return _version(connection, skill, skill.latest_version_id if version_id == LATEST else version_id)

        return await self._database.read(work)

    async def versions(self, skill_id: str, query: Listing) -> Sequence[SkillVersionRecord]:
        """See SkillRepository.versions."""
        wanted = select(skill_versions).where(_VERSIONS.skill_id == skill_id)
        statement = page(wanted, _VERSIONS.created_at, _VERSIONS.id, null(), query)

        def work(connection: Connection) -> list[SkillVersionRecord]:
            _skill(connection, skill_id)
            return [version_of(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def delete_version(self, skill_id: str, version_id: str, moment: datetime) -> None:
        """See SkillRepository.delete_version."""
        left = select(_VERSIONS.id).where(_VERSIONS.skill_id == skill_id, _VERSIONS.id != version_id)
        newest = left.order_by(_VERSIONS.created_at.desc(), _VERSIONS.id.desc()).limit(1)

        def work(connection: Connection) -> None:
            skill = _skill(connection, skill_id, lock=True)
            _version(connection, skill, version_id)
            latest = connection.execute(newest).scalar()
            if latest is None:
                raise only_version(skill)
            connection.execute(delete(skill_versions).where(_VERSIONS.id == version_id))
            changed = update(skills).where(skills.c.id == skill_id)
            connection.execute(changed.values(latest_version_id=latest, updated_at=micros(moment))).close()

        await self._database.write(work)


def _skill(connection: Connection, skill_id: str, *, lock: bool = False) -> SkillRecord:
    row = None
    if findable(skill_id):
        statement = select(skills).where(skills.c.id == skill_id)
        row = connection.execute(statement.with_for_update() if lock else statement).mappings().first()
    if row is None:
        raise no_skill(skill_id)
    return skill_of(row)


def _version(connection: Connection, skill: SkillRecord, version_id: str) -> SkillVersionRecord:
    row = None
    if findable(version_id):
        statement = select(skill_versions).where(_VERSIONS.id == version_id, _VERSIONS.skill_id == skill.id)
        row = connection.execute(statement).mappings().first()
    if row is None:
        raise no_version(skill.id, version_id)
    return version_of(row)
