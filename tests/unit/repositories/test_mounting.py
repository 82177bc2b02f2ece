"""Repositories in sandboxes.

Bug class this catches: files of the server written where a session's link leads, a copy whose failure nobody hears of
or that ends the session, a copy that is made again over the session's work, a secret file read as a skill.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from agents.errors import NotFound, Unavailable
from agents.hands.port import Mount
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs
from agents.net.guard import Guard
from agents.repositories.cloning import Cloner
from agents.repositories.failures import RepositoryFailed
from agents.repositories.mounting import RepositoryMounts
from agents.repositories.skills import MOST, skills_in
from agents.repositories.source import RepositorySource
from agents.telemetry.catalogue import REPOSITORY_SECONDS
from agents.telemetry.recorder import Recorder
from tests.unit.waiting import until

from .git_server import TOKEN, GitServer, git
from .test_cloning import cloner

REPO = Mount("repository", "sesrsc_1", "/workspace/deep/project", read_only=False)
SKILL = "---\nname: tidy\ndescription: Tidies <up>.\n---\nRun it.\n"


class Access:
    def __init__(self, server: GitServer) -> None:
        self.token: str | None = TOKEN
        self.url = f"{server.url}/project.git"
        self.failure: Exception | None = None

    async def repository(self, session_id: str, resource_id: str) -> tuple[RepositorySource, SecretStr | None]:
        assert (session_id, resource_id) == ("sesn_1", "sesrsc_1")
        if self.failure is not None:
            raise self.failure
        return RepositorySource(self.url), None if self.token is None else SecretStr(self.token)


@pytest.fixture
def access(server: GitServer) -> Access:
    return Access(server)


@pytest.fixture
def dirs(tmp_path: Path) -> SandboxDirs:
    (tmp_path / "base" / "workspace").mkdir(parents=True)
    return SandboxDirs(tmp_path / "base", 12345 if os.geteuid() == 0 else None, tmp_path / "system")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def mounts(access: Access, recorder: Recorder) -> RepositoryMounts:
    return RepositoryMounts(access, cloner(), recorder)


async def test_a_copy_is_its_users_and_is_made_once(mounts: RepositoryMounts, dirs: SandboxDirs) -> None:
    assert await mounts.make("sesn_1", dirs, []) is None
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is None
    copy = dirs.of("workspace") / "deep" / "project"
    assert (copy / "README").read_text() == "main"
    if dirs.uid is not None:
        owners = {path.lstat().st_uid for path in (copy.parent, copy, *copy.rglob("*"))}
        assert owners == {dirs.uid}
    (copy / "README").write_text("the session's")
    assert await mounts.make("sesn_1", dirs, [REPO]) is None
    assert (copy / "README").read_text() == "the session's"
    assert {each.name for each in dirs.base.iterdir()} == {"workspace", "sesrsc_1.copied"}


async def test_a_copy_whose_git_directory_is_gone_is_the_sessions_all_the_same(
    mounts: RepositoryMounts, dirs: SandboxDirs
) -> None:
    await mounts.make("sesn_1", dirs, [REPO])
    copy = dirs.of("workspace") / "deep" / "project"
    shutil.rmtree(copy / ".git")
    assert await mounts.make("sesn_1", dirs, [REPO]) is None
    assert [each.name for each in copy.iterdir()] == ["README"]
    shutil.rmtree(copy)
    assert await mounts.make("sesn_1", dirs, [REPO]) is None
    assert (copy / ".git").is_dir()  # there was nothing of it any more


async def test_a_failure_is_told_and_the_next_try_may_succeed(
    mounts: RepositoryMounts, access: Access, dirs: SandboxDirs, recorder: Recorder
) -> None:
    access.token = "ghp_wrong"
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is not None
    (problem,) = report.problems
    assert (problem.type, problem.about) == ("repository_authentication_error", {"repository_url": access.url})
    assert REPO.path in report.notes[0] and "ghp_" not in report.notes[0]
    assert list(dirs.of("workspace").iterdir()) == []
    access.token = TOKEN
    await mounts.make("sesn_1", dirs, [REPO])
    assert (dirs.of("workspace") / "deep" / "project" / "README").exists()
    counted = set(recorder.snapshot()[REPOSITORY_SECONDS.name])
    assert counted == {("authentication",), ("ok",)}


async def test_what_a_killed_host_has_left_is_in_no_copys_way(mounts: RepositoryMounts, dirs: SandboxDirs) -> None:
    for name in ("sesrsc_1.0a1b2c3d.part", "sesrsc_12.0a1b2c3d.part"):
        (dirs.base / name / "objects").mkdir(parents=True)
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is None
    # What may be another's, of a resource with a longer id, stays.
    assert {each.name for each in dirs.base.iterdir()} == {"workspace", "sesrsc_1.copied", "sesrsc_12.0a1b2c3d.part"}


class Slow(Cloner):
    """Copies nothing until it may go on, and remembers how many wait for it."""

    def __init__(self) -> None:
        super().__init__(Guard(), seconds=30, most_bytes=1)
        self.busy = 0
        self.go_on = asyncio.Event()

    async def clone(self, source: RepositorySource, token: SecretStr | None, target: Path) -> None:
        self.busy += 1
        await self.go_on.wait()
        raise RepositoryFailed("clone", source.url, "nothing")


async def test_one_session_leaves_places_for_the_copies_of_others(access: Access, tmp_path: Path) -> None:
    slow = Slow()
    mounts = RepositoryMounts(access, slow, Recorder())
    many = [replace(REPO, path=f"/workspace/p{number}") for number in range(9)]
    homes = [SandboxDirs(tmp_path / name, None, tmp_path / "system") for name in ("one", "other")]
    for home in homes:
        home.of("workspace").mkdir(parents=True)
    making = [asyncio.create_task(mounts.make("sesn_1", homes[0], many))]
    await until(lambda: slow.busy == 4)
    making.append(asyncio.create_task(mounts.make("sesn_1", homes[1], many[:1])))
    await until(lambda: slow.busy == 5)
    slow.go_on.set()
    assert [len(report.problems) for report in await asyncio.gather(*making) if report is not None] == [9, 1]


@pytest.mark.parametrize("taken", ["file", "directory", "link"])
async def test_what_is_in_the_way_stays_and_no_link_is_followed(
    mounts: RepositoryMounts, dirs: SandboxDirs, tmp_path: Path, taken: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    deep = dirs.of("workspace") / "deep"
    if taken == "file":
        deep.write_text("mine")
    elif taken == "link":
        deep.symlink_to(outside)
    else:
        (deep / "project").mkdir(parents=True)
        (deep / "project" / "notes").write_text("mine")
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is not None and [each.type for each in report.problems] == ["repository_clone_error"]
    assert list(outside.iterdir()) == [] and [each.name for each in dirs.base.iterdir()] == ["workspace"]
    if taken == "directory":
        assert (deep / "project" / "notes").read_text() == "mine"


async def test_a_session_that_is_gone_and_a_store_that_is_not_there(
    mounts: RepositoryMounts, access: Access, dirs: SandboxDirs
) -> None:
    access.failure = NotFound("session sesn_1 not found")
    assert await mounts.make("sesn_1", dirs, [REPO]) is None
    access.failure = Unavailable("the database does not answer")
    with pytest.raises(SandboxUnavailable, match="does not answer"):
        await mounts.make("sesn_1", dirs, [REPO])
    access.failure = RepositoryFailed("authentication", access.url, "its token cannot be opened")
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is not None and [each.type for each in report.problems] == ["repository_authentication_error"]


async def test_skills_of_a_repository_are_told_until_they_were_told(
    mounts: RepositoryMounts, access: Access, dirs: SandboxDirs, origin: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    (work / ".claude" / "skills" / "tidy").mkdir(parents=True)
    (work / ".claude" / "skills" / "tidy" / "SKILL.md").write_text(SKILL.replace("<up>", "up & down"))
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "skills")
    git(work, "push", "-q", str(origin), "main")
    report = await mounts.make("sesn_1", dirs, [REPO])
    assert report is not None
    assert report.notes[0].endswith(
        "\n- tidy (/workspace/deep/project/.claude/skills/tidy/SKILL.md): Tidies up &amp; down."
    )
    # Whoever was to tell that has forgotten it, or died.
    again = await RepositoryMounts(access, cloner(), Recorder()).make("sesn_1", dirs, [REPO])
    assert again is not None and again.notes == report.notes
    for note in again.told:
        note()
    assert await mounts.make("sesn_1", dirs, [REPO]) is None


async def test_skills_are_not_looked_for_where_the_session_leads(
    mounts: RepositoryMounts, dirs: SandboxDirs, tmp_path: Path
) -> None:
    await mounts.make("sesn_1", dirs, [REPO])
    skill(tmp_path / "outside" / "project", "secret", SKILL)
    (tmp_path / "outside" / "project" / ".git").mkdir()
    shutil.rmtree(dirs.of("workspace") / "deep")
    (dirs.of("workspace") / "deep").symlink_to(tmp_path / "outside")
    assert await mounts.make("sesn_1", dirs, [REPO]) is None


def skill(tree: Path, name: str, text: str) -> Path:
    place = tree / ".claude" / "skills" / name / "SKILL.md"
    place.parent.mkdir(parents=True)
    place.write_text(text)
    return place


def test_only_plain_files_that_say_what_they_are_for_are_skills(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    text = "---\ndescription: Does things.\n---\n"
    skill(tree, "good", text)
    skill(tree, "Bad Name", text)
    skill(tree, "no-description", "---\nname: x\n---\n")
    skill(tree, "long", f"---\ndescription: Long.\n---\n{'é' * 100_000}")
    skill(tree, "link", text).unlink()
    secret = skill(outside, "secret", text)
    (tree / ".claude/skills/link/SKILL.md").symlink_to(secret)
    (tree / ".claude/skills/folder-link").symlink_to(secret.parent)
    (tree / ".claude/skills/pipe").mkdir()
    os.mkfifo(tree / ".claude/skills/pipe/SKILL.md")
    assert [(each.name, each.description) for each in skills_in(tree)] == [("good", "Does things."), ("long", "Long.")]


@pytest.mark.parametrize("linked", [".claude", ".claude/skills"])
def test_a_folder_of_skills_that_is_a_link_has_none(tmp_path: Path, linked: str) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    skill(outside, "secret", "---\ndescription: Does things.\n---\n")
    place = tree / linked
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / linked)
    assert list(skills_in(tree)) == []


def test_the_number_of_skills_is_bounded(tmp_path: Path) -> None:
    for number in range(MOST + 2):
        skill(tmp_path, f"s{number:03}", "---\ndescription: Does things.\n---\n")
    assert len(skills_in(tmp_path)) == MOST
    assert list(skills_in(tmp_path / "none")) == []
