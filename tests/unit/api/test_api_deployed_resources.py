"""Resources of deployments (spec A.11): kept as given, attached whenever a session is made."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from anthropic.types.beta import BetaManagedAgentsDeployment
from api_fakes import Server, refusal

from agents.api.deployed_sessions import DeployedSessions
from agents.errors import Overloaded, Unavailable
from agents.ids import SessionId
from agents.repositories.resource import token_in
from agents.vaults.envelope import Envelope
from agents.vaults.master_keys import master_keys

HELLO = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
Json = dict[str, Any]


async def upload(server: Server) -> str:
    answer = await server.client.post("/v1/files", files={"file": ("a.txt", b"hello", "text/plain")})
    return answer.json()["id"]


async def deploy(server: Server, resources: list[Json], **environment: Any) -> Json:
    agent, place = await server.agent(), await server.environment(**environment)
    body = {"name": "d", "agent": agent["id"], "environment_id": place["id"], "initial_events": [HELLO]}
    answer = await server.client.post("/v1/deployments", json={**body, "resources": resources})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def run(server: Server, made: Json) -> Json:
    return (await server.client.post(f"/v1/deployments/{made['id']}/run")).json()


async def test_files_are_shown_as_given_and_mounted_in_each_session(server: Server) -> None:
    given = [{"type": "file", "file_id": await upload(server), "mount_path": "/in/a.txt"}]
    made = await deploy(server, given)
    assert made["resources"] == given
    BetaManagedAgentsDeployment.model_validate(made)
    copies: set[str] = set()
    for _ in range(2):
        session_id = (await run(server, made))["session_id"]
        [mounted] = (await server.client.get(f"/v1/sessions/{session_id}/resources")).json()["data"]
        assert mounted["mount_path"] == "/mnt/session/uploads/in/a.txt"
        copies.add(mounted["file_id"])
    assert len(copies | {given[0]["file_id"]}) == 3


async def test_a_repositorys_token_is_given_to_each_session_and_shown_to_nobody(server: Server) -> None:
    given: Json = {"type": "github_repository", "url": "https://github.com/o/r", "mount_path": "/workspace/r"}
    made = await deploy(server, [{**given, "authorization_token": "ghp_secret"}])
    assert made["resources"] == [given]
    session_id = (await run(server, made))["session_id"]
    [kept] = (await server.store.sessions.get(SessionId(session_id))).resources
    token = await token_in(kept, session_id, Envelope(master_keys(server.platform.settings)))
    assert token is not None and token.get_secret_value() == "ghp_secret"
    stored = await server.store.deployments.get(made["id"])
    assert "ghp_secret" not in repr(stored) and "key" in stored.body["resources"][0]
    await server.client.post(f"/v1/deployments/{made['id']}/archive")
    assert (await server.store.deployments.get(made["id"])).body["resources"] == [{"wire": given}]


async def test_what_is_checked_is_left_nowhere(server: Server) -> None:
    file = await upload(server)
    made = await deploy(server, [{"type": "file", "file_id": file}])
    everything = (await server.client.get("/v1/files")).json()["data"]
    assert [each["id"] for each in everything] == [file]
    cleared = await server.client.post(f"/v1/deployments/{made['id']}", json={"resources": None})
    assert cleared.json()["resources"] == []


async def test_a_file_that_is_gone_is_a_run_error(server: Server) -> None:
    file = await upload(server)
    made = await deploy(server, [{"type": "file", "file_id": file}])
    await server.client.delete(f"/v1/files/{file}")
    failed = await run(server, made)
    assert (failed["session_id"], failed["error"]["type"]) == (None, "file_not_found_error")
    assert file in failed["error"]["message"]


async def test_a_file_that_events_refer_to_is_looked_for_at_each_run(server: Server) -> None:
    file = await upload(server)
    agent, place = await server.agent(), await server.environment()
    document = {"type": "document", "source": {"type": "file", "file_id": file}}
    body = {"name": "d", "agent": agent["id"], "environment_id": place["id"]}
    events = [{"type": "user.message", "content": [document]}]
    made = (await server.client.post("/v1/deployments", json={**body, "initial_events": events})).json()
    assert (await run(server, made))["error"] is None
    await server.client.delete(f"/v1/files/{file}")
    assert (await run(server, made))["error"]["type"] == "file_not_found_error"


async def test_a_rubrics_file_is_read_at_each_run(server: Server) -> None:
    file = await upload(server)
    agent, place = await server.agent(), await server.environment()
    outcome = {"type": "user.define_outcome", "description": "d", "rubric": {"type": "file", "file_id": "file_x"}}
    body = {"name": "d", "agent": agent["id"], "environment_id": place["id"]}
    refused = await server.client.post("/v1/deployments", json={**body, "initial_events": [outcome]})
    assert refusal(refused, 400).startswith("initial_events[0].rubric.file_id")
    outcome = {**outcome, "rubric": {"type": "file", "file_id": file}}
    answer = await server.client.post("/v1/deployments", json={**body, "initial_events": [outcome]})
    assert answer.json()["initial_events"][0]["rubric"] == outcome["rubric"]
    assert (await run(server, answer.json()))["error"] is None
    await server.client.delete(f"/v1/files/{file}")
    assert (await run(server, answer.json()))["error"]["type"] == "file_not_found_error"


@pytest.mark.parametrize(
    ("act", "expected"), [("archive", "memory_store_archived_error"), ("", "session_resource_not_found_error")]
)
async def test_a_memory_store_that_is_over_is_a_run_error(server: Server, act: str, expected: str) -> None:
    store = (await server.client.post("/v1/memory_stores", json={"name": "m"})).json()["id"]
    given = [{"type": "memory_store", "memory_store_id": store, "access": "read_only"}]
    made = await deploy(server, given, config={"type": "self_hosted"})
    assert made["resources"] == given
    session_id = (await run(server, made))["session_id"]
    of_it = (await server.client.get("/v1/sessions", params={"memory_store_id": store})).json()["data"]
    assert [each["id"] for each in of_it] == [session_id]
    path = f"/v1/memory_stores/{store}"
    await (server.client.post(f"{path}/archive") if act else server.client.delete(path))
    assert (await run(server, made))["error"]["type"] == expected


async def test_files_cannot_be_mounted_where_the_environment_is_self_hosted(server: Server) -> None:
    made = await deploy(server, [{"type": "file", "file_id": await upload(server)}])
    elsewhere = (await server.environment(name="e2", config={"type": "self_hosted"}))["id"]
    answer = await server.client.post(f"/v1/deployments/{made['id']}", json={"environment_id": elsewhere})
    assert refusal(answer, 400).startswith("resources[0]")
    # As if the environment had become one since.
    await server.store.deployments.change(
        made["id"], lambda stored: replace(stored, body={**stored.body, "environment_id": elsewhere})
    )
    assert (await run(server, made))["error"]["type"] == "self_hosted_resources_unsupported_error"


async def test_an_update_loses_nothing_of_another_that_comes_between(server: Server, monkeypatch: Any) -> None:
    repository: Json = {"type": "github_repository", "url": "https://github.com/o/r", "mount_path": "/workspace/r"}
    made = await deploy(server, [{**repository, "authorization_token": "ghp_old"}])
    path, read = f"/v1/deployments/{made['id']}", server.store.environments.get
    waiting = [{"resources": [{**repository, "authorization_token": "ghp_new"}], "description": "rotated"}]

    async def then_another(environment_id: str) -> Any:
        if waiting:
            assert (await server.client.post(path, json=waiting.pop())).status_code == 200
        return await read(environment_id)

    elsewhere = (await server.environment(name="e2"))["id"]
    monkeypatch.setattr(server.store.environments, "get", then_another)
    changed = (await server.client.post(path, json={"environment_id": elsewhere})).json()
    assert (changed["environment_id"], changed["description"]) == (elsewhere, "rotated")
    session_id = (await run(server, made))["session_id"]
    [kept] = (await server.store.sessions.get(SessionId(session_id))).resources
    token = await token_in(kept, session_id, Envelope(master_keys(server.platform.settings)))
    assert token is not None and token.get_secret_value() == "ghp_new"


async def test_an_update_that_others_always_come_between_is_a_conflict(server: Server, monkeypatch: Any) -> None:
    made = await deploy(server, [])
    read, changes = server.store.environments.get, count()

    async def then_another(environment_id: str) -> Any:
        named = {"name": f"n{next(changes)}"}
        await server.store.deployments.change(made["id"], lambda stored: replace(stored, body={**stored.body, **named}))
        return await read(environment_id)

    monkeypatch.setattr(server.store.environments, "get", then_another)
    change = {"environment_id": made["environment_id"], "description": "lost"}
    answer = await server.client.post(f"/v1/deployments/{made['id']}", json=change)
    assert made["id"] in refusal(answer, 409, "conflict_error")
    assert next(changes) == 5


async def test_the_same_environment_again_is_no_change(server: Server) -> None:
    repository: Json = {"type": "github_repository", "url": "https://github.com/o/r", "mount_path": "/workspace/r"}
    made = await deploy(server, [{**repository, "authorization_token": "ghp_secret"}])
    before = await server.store.deployments.get(made["id"])
    again = await server.client.post(f"/v1/deployments/{made['id']}", json={"environment_id": made["environment_id"]})
    assert again.json()["updated_at"] == made["updated_at"]
    assert await server.store.deployments.get(made["id"]) == before


async def test_a_session_that_is_made_again_has_its_files_once(server: Server, monkeypatch: Any) -> None:
    one, other = await upload(server), await upload(server)
    given = [
        {"type": "file", "file_id": file, "mount_path": f"/{place}"} for place, file in enumerate((one, one, other))
    ]
    deployment = await server.store.deployments.get((await deploy(server, given))["id"])
    making, create = DeployedSessions(server.platform), server.host.create

    async def away(*_: object) -> None:
        monkeypatch.setattr(server.host, "create", create)
        raise Unavailable("the owner does not answer")

    monkeypatch.setattr(server.host, "create", away)
    reserved = making.reserve(server.platform.clock.now())
    with pytest.raises(Unavailable):
        await making.create(deployment, reserved)
    made = await making.create(deployment, reserved)
    listed = (await server.client.get("/v1/files", params={"scope_id": made.id})).json()["data"]
    assert {each["id"] for each in listed} == {each["wire"]["file_id"] for each in made.resources}
    assert len(listed) == 3


async def test_what_a_refused_session_had_attached_is_given_up(server: Server, monkeypatch: Any) -> None:
    made = await deploy(server, [{"type": "file", "file_id": await upload(server)}])
    wanted: list[str] = []

    async def full(record: Any, *_: object) -> None:
        [resource] = record.resources
        wanted.append(resource["wire"]["file_id"])
        await server.store.files.get(wanted[0])
        raise Overloaded("no room")

    monkeypatch.setattr(server.host, "create", full)
    assert (await run(server, made))["error"]["type"] == "session_rate_limited_error"
    refusal(await server.client.get(f"/v1/files/{wanted[0]}"), 404, "not_found_error")
