"""``/v1/skills`` (spec A.10), and what agents, sessions and workers do with them (spec C.5, D.3)."""

from __future__ import annotations

import io
import secrets
import zipfile

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.requirements import requirement
from tests.conformance.scene import Scene, bash, calls, ordered_results, says, text_of, toolset
from tests.conformance.worker_site import Site, results_of, site

__all__ = ["site"]


def files(name: str, description: str = "Tidies up.") -> list[tuple[str, bytes]]:
    md = f"---\nname: {name}\ndescription: {description}\n---\nRun scripts/run.sh.\n"
    return [(f"{name}/SKILL.md", md.encode()), (f"{name}/scripts/run.sh", b"#!/bin/sh\necho tidied\n")]


def chosen(skill_id: str) -> dict[str, str]:
    return {"type": "custom", "skill_id": skill_id, "version": "latest"}


@pytest.fixture
def name() -> str:
    return f"tidy-{secrets.token_hex(4)}"


@requirement("skills:create", "skills:list")
def test_a_skill_is_made_listed_and_deleted(client: Anthropic, name: str) -> None:
    made = client.beta.skills.create(files=files(name), display_name="Tidy up")
    assert (made.display_name, made.source.type) == ("Tidy up", "custom")
    assert client.beta.skills.retrieve(made.id) == made
    assert made in list(client.beta.skills.list(limit=1))
    assert list(client.beta.skills.list(source="anthropic")) == []
    assert client.beta.skills.delete(made.id).type == "skill_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.beta.skills.retrieve(made.id)


@requirement("skills:versions", "skills:download")
def test_versions_are_added_downloaded_and_deleted(client: Anthropic, name: str) -> None:
    skill = client.beta.skills.create(files=files(name))
    versions = client.beta.skills.versions
    second = versions.create(skill.id, files=files(name, "Tidies all."))
    latest = versions.retrieve("latest", skill_id=skill.id)
    assert latest == second and (latest.name, latest.description) == (name, "Tidies all.")
    assert [each.id for each in versions.list(skill.id)] == [second.id, skill.latest_version_id]
    with zipfile.ZipFile(io.BytesIO(versions.download(second.id, skill_id=skill.id).read())) as archive:
        assert archive.namelist() == [f"{name}/SKILL.md", f"{name}/scripts/run.sh"]
    assert versions.delete(second.id, skill_id=skill.id).type == "skill_version_deleted"
    assert client.beta.skills.retrieve(skill.id).latest_version_id == skill.latest_version_id
    with pytest.raises(anthropic.BadRequestError):
        versions.delete(skill.latest_version_id, skill_id=skill.id)


@requirement("skills:name-taken")
def test_a_name_is_one_skills_and_never_changes(client: Anthropic, name: str) -> None:
    skill = client.beta.skills.create(files=files(name))
    with pytest.raises(anthropic.ConflictError, match="skill_name_taken"):
        client.beta.skills.create(files=files(name))
    with pytest.raises(anthropic.BadRequestError):
        client.beta.skills.versions.create(skill.id, files=files(f"other-{name}"))


@requirement("skills:refused")
@pytest.mark.parametrize("path", ["x/../SKILL.md", "/x/SKILL.md", "SKILL.md", "x/README.md"])
def test_an_upload_that_is_no_skill_is_refused(http: httpx.Client, path: str) -> None:
    content = b"---\nname: x\ndescription: d\n---\n"
    answer = http.post("/v1/skills", files=[("files[]", (path, content))])
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith("files")


@requirement("agents:skills", "workers:skills")
async def test_the_sdks_worker_has_the_skills_of_its_session(site: Site, name: str) -> None:
    scene = site.scene
    skill = await scene.client.beta.skills.create(files=files(name))
    agent = await scene.agent(toolset(), skills=[chosen(skill.id)])
    session = await scene.session(agent=agent, environment_id=site.id)
    shown = (await scene.retrieve(session))["agent"]["skills"]
    assert shown == [{**chosen(skill.id), "version": skill.latest_version_id}]
    await scene.answers(calls(bash(f"skills/{name}/scripts/run.sh")), says("done"))
    async with site.serving():
        log = await site.turn(session)
    assert text_of(results_of(log)[0]).strip() == "tidied"
    system = (await scene.shown(1))[0]["system"]
    assert f"<location>skills/{name}/SKILL.md</location>" in str(system)


@requirement("skills:mounted")
async def test_a_session_reads_its_skills_and_cannot_change_them(scene: Scene, name: str) -> None:
    skill = await scene.client.beta.skills.create(files=files(name))
    directory = f"/workspace/skills/{name}"
    await scene.answers(
        calls(
            ("read", {"file_path": f"{directory}/SKILL.md"}),
            bash(f"{directory}/scripts/run.sh"),
            bash(f"echo x >> {directory}/SKILL.md"),
        ),
        says("done"),
    )
    session = await scene.session(agent=await scene.agent(toolset(), skills=[chosen(skill.id)]))
    # A version that is newer than the session is for later sessions.
    await scene.client.beta.skills.versions.create(skill.id, files=files(name, "Changed."))
    read, run, changed = ordered_results(await scene.turn(session))
    assert text_of(read).startswith(f"---\nname: {name}\ndescription: Tidies up.")
    assert (text_of(run).strip(), changed["is_error"]) == ("tidied", True)
    system = str((await scene.shown(1))[0]["system"])
    assert f"<location>{directory}/SKILL.md</location>" in system and "Tidies up." in system


@requirement("skills:overrides")
async def test_a_sessions_agent_can_have_other_skills(scene: Scene, name: str) -> None:
    one = await scene.client.beta.skills.create(files=files(name))
    other = await scene.client.beta.skills.create(files=files(f"{name}-other"))
    agent = await scene.agent(toolset(), skills=[chosen(one.id)])
    look = bash("ls /workspace/skills 2>/dev/null || echo none")
    for skills, shown, there in (
        ({"skills": [chosen(other.id)]}, [other.latest_version_id], f"{name}-other"),
        ({"skills": None}, [], "none"),
        ({}, [one.latest_version_id], name),
    ):
        await scene.answers(calls(look), says("done"))
        session = await scene.session(agent={"type": "agent_with_overrides", "id": agent, **skills})
        kept = (await scene.retrieve(session))["agent"]["skills"]
        assert [each["version"] for each in kept] == shown
        assert text_of(ordered_results(await scene.turn(session))[0]).strip() == there
    stored = await scene.client.beta.agents.retrieve(agent)
    assert [each.skill_id for each in stored.skills] == [one.id]
