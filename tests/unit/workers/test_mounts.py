"""Skills and memory stores of sessions elsewhere.

Bug class this catches: a stranger's archive that leaves its directory, a session that is not served because of a skill,
one that silently goes without because its server was away for a moment, and two stores in one directory.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from agents.errors import NotFound, Unavailable
from agents.hands.port import Mount
from agents.skills.unpacking import unpack
from agents.workers.plain_names import sandbox_name
from agents.workers.remote_archives import MOST_ARCHIVE_BYTES, RemoteArchives
from agents.workers.session_server import ServeOptions
from tests.unit.waiting import until
from tests.unit.workers.conftest import Rack, SeenHands
from tests.unit.workers.fake_server import ENV, SESSION, FakeServer, Json

MD = b"---\nname: tidy\ndescription: d\nlicense: theirs\n---\n"


def chosen(skill_id: str, version: str = "latest") -> Json:
    return {"type": "custom", "skill_id": skill_id, "version": version}


def mount(name: str) -> Mount:
    return Mount("skill", f"skill_{name}/latest.1", f"/workspace/skills/{name}", name=str(MOST_ARCHIVE_BYTES))


def store(number: int, **more: str) -> Json:
    return {"type": "memory_store", "memory_store_id": f"memstore_{number}", "name": "My notes", **more}


def zipped(**entries: bytes) -> bytes:
    """Return an archive with the entries that other programs make of directories."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("tidy/", b"")
        archive.writestr("tidy/scripts/", b"")
        for path, content in entries.items():
            archive.writestr(path, content)
    return packed.getvalue()


async def seen(rack: Rack, server: FakeServer) -> tuple[Mount, ...]:
    """Serve one call; returns what its sandbox was to have."""
    hands = SeenHands()
    server.queue()
    server.call("call_1", "echo done")
    async with rack.working(hands):
        await until(server.results)
    assert server.results() == {"call_1": "done"}
    (workspace,) = hands.seen
    return workspace.mounts


@pytest.fixture
def server() -> FakeServer:
    made = FakeServer()
    members = [{"type": "agent", "skills": [chosen("skill_sort")]}, {"type": "self"}]
    made.agents[SESSION] = {"skills": [chosen("skill_tidy")], "multiagent": {"agents": members}}
    return made


@pytest.fixture
def rack(rack: Rack) -> Rack:
    rack.options = ServeOptions({"type": "cloud"}, mounts=frozenset({"skill", "memory"}))
    return rack


async def test_a_sandbox_is_to_have_the_skills_of_its_sessions_agents(rack: Rack, server: FakeServer) -> None:
    assert await seen(rack, server) == (mount("tidy"), mount("sort"))


async def test_hands_that_cannot_have_them_are_told_of_no_mounts(rack: Rack, server: FakeServer) -> None:
    server.resources[SESSION] = [store(1)]
    rack.options = ServeOptions({"type": "cloud"})
    assert await seen(rack, server) == ()


async def test_a_server_that_is_away_for_a_moment_is_asked_again(rack: Rack, server: FakeServer) -> None:
    server.fail("session", 503, "refused")
    server.fail("version", 529)
    assert await seen(rack, server) == (mount("tidy"), mount("sort"))


async def test_a_skill_that_is_gone_is_left_out(rack: Rack, server: FakeServer) -> None:
    server.fail("version", 404)
    assert await seen(rack, server) == (mount("sort"),)


@pytest.mark.parametrize("name", ["..", "Tidy", "a b", "x" * 65])
async def test_a_skill_whose_name_is_no_directorys_is_left_out(rack: Rack, server: FakeServer, name: str) -> None:
    server.agents[SESSION] = {"skills": [chosen(f"skill_{name}"), chosen("skill_tidy")]}
    assert await seen(rack, server) == (mount("tidy"),)


async def test_a_sandbox_is_to_have_the_stores_of_its_session_each_in_a_directory_of_its_own(
    rack: Rack, server: FakeServer
) -> None:
    del server.agents[SESSION]
    here = "/mnt/memory/my-notes"
    server.resources[SESSION] = [
        store(1, mount_path=here, access="read_write"),
        store(2, mount_path="/mnt/memory/rules-", access="read_only"),
        store(3, mount_path=here),
        store(4, mount_path="/mnt/memory/../etc"),
        store(5, mount_path="/workspace/my-notes"),
        store(6, name="Other"),
    ]
    assert await seen(rack, server) == (
        Mount("memory", "memstore_1", here, read_only=False, name="My notes"),
        Mount("memory", "memstore_2", "/mnt/memory/rules-", read_only=True, name="My notes"),
        Mount("memory", "memstore_6", "/mnt/memory/other", read_only=False, name="Other"),
    )


async def test_stores_are_open_from_the_first_call_until_the_sandbox_is_put_away(
    rack: Rack, server: FakeServer
) -> None:
    class Keeping(SeenHands):
        async def release(self, session_id: str, *, destroy: bool) -> None:
            await rack.stores.open(session_id)
            asked.append("release")
            await super().release(session_id, destroy=destroy)

    asked, hands = server.asked, Keeping()
    server.queue()
    server.call("call_1", "echo done")
    async with rack.working(hands):
        await until(server.results)
    assert asked[-2:] == ["release", "stop"]
    with pytest.raises(Unavailable):
        await rack.stores.open(sandbox_name(ENV, SESSION))


async def test_nothing_is_kept_for_a_session_that_was_deleted(rack: Rack, server: FakeServer) -> None:
    """Its directories could not be removed for what is owed to a store that nobody opens any more."""

    class Keeping(SeenHands):
        async def release(self, session_id: str, *, destroy: bool) -> None:
            with pytest.raises(NotFound):
                await rack.stores.open(session_id)
            released.append(destroy)

    released, hands = list[bool](), Keeping()
    server.queue()
    server.say(SESSION, type="session.deleted")
    async with rack.working(hands):
        await until(lambda: released)
    assert released == [True]


async def test_a_worker_leaves_although_nobody_tells_it_what_to_mount(rack: Rack, server: FakeServer) -> None:
    server.queue()
    server.fail("session", *[503] * 1000)
    async with rack.working():
        await until(lambda: server.asked_for("session"))
    assert server.asked[-1] == "stop"


async def test_an_archive_of_another_server_is_unpacked_as_this_platforms_are(
    server: FakeServer, tmp_path: Path
) -> None:
    server.archives["tidy", "v1"] = zipped(**{"tidy/SKILL.md": MD, "tidy/scripts/run": b"#!/bin/sh\n"})
    async with server.client() as client:
        archive = await RemoteArchives(client).get("skill_tidy", "v1", MOST_ARCHIVE_BYTES)
    unpack(archive, tmp_path / "skill")
    assert (tmp_path / "skill" / "SKILL.md").read_bytes() == MD
    assert [each.name for each in (tmp_path / "skill" / "scripts").iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("archive", "most"),
    [
        pytest.param(b"no zip", 100, id="no-archive"),
        pytest.param(zipped(**{"tidy/SKILL.md": MD, "../out": b"x"}), MOST_ARCHIVE_BYTES, id="leads-out"),
        pytest.param(zipped(**{"tidy/notes.md": b"x"}), MOST_ARCHIVE_BYTES, id="no-instructions"),
        pytest.param(zipped(**{"tidy/SKILL.md": MD}), 100, id="too-large"),
    ],
)
async def test_what_is_no_skill_is_refused_and_not_fetched_again(server: FakeServer, archive: bytes, most: int) -> None:
    server.archives["tidy", "v1"] = archive
    async with server.client() as client:
        archives = RemoteArchives(client)
        for _ in range(2):
            with pytest.raises(ValueError):
                await archives.get("skill_tidy", "v1", most)
    assert server.asked_for("archive") == 1


@pytest.mark.parametrize(
    ("fault", "error"), [(404, NotFound), (403, NotFound), (503, Unavailable), ("refused", Unavailable)]
)
async def test_an_archive_that_cannot_be_had_is_asked_for_again(
    server: FakeServer, fault: int | str, error: type[Exception]
) -> None:
    server.archives["tidy", "v1"] = zipped(**{"tidy/SKILL.md": MD})
    server.fail("archive", fault)
    async with server.client() as client:
        archives = RemoteArchives(client)
        with pytest.raises(error):
            await archives.get("skill_tidy", "v1", MOST_ARCHIVE_BYTES)
        assert await archives.get("skill_tidy", "v1", MOST_ARCHIVE_BYTES)
