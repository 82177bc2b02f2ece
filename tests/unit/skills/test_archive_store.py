"""Where the archives of skills are.

Bug class this catches: half an archive that is handed out, one skill's archives that go with another's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import NotFound, Unavailable
from agents.hands.checkpoint_store import LocalStore
from agents.skills.archive_store import MemoryArchives, StoredArchives
from agents.skills.records import SkillArchives


@pytest.fixture(params=["memory", "directory"])
def archives(request: pytest.FixtureRequest, tmp_path: Path) -> SkillArchives:
    return MemoryArchives() if request.param == "memory" else StoredArchives(LocalStore(tmp_path))


async def test_what_is_put_is_got_until_it_is_removed(archives: SkillArchives) -> None:
    for skill_id, version_id in (("skill_1", "a"), ("skill_1", "b"), ("skill_2", "a")):
        await archives.put(skill_id, version_id, f"{skill_id[-1]} {version_id}".encode())
    await archives.remove("skill_1", "a")
    await archives.remove("skill_1", "a")
    assert await archives.get("skill_1", "b", 3) == b"1 b"
    await archives.remove_all("skill_1")
    await archives.remove_all("skill_1")
    assert await archives.get("skill_2", "a", 3) == b"2 a"
    for gone in ("a", "b"):
        with pytest.raises(NotFound):
            await archives.get("skill_1", gone, 3)


async def test_an_archive_is_read_in_pieces(tmp_path: Path) -> None:
    archives, archive = StoredArchives(LocalStore(tmp_path)), bytes(range(256)) * 10_000
    await archives.put("skill_1", "skillver_1", archive)
    pieces = [piece async for piece in archives.pieces("skill_1", "skillver_1", len(archive))]
    assert len(pieces) == 3 and b"".join(pieces) == archive
    assert await archives.get("skill_1", "skillver_1", len(archive)) == archive


async def test_an_archive_that_is_not_whole_is_not_handed_out(tmp_path: Path) -> None:
    archives = StoredArchives(LocalStore(tmp_path))
    await archives.put("skill_1", "skillver_1", b"ab")
    with pytest.raises(Unavailable):
        await archives.get("skill_1", "skillver_1", 3)
