"""Skills in sandboxes.

Bug class this catches: files of the server written where a session's link leads, a session that has no sandbox because
of a skill that is gone, a skill that is fetched for every call.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.errors import Unavailable
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs
from agents.skills.archive_store import MemoryArchives
from agents.skills.bundle import archived, bundle_of
from agents.skills.files import SkillFile
from agents.skills.mounting import SkillMounts
from agents.telemetry.catalogue import SKILL_COPIES
from agents.telemetry.recorder import Recorder

MD = b"---\nname: tidy\ndescription: d\n---\n"
ARCHIVE = archived(bundle_of([SkillFile("tidy/SKILL.md", MD), SkillFile("tidy/run", b"#!/bin/sh\n")]))
MOUNT = Mount("skill", "skill_1/v1", "/workspace/skills/tidy", name=str(len(ARCHIVE)))


class CountingArchives(MemoryArchives):
    def __init__(self) -> None:
        super().__init__()
        self.fetched = 0

    async def get(self, skill_id: str, version_id: str, size: int) -> bytes:
        self.fetched += 1
        return await super().get(skill_id, version_id, size)


@pytest.fixture
async def archives() -> CountingArchives:
    made = CountingArchives()
    await made.put("skill_1", "v1", ARCHIVE)
    return made


@pytest.fixture
def dirs(tmp_path: Path) -> SandboxDirs:
    (tmp_path / "base" / "workspace").mkdir(parents=True)
    return SandboxDirs(tmp_path / "base", None, tmp_path / "system")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def mounts(archives: CountingArchives, recorder: Recorder) -> SkillMounts:
    return SkillMounts(archives, recorder)


def outcomes(recorder: Recorder) -> set[str]:
    return {outcome for (outcome,) in recorder.snapshot().get(SKILL_COPIES.name, ())}


async def test_a_skill_is_there_once_and_is_fetched_once(
    mounts: SkillMounts, archives: CountingArchives, dirs: SandboxDirs, recorder: Recorder
) -> None:
    for _ in range(2):
        await mounts.make("sesn_1", dirs, [MOUNT])
    skill = dirs.of("workspace") / "skills" / "tidy"
    assert (skill / "SKILL.md").read_bytes() == MD
    assert (skill / "run").stat().st_mode & 0o777 == 0o555
    assert archives.fetched == 1
    assert outcomes(recorder) == {"ok"}
    assert [each.name for each in dirs.base.iterdir()] == ["workspace"]


@pytest.mark.parametrize("place", ["skills", "skills/tidy"])
async def test_a_link_of_the_sessions_is_not_followed(
    mounts: SkillMounts, dirs: SandboxDirs, tmp_path: Path, recorder: Recorder, place: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = dirs.of("workspace") / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    await mounts.make("sesn_1", dirs, [MOUNT])
    assert list(outside.iterdir()) == [] and link.is_symlink()
    assert outcomes(recorder) == ({"blocked"} if place == "skills" else set())  # the latter counts as there


async def test_a_file_in_the_way_stays(mounts: SkillMounts, dirs: SandboxDirs) -> None:
    (dirs.of("workspace") / "skills").write_text("mine")
    await mounts.make("sesn_1", dirs, [MOUNT])
    assert (dirs.of("workspace") / "skills").read_text() == "mine"


async def test_a_skill_that_was_deleted_is_done_without(
    mounts: SkillMounts, archives: CountingArchives, dirs: SandboxDirs, recorder: Recorder
) -> None:
    await archives.remove_all("skill_1")
    await mounts.make("sesn_1", dirs, [MOUNT])
    assert list(dirs.of("workspace").iterdir()) == []
    assert outcomes(recorder) == {"gone"}


async def test_a_store_that_does_not_answer_is_no_sandbox_just_now(
    mounts: SkillMounts,
    archives: CountingArchives,
    dirs: SandboxDirs,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(*_: object) -> bytes:
        raise Unavailable("the store is away")

    monkeypatch.setattr(archives, "get", away)
    with pytest.raises(SandboxUnavailable, match="the store is away"):
        await mounts.make("sesn_1", dirs, [MOUNT])
    assert outcomes(recorder) == {"failed"}
