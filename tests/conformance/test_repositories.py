"""Git repositories as resources of sessions, from a server that wants a token, through real sandboxes (spec A.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, bash, calls, of_type, ordered_results, says, text_of, toolset
from tests.unit.repositories.git_server import TOKEN, GitServer, git, new_repository


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return new_repository(tmp_path)


@pytest.fixture
async def server(origin: Path) -> AsyncIterator[GitServer]:
    async with GitServer(origin.parent, TOKEN).running() as running:
        yield running


def repository(server: GitServer, **more: object) -> Json:
    url = f"{server.url}/project.git"
    return {"type": "github_repository", "url": url, "authorization_token": TOKEN, **more}


@requirement("repositories:mounted", "repositories:token-hidden")
async def test_a_session_has_a_copy_and_the_token_is_nowhere(scene: Scene, server: GitServer) -> None:
    look = "cd project && cat README && echo && git branch --show-current && touch new && git add new && git status -s"
    search = f"grep -rs {TOKEN[4:]} /workspace /home /tmp || env | grep {TOKEN[4:]} || echo nowhere"
    await scene.answers(calls(bash(look), bash(search)), says("done"))
    session = await scene.session(toolset(), resources=[repository(server)])
    (shown,) = (await scene.retrieve(session))["resources"]
    assert (shown["mount_path"], shown["checkout"]) == ("/workspace/project", None)
    resources = scene.client.beta.sessions.resources
    got = await resources.retrieve(shown["id"], session_id=session)
    assert got.type == "github_repository" and got.url == shown["url"]
    log = await scene.turn(session)
    looked, searched = map(text_of, ordered_results(log))
    assert looked.split() == ["main", "main", "A", "new"]
    assert searched.strip() == "nowhere"
    assert of_type(log, "session.error") == []
    system = str((await scene.shown(1))[0]["system"])
    assert "project.git at /workspace/project" in system
    for text in (str(await scene.retrieve(session)), str(log), str(await scene.shown(2))):
        assert TOKEN not in text.replace(search, "")
    with pytest.raises(anthropic.BadRequestError, match="stays with its session"):
        await resources.delete(shown["id"], session_id=session)


@requirement("repositories:checkout")
async def test_a_branch_or_a_commit_is_checked_out_where_it_is_wanted(
    scene: Scene, server: GitServer, origin: Path
) -> None:
    sha = git(origin, "rev-parse", "main")
    branch, commit = {"type": "branch", "name": "feature/x"}, {"type": "commit", "sha": sha}
    wanted = [
        repository(server, checkout=branch, mount_path="/workspace/a"),
        repository(server, checkout=commit, mount_path="/workspace/b/c"),
    ]
    look = "cat a/README b/c/README; echo; git -C a branch --show-current; git -C b/c rev-parse HEAD"
    await scene.answers(calls(bash(look)), says("done"))
    session = await scene.session(toolset(), resources=wanted)
    assert [each["checkout"] for each in (await scene.retrieve(session))["resources"]] == [branch, commit]
    (result,) = ordered_results(await scene.turn(session))
    assert text_of(result).split() == ["featuremain", "feature/x", sha]


@requirement("repositories:errors", "repositories:token-rotated")
async def test_a_session_goes_on_without_a_repository_and_gets_it_with_another_token(
    scene: Scene, server: GitServer
) -> None:
    await scene.answers(
        calls(bash("ls /workspace")), calls(bash("ls /workspace")), says("one"),
        calls(bash("cat project/README")), says("two"),
    )  # fmt: skip
    session = await scene.session(toolset(), resources=[repository(server, authorization_token="ghp_wrong")])
    log = await scene.turn(session)
    (error,) = [each["error"] for each in of_type(log, "session.error")]
    assert (error["type"], error["retry_status"]) == ("repository_authentication_error", {"type": "retrying"})
    assert error["repository_url"] == f"{server.url}/project.git" and "ghp_" not in str(log)
    first, second = map(text_of, ordered_results(log))
    assert "could not be copied" in first and "could not be copied" not in second
    (shown,) = (await scene.retrieve(session))["resources"]
    resources = scene.client.beta.sessions.resources
    changed = await resources.update(shown["id"], session_id=session, authorization_token=TOKEN)
    assert changed.type == "github_repository" and changed.id == shown["id"]
    log = await scene.turn(session)
    assert text_of(ordered_results(log)[0]).strip() == "main" and of_type(log, "session.error") == []


@requirement("repositories:errors")
@pytest.mark.parametrize(
    ("status", "given", "type_"),
    [
        (403, {}, "repository_forbidden_error"),
        (404, {}, "repository_not_found_error"),
        (None, {"checkout": {"type": "branch", "name": "gone"}}, "repository_checkout_error"),
        (301, {}, "repository_clone_error"),
    ],
)
async def test_each_failure_has_its_error(
    scene: Scene, server: GitServer, status: int | None, given: Json, type_: str
) -> None:
    server.refuses = status
    await scene.answers(calls(bash("ls")), says("done"))
    session = await scene.session(toolset(), resources=[repository(server, **given)])
    log = await scene.turn(session)
    assert [each["error"]["type"] for each in of_type(log, "session.error")] == [type_]
    assert (await scene.retrieve(session))["status"] == "idle"


@requirement("repositories:skills")
async def test_skills_of_a_repository_are_told_with_the_first_result(
    scene: Scene, server: GitServer, origin: Path, tmp_path: Path
) -> None:
    work, path = tmp_path / "work", ".claude/skills/tidy/SKILL.md"
    (work / path).parent.mkdir(parents=True)
    (work / path).write_text("---\nname: tidy\ndescription: Tidies up.\n---\nRun it.\n")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "skills")
    git(work, "push", "-q", str(origin), "main")
    await scene.answers(calls(bash("true")), calls(("read", {"file_path": f"/workspace/project/{path}"})), says("done"))
    session = await scene.session(toolset(), resources=[repository(server)])
    told, read = map(text_of, ordered_results(await scene.turn(session)))
    assert f"- tidy (/workspace/project/{path}): Tidies up." in told
    assert read.endswith("Run it.\n") and "system-note" not in read


@requirement("repositories:refused")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"url": "ftp://example.com/o/r"}, "url"),
        ({"checkout": {"type": "commit", "sha": "main"}}, "checkout.sha"),
        ({"checkout": {"type": "branch", "name": "a..b"}}, "checkout.name"),
        ({"mount_path": "/etc/x"}, "mount_path"),
        ({"authorization_token": "with space"}, "authorization_token"),
    ],
)
async def test_what_names_no_repository_is_refused_by_its_field(
    scene: Scene, server: GitServer, given: Json, field: str
) -> None:
    body = {"agent": await scene.agent(), "environment_id": scene.environment_id}
    answer = await scene.http.post("/v1/sessions", json=body | {"resources": [repository(server, **given)]})
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(f"resources[0].{field}: ")


@requirement("repositories:at-creation")
async def test_a_repository_is_given_when_the_session_is_made(scene: Scene, server: GitServer) -> None:
    session = await scene.session()
    answer = await scene.http.post(f"/v1/sessions/{session}/resources", json=repository(server))
    assert answer.status_code == 400
    resources = [repository(server), repository(server)]
    body = {"agent": await scene.agent(), "environment_id": scene.environment_id, "resources": resources}
    answer = await scene.http.post("/v1/sessions", json=body)
    assert answer.status_code == 400 and "/workspace/project is taken" in answer.json()["error"]["message"]
