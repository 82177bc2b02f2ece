"""Skills over the API (spec A.10), asked by the official SDK and by raw forms.

Bug class this catches: an upload that is kept although its version is not, a version without its archive, a form whose
fields are ignored, and a worker that gets skills which are not for it.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx2
import pytest
from anthropic import AsyncAnthropic, ConflictError, NotFoundError
from api_fakes import Server, refusal

from agents.errors import Unavailable
from agents.skills.archive_store import MemoryArchives
from tests.unit.waiting import until

MD = "---\nname: tidy\ndescription: Tidies up.\n---\n# Tidy\n"
FILES = [("tidy/SKILL.md", MD.encode()), ("tidy/scripts/run.sh", b"#!/bin/sh\n")]


def archives(server: Server) -> MemoryArchives:
    kept = server.platform.skill_archives
    assert isinstance(kept, MemoryArchives)
    return kept


@pytest.fixture
def sdk(server: Server) -> AsyncAnthropic:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(server.app))
    return AsyncAnthropic(api_key="k", base_url="http://test", http_client=http, max_retries=0)


async def upload(server: Server, md: str = MD, path: str = "/v1/skills", **form: str) -> httpx.Response:
    return await server.client.post(path, data=form, files=[("files[]", ("tidy/SKILL.md", md.encode()))])


async def test_a_skill_is_made_read_listed_and_deleted(server: Server, sdk: AsyncAnthropic) -> None:
    made = await sdk.beta.skills.create(files=FILES, display_name="Tidy up")
    assert (made.type, made.display_name, made.source.type) == ("skill", "Tidy up", "custom")
    assert await sdk.beta.skills.retrieve(made.id) == made
    assert [each async for each in sdk.beta.skills.list()] == [made]
    assert [each async for each in sdk.beta.skills.list(source="anthropic")] == []
    gone = await sdk.beta.skills.delete(made.id)
    assert (gone.id, gone.type) == (made.id, "skill_deleted")
    with pytest.raises(NotFoundError):
        await sdk.beta.skills.retrieve(made.id)
    assert archives(server).kept == {}


async def test_versions_have_archives_and_latest_is_the_newest(server: Server, sdk: AsyncAnthropic) -> None:
    made = await sdk.beta.skills.create(files=FILES)
    first = await sdk.beta.skills.versions.retrieve("latest", skill_id=made.id)
    assert (first.id, first.name, first.description) == (made.latest_version_id, "tidy", "Tidies up.")
    second = await sdk.beta.skills.versions.create(made.id, files=[("tidy/SKILL.md", MD.replace("up", "all").encode())])
    assert (await sdk.beta.skills.retrieve(made.id)).latest_version_id == second.id
    assert [each.id async for each in sdk.beta.skills.versions.list(made.id)] == [second.id, first.id]
    got = await (await sdk.beta.skills.versions.download(first.id, skill_id=made.id)).read()
    with zipfile.ZipFile(io.BytesIO(got)) as archive:
        assert archive.namelist() == ["tidy/SKILL.md", "tidy/scripts/run.sh"]
        assert archive.read("tidy/scripts/run.sh") == b"#!/bin/sh\n"
    gone = await sdk.beta.skills.versions.delete(second.id, skill_id=made.id)
    assert (gone.id, gone.type) == (second.id, "skill_version_deleted")
    assert (await sdk.beta.skills.retrieve(made.id)).latest_version_id == first.id
    assert list(archives(server).kept) == [(made.id, first.id)]


async def test_the_label_is_the_name_where_none_is_given(server: Server) -> None:
    assert (await upload(server)).json()["display_name"] == "tidy"


async def test_a_name_that_is_taken_is_a_conflict_and_leaves_nothing(server: Server, sdk: AsyncAnthropic) -> None:
    await upload(server)
    with pytest.raises(ConflictError) as refused:
        await sdk.beta.skills.create(files=FILES)
    body: Any = refused.value.body
    assert body["error"]["details"]["error_code"] == "skill_name_taken"
    assert len(archives(server).kept) == 1


async def test_a_version_that_is_refused_leaves_nothing(server: Server) -> None:
    skill_id = (await upload(server)).json()["id"]
    other = await upload(server, MD.replace("tidy", "messy"), f"/v1/skills/{skill_id}/versions")
    assert "never changes" in refusal(other, 400)
    assert len(archives(server).kept) == 1
    (only,) = (await server.client.get(f"/v1/skills/{skill_id}/versions")).json()["data"]
    assert "no other version" in refusal(
        await server.client.delete(f"/v1/skills/{skill_id}/versions/{only['id']}"), 400
    )
    assert len(archives(server).kept) == 1


async def test_a_skill_is_not_there_when_its_archive_could_not_be_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(archives(server), "put", full)
    refusal(await upload(server), 503, "api_error")
    assert (await server.client.get("/v1/skills")).json()["data"] == []


async def test_uploads_are_counted_with_other_bodies_and_out_again(
    make_server: Callable[..., Awaitable[Server]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.api.edge._FULL_BODIES", 1)
    server = await make_server(gateway={"max_body_bytes": 4096})
    put, putting, go_on = archives(server).put, asyncio.Event(), asyncio.Event()

    async def slow(*what: Any) -> None:
        putting.set()
        await go_on.wait()
        await put(*what)

    monkeypatch.setattr(archives(server), "put", slow)
    first = asyncio.create_task(upload(server, MD + "x" * 2000))
    async with asyncio.timeout(5):
        await putting.wait()
    refusal(await upload(server, MD + "x" * 2000), 529, "overloaded_error")
    go_on.set()
    assert (await first).status_code == 200
    path = f"/v1/skills/{(await first).json()['id']}/versions"
    assert (await upload(server, MD + "y" * 2000, path)).status_code == 200
    refusal(await upload(server, MD + "y" * 4096, path), 413, "request_too_large")


async def test_few_uploads_are_packed_at_a_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    put, go_on, busy, most = archives(server).put, asyncio.Event(), 0, 0

    async def slow(*what: Any) -> None:
        nonlocal busy, most
        busy += 1
        most = max(busy, most)
        await go_on.wait()
        busy -= 1
        await put(*what)

    monkeypatch.setattr(archives(server), "put", slow)
    several = [asyncio.create_task(upload(server, MD.replace("tidy", f"tidy{n}"))) for n in range(6)]
    await until(lambda: busy == 4)
    go_on.set()
    assert [(await each).status_code for each in several] == [200] * 6
    assert most == 4


async def test_a_client_that_goes_leaves_no_archive_behind(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    at, go_on = asyncio.Event(), asyncio.Event()

    def stopping(name: str) -> None:
        """Have a call of the archives wait once it has done its work."""
        work = getattr(archives(server), name)

        async def stopped(*what: Any) -> None:
            await work(*what)
            at.set()
            await go_on.wait()

        monkeypatch.setattr(archives(server), name, stopped)

    stopping("put")
    asked = asyncio.create_task(upload(server))
    async with asyncio.timeout(5):
        await at.wait()
    assert len(archives(server).kept) == 1
    asked.cancel()
    await asyncio.wait({asked})
    assert archives(server).kept == {} and (await server.client.get("/v1/skills")).json()["data"] == []

    monkeypatch.undo()
    skill = (await upload(server)).json()
    delete, deleting = server.store.skills.delete, asyncio.Event()

    async def slowly(skill_id: str) -> None:
        await delete(skill_id)
        deleting.set()
        await go_on.wait()

    monkeypatch.setattr(server.store.skills, "delete", slowly)
    asked = asyncio.create_task(server.client.delete(f"/v1/skills/{skill['id']}"))
    async with asyncio.timeout(5):
        await deleting.wait()
    asked.cancel()
    go_on.set()
    await asyncio.wait({asked})
    assert archives(server).kept == {}


async def test_an_archive_that_is_gone_is_an_envelope(server: Server) -> None:
    skill = (await upload(server)).json()
    archives(server).kept.clear()
    content = f"/v1/skills/{skill['id']}/versions/latest/content"
    refusal(await server.client.get(content), 404, "not_found_error")


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({"data": {"display_name": "x"}}, "multipart"),
        ({"files": [("file", ("tidy/SKILL.md", MD))]}, "file: unknown field"),
        ({"files": [("files[]", ("tidy/SKILL.md", MD))], "data": {"label": "x"}}, "label: unknown field"),
        ({"files": [("files[]", (None, MD))]}, "files[]: must be a file"),
        ({"files": [("files[]", ("SKILL.md", MD))]}, "files"),
        ({"files": [("files[]", ("tidy/../SKILL.md", MD))]}, "files"),
        ({"files": [("files[]", ("tidy/SKILL.md", MD))], "data": {"display_name": "x" * 256}}, "display_name"),
        ({"files": [("files[]", ("tidy/SKILL.md", MD))], "data": {"display_name": "a\nb"}}, "display_name"),
        ({"files": [("display_name", (None, "x"))]}, "files"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, "multipart"),
        ({"json": {"files": []}}, "multipart"),
    ],
)
async def test_a_bad_form_is_refused_by_name_and_nothing_is_kept(
    server: Server, form: dict[str, Any], named: str
) -> None:
    assert named in refusal(await server.client.post("/v1/skills", **form), 400)
    assert archives(server).kept == {}


async def test_bad_filters_are_refused_by_name(server: Server) -> None:
    assert "source" in refusal(await server.client.get("/v1/skills?source=mine"), 400)
    assert "limit" in refusal(await server.client.get("/v1/skills?limit=1001"), 400)


async def test_an_agent_and_its_sessions_show_the_version_that_they_have(server: Server) -> None:
    skill = (await upload(server)).json()
    chosen = {"type": "custom", "skill_id": skill["id"]}
    pinned = {**chosen, "version": skill["latest_version_id"]}
    agent = await server.agent(tools=[{"type": "agent_toolset_20260401"}], skills=[chosen])
    assert agent["skills"] == [pinned]
    session = await server.session(agent=agent["id"])
    assert session["agent"]["skills"] == [pinned]
    kept = (await server.store.sessions.get(session["id"])).agent["skills"]
    assert kept == [{**pinned, "name": "tidy", "description": "Tidies up.", "size": kept[0]["size"]}]
    overridden = {"type": "agent_with_overrides", "id": agent["id"], "skills": []}
    assert (await server.session(agent=overridden))["agent"]["skills"] == []
    bare = {**overridden, "skills": [chosen], "tools": []}
    body = {"agent": bare, "environment_id": session["environment_id"]}
    assert "agent.skills" in refusal(await server.client.post("/v1/sessions", json=body), 400)


@pytest.mark.parametrize(
    ("name", "mount_path"), [("skills", None), ("x", "/workspace/skills/tidy"), ("x", "/workspace/skills/tidy/sub")]
)
async def test_a_repository_where_a_skill_is_to_be_is_refused(
    server: Server, name: str, mount_path: str | None
) -> None:
    skill = (await upload(server)).json()
    chosen = {"type": "custom", "skill_id": skill["id"]}
    agent = await server.agent(tools=[{"type": "agent_toolset_20260401"}], skills=[chosen])
    repository = {"type": "github_repository", "url": f"https://github.com/owner/{name}", "mount_path": mount_path}
    environment = await server.environment()
    body = {"agent": agent["id"], "environment_id": environment["id"], "resources": [repository]}
    said = refusal(await server.client.post("/v1/sessions", json=body), 400)
    assert "resources[0].mount_path" in said and "a skill at /workspace/skills/tidy" in said
    beside = {**repository, "mount_path": "/workspace/skills/other"}
    assert (await server.client.post("/v1/sessions", json={**body, "resources": [beside]})).status_code == 200


async def test_an_update_replaces_an_agents_skills_and_keeps_them_when_it_says_nothing(server: Server) -> None:
    skill = (await upload(server)).json()
    chosen = {"type": "custom", "skill_id": skill["id"], "version": "latest"}
    agent = await server.agent(tools=[{"type": "agent_toolset_20260401"}], skills=[chosen])
    path = f"/v1/agents/{agent['id']}"
    renamed = (await server.client.post(path, json={"name": "b"})).json()
    assert renamed["skills"] == [chosen]
    assert "skills" in refusal(await server.client.post(path, json={"tools": []}), 400)
    assert (await server.client.post(path, json={"skills": []})).json()["skills"] == []
    missing = await server.client.post(path, json={"skills": [{**chosen, "skill_id": "skill_x"}]})
    assert "skills[0]" in refusal(missing, 404, "not_found_error")
