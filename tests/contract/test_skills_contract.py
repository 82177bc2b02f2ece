"""What the repository of skills promises (port: agents.skills.records).

Bug class this catches: a skill whose latest version is not there, a name that two skills have.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from store_records import T0, AnyStore

from agents.errors import Conflict, InvalidRequest, NotFound
from agents.listing import Listing
from agents.skills import rules
from agents.skills.records import LATEST, SkillRecord, SkillVersionRecord

LATER = T0 + timedelta(seconds=5)


def skill(number: int = 1, **changes: Any) -> SkillRecord:
    made = SkillRecord(f"skill_{number:04}", f"tidy-{number}", "Tidy é", f"skillver_{number:04}", T0, T0)
    return replace(made, **changes)


def version(number: int = 1, of: int = 1, **changes: Any) -> SkillVersionRecord:
    made = SkillVersionRecord(f"skillver_{number:04}", skill(of).id, skill(of).name, "d", 1 << 33, T0)
    return replace(made, **changes)


@pytest.fixture
async def stored(store: AnyStore) -> AnyStore:
    """A store with one skill of one version."""
    await store.skills.insert(skill(), version())
    return store


async def test_what_is_stored_is_read_back(stored: AnyStore) -> None:
    assert await stored.skills.get(skill().id) == skill()
    assert await stored.skills.version(skill().id, version().id) == version()
    assert await stored.skills.version(skill().id, LATEST) == version()
    assert await stored.owners.workspace_of("skill", skill().id) == skill().workspace_id


@pytest.mark.parametrize("name", ["skill_x", "\x00", "\ud800"])
async def test_what_is_not_there_is_not_found(stored: AnyStore, name: str) -> None:
    await stored.skills.insert(skill(2), version(2, of=2))
    skills = stored.skills
    calls = [
        skills.get(name),
        skills.delete(name),
        skills.add_version(version(3, skill_id=name)),
        skills.version(name, LATEST),
        skills.versions(name, Listing()),
        skills.delete_version(name, version().id, T0),
        skills.version(skill().id, name),
        skills.delete_version(skill().id, name, T0),
        # A version is only of its own skill.
        skills.version(skill(2).id, version().id),
        skills.delete_version(skill(2).id, version().id, T0),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            await call
    assert await stored.owners.workspace_of("skill", name) is None


async def test_a_name_is_one_skills_in_its_workspace(stored: AnyStore) -> None:
    with pytest.raises(Conflict) as refused:
        await stored.skills.insert(skill(2, name=skill().name), version(2, of=2))
    assert refused.value.error_code == "skill_name_taken"
    await stored.skills.insert(skill(2, name=skill().name, workspace_id="other"), version(2, of=2))
    await stored.skills.delete(skill().id)
    await stored.skills.insert(skill(3, name=skill().name), version(3, of=3))


async def test_of_two_that_take_a_name_at_once_one_gets_it(store: AnyStore) -> None:
    tries = [store.skills.insert(skill(each, name="same"), version(each, of=each)) for each in (1, 2)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(each) for each in outcomes if each is not None] == [Conflict]
    assert len(await store.skills.list(Listing())) == 1


async def test_a_new_version_is_the_latest(stored: AnyStore) -> None:
    newer = version(2, created_at=LATER)
    await stored.skills.add_version(newer)
    assert await stored.skills.get(skill().id) == skill(latest_version_id=newer.id, updated_at=LATER)
    assert await stored.skills.version(skill().id, LATEST) == newer
    assert await stored.skills.versions(skill().id, Listing()) == [newer, version()]
    with pytest.raises(InvalidRequest):
        await stored.skills.add_version(version(3, name="other"))
    assert await stored.skills.version(skill().id, LATEST) == newer


async def test_versions_added_at_once_are_all_there(stored: AnyStore) -> None:
    await asyncio.gather(*(stored.skills.add_version(version(number)) for number in range(2, 8)))
    there = await stored.skills.versions(skill().id, Listing())
    assert len(there) == 7
    assert (await stored.skills.get(skill().id)).latest_version_id in {each.id for each in there}


async def test_versions_are_bounded(stored: AnyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST_VERSIONS", 2)
    await stored.skills.add_version(version(2))
    with pytest.raises(InvalidRequest):
        await stored.skills.add_version(version(3))


async def test_the_latest_that_is_deleted_gives_way_to_the_newest_that_is_left(stored: AnyStore) -> None:
    for number in (2, 3):
        await stored.skills.add_version(version(number, created_at=LATER))
    await stored.skills.delete_version(skill().id, version(3).id, LATER)
    assert (await stored.skills.get(skill().id)).latest_version_id == version(2).id
    await stored.skills.delete_version(skill().id, version().id, LATER)
    assert (await stored.skills.get(skill().id)).latest_version_id == version(2).id
    with pytest.raises(InvalidRequest):
        await stored.skills.delete_version(skill().id, version(2).id, LATER)
    assert await stored.skills.version(skill().id, LATEST) == version(2, created_at=LATER)


async def test_skills_are_listed_newest_first_by_workspace_and_in_pages(stored: AnyStore) -> None:
    await stored.skills.insert(skill(2, created_at=LATER), version(2, of=2))
    await stored.skills.insert(skill(3, workspace_id="other"), version(3, of=3))
    mine = Listing(limit=1, workspace_id=skill().workspace_id)
    first = await stored.skills.list(mine)
    assert [each.id for each in first] == [skill(2).id, skill().id]
    after = replace(mine, after=(first[0].created_at, first[0].id))
    assert [each.id for each in await stored.skills.list(after)] == [skill().id]
