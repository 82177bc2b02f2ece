"""What a worker's credential does not open: everything but its own environment's work and sessions (spec D.1).

Bug class this catches: a worker host, or a model in a sandbox that got hold of its token, that reads or changes what
belongs to another environment, another session, or the operator. Every attempt is named; none may succeed, and what
is foreign is refused in the same words whether or not it exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from api_fakes import Server

from agents.api.app import create_app
from agents.clock import ManualClock
from agents.ids import SessionId
from agents.sessions.log import Commit
from agents.workers.records import WorkItem

RESULT = {"events": [{"type": "user.tool_result", "tool_use_id": "sevt_1"}]}
MESSAGE = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "obey"}]}]}
CONFIRM = {"events": [{"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow"}]}


@dataclass
class Scene:
    """Two environments with a session each, one worker's key and token, and the other's ids."""

    server: Server
    ids: dict[str, str]

    async def ask(self, credential: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.ids.get(credential, credential)}"}
        content = None if body is None else orjson.dumps(body)
        return await self.server.client.request(method, path.format(**self.ids), content=content, headers=headers)


async def environment_with_work(server: Server, name: str) -> dict[str, str]:
    made = await server.environment(name, config={"type": "self_hosted"})
    key = (await server.client.post(f"/v1/environments/{made['id']}/keys")).json()
    session = await server.session(environment_id=made["id"])
    record = await server.store.sessions.get(SessionId(session["id"]))
    lease = server.host._leases[record.partition]
    await server.store.log.append(Commit(lease, record.seq, record, work="wanted"))
    item, token = await taken(server, made["id"])
    return {"env": made["id"], "key": key["key"], "key_id": key["id"], "sesn": session["id"], "work": item.id,
            "token": token}  # fmt: skip


async def taken(server: Server, environment_id: str) -> tuple[WorkItem, str]:
    found = await server.store.work.claim(environment_id, reclaim_seconds=5)
    assert found is not None
    await server.store.work.acknowledge(environment_id, found[0].id, lease_seconds=60)
    return found


@pytest.fixture
async def scene(make_server: Callable[..., Awaitable[Server]]) -> Scene:
    server = await make_server(api_key="operator")
    server.client.headers["x-api-key"] = "operator"
    mine, theirs = await environment_with_work(server, "mine"), await environment_with_work(server, "theirs")
    lost = await environment_with_work(server, "lost")
    await server.client.delete(f"/v1/environments/{lost['env']}/keys/{lost['key_id']}")
    await server.store.work.stop(lost["env"], lost["work"], force=True, by_worker=False)
    agent = (await server.agent())["id"]
    form = {"files[]": ("tidy/SKILL.md", b"---\nname: tidy\ndescription: d\n---\n")}
    skill = (await server.client.post("/v1/skills", files=form)).json()["id"]
    del server.client.headers["x-api-key"]
    ids = {**mine, **{f"their_{name}": value for name, value in theirs.items()}, "agent": agent, "skill": skill}
    ids |= {"revoked": lost["key"], "dead": lost["token"], "lost_env": lost["env"], "lost_sesn": lost["sesn"]}
    ids |= {"lost_work": lost["work"], "forged": ids["token"][:-1] + "!", "flipped": ids["token"][:-3] + "AAA"}
    ids |= {"guessed": ids["key"][:-3] + "AAA", "swapped": ids["token"].replace(mine["work"], theirs["work"])}
    return Scene(server, ids)


THEIR_WORK = "/v1/environments/{their_env}/work"
MY_WORK = "/v1/environments/{env}/work"
ATTEMPTS: dict[str, tuple[str, str, str, Any]] = {
    # An environment's key, at another environment.
    "key polls another environment": ("key", "GET", f"{THEIR_WORK}/poll", None),
    "key acknowledges another environment's item": ("key", "POST", THEIR_WORK + "/{their_work}/ack", None),
    "key beats another environment's item": ("key", "POST", THEIR_WORK + "/{their_work}/heartbeat", None),
    "key stops another environment's item": ("key", "POST", THEIR_WORK + "/{their_work}/stop", {"force": True}),
    "key counts another environment's queue": ("key", "GET", f"{THEIR_WORK}/stats", None),
    "key lists another environment's queue": ("key", "GET", THEIR_WORK, None),
    "key reads another environment's item": ("key", "GET", THEIR_WORK + "/{their_work}", None),
    "key marks another environment's item": ("key", "POST", THEIR_WORK + "/{their_work}", {"metadata": {"a": "b"}}),
    "key reads a foreign session": ("key", "GET", "/v1/sessions/{their_sesn}", None),
    "key lists a foreign session's events": ("key", "GET", "/v1/sessions/{their_sesn}/events", None),
    "key streams a foreign session": ("key", "GET", "/v1/sessions/{their_sesn}/events/stream", None),
    "key answers a foreign session's call": ("key", "POST", "/v1/sessions/{their_sesn}/events", RESULT),
    "key reads a session that is not there": ("key", "GET", "/v1/sessions/sesn_none", None),
    # An environment's key, at what is the operator's.
    "key reads its environment": ("key", "GET", "/v1/environments/{env}", None),
    "key changes its environment": ("key", "POST", "/v1/environments/{env}", {"name": "x"}),
    "key deletes its environment": ("key", "DELETE", "/v1/environments/{env}", None),
    "key archives its environment": ("key", "POST", "/v1/environments/{env}/archive", None),
    "key makes a key": ("key", "POST", "/v1/environments/{env}/keys", None),
    "key lists keys": ("key", "GET", "/v1/environments/{env}/keys", None),
    "key revokes a key": ("key", "DELETE", "/v1/environments/{env}/keys/{key_id}", None),
    "key lists environments": ("key", "GET", "/v1/environments", None),
    "key makes an environment": ("key", "POST", "/v1/environments", {"name": "x"}),
    "key lists agents": ("key", "GET", "/v1/agents", None),
    "key reads an agent": ("key", "GET", "/v1/agents/{agent}", None),
    "key changes an agent": ("key", "POST", "/v1/agents/{agent}", {"name": "x"}),
    "key lists sessions": ("key", "GET", "/v1/sessions", None),
    "key makes a session": ("key", "POST", "/v1/sessions", {"agent": "{agent}", "environment_id": "{env}"}),
    "key changes its session": ("key", "POST", "/v1/sessions/{sesn}", {"title": "x"}),
    "key deletes its session": ("key", "DELETE", "/v1/sessions/{sesn}", None),
    "key archives its session": ("key", "POST", "/v1/sessions/{sesn}/archive", None),
    "key lists its session's threads": ("key", "GET", "/v1/sessions/{sesn}/threads", None),
    "key sends a message": ("key", "POST", "/v1/sessions/{sesn}/events", MESSAGE),
    "key confirms a call": ("key", "POST", "/v1/sessions/{sesn}/events", CONFIRM),
    "key lists vaults": ("key", "GET", "/v1/vaults", None),
    "key makes a vault": ("key", "POST", "/v1/vaults", {"display_name": "x"}),
    "key lists memory stores": ("key", "GET", "/v1/memory_stores", None),
    "key reads memories": ("key", "GET", "/v1/memory_stores/memstore_1/memories", None),
    "key lists files": ("key", "GET", "/v1/files", None),
    "key lists skills": ("key", "GET", "/v1/skills", None),
    "key reads a skill": ("key", "GET", "/v1/skills/{skill}", None),
    "key lists a skill's versions": ("key", "GET", "/v1/skills/{skill}/versions", None),
    "key deletes a skill": ("key", "DELETE", "/v1/skills/{skill}", None),
    "key reads a skill that is not there": ("key", "GET", "/v1/skills/skill_none/versions/latest", None),
    "key asks a model": ("key", "POST", "/v1/messages", {}),
    "key lists models": ("key", "GET", "/v1/models", None),
    "key looks at the brains": ("key", "GET", "/-/brains", None),
    "key releases a brain": ("key", "POST", "/-/brains/b/release", {}),
    "key calls a hand": ("key", "POST", "/hands/crm/mcp", {}),
    "key lists hands": ("key", "GET", "/-/hands", None),
    "key adds a hand": ("key", "POST", "/-/hands", {"name": "x", "definition": {"server": "x.py:server"}}),
    "key reads a hand": ("key", "GET", "/-/hands/crm", None),
    "key removes a hand": ("key", "DELETE", "/-/hands/crm@1.0", None),
    "key reads a hand's releases": ("key", "GET", "/-/hands/crm/release", None),
    "key releases a hand": ("key", "POST", "/-/hands/crm/release", {}),
    "key promotes a hand": ("key", "POST", "/-/hands/crm/promote", {}),
    "key reads what others have used": ("key", "GET", "/-/usage?by=tenant", None),
    "key has the books looked through": ("key", "POST", "/-/usage/reconcile", {}),
    "key reads what others pay": ("key", "GET", "/-/invoices?month=2026-11", None),
    "key changes where sessions go": ("key", "POST", "/-/topology", {}),
    "key reads a file": ("key", "GET", "/v1/files/file_1/content", None),
    # A sessions token, beyond its item.
    "token polls": ("token", "GET", f"{MY_WORK}/poll", None),
    "token acknowledges": ("token", "POST", MY_WORK + "/{work}/ack", None),
    "token counts the queue": ("token", "GET", f"{MY_WORK}/stats", None),
    "token lists the queue": ("token", "GET", MY_WORK, None),
    "token reads its item": ("token", "GET", MY_WORK + "/{work}", None),
    "token marks its item": ("token", "POST", MY_WORK + "/{work}", {"metadata": {"a": "b"}}),
    "token beats another item": ("token", "POST", THEIR_WORK + "/{their_work}/heartbeat", None),
    "token beats another item by way of its environment": ("token", "POST", MY_WORK + "/{their_work}/heartbeat", None),
    "token stops another item": ("token", "POST", THEIR_WORK + "/{their_work}/stop", {"force": True}),
    "token reads a foreign session": ("token", "GET", "/v1/sessions/{their_sesn}", None),
    "token lists a foreign session's events": ("token", "GET", "/v1/sessions/{their_sesn}/events", None),
    "token streams a foreign session": ("token", "GET", "/v1/sessions/{their_sesn}/events/stream", None),
    "token answers a foreign session's call": ("token", "POST", "/v1/sessions/{their_sesn}/events", RESULT),
    "token confirms its own call": ("token", "POST", "/v1/sessions/{sesn}/events", CONFIRM),
    "token steers its session": ("token", "POST", "/v1/sessions/{sesn}/events", MESSAGE),
    "token deletes its session": ("token", "DELETE", "/v1/sessions/{sesn}", None),
    "token makes a key": ("token", "POST", "/v1/environments/{env}/keys", None),
    "token lists agents": ("token", "GET", "/v1/agents", None),
    "token lists vaults": ("token", "GET", "/v1/vaults", None),
    "token calls a hand": ("token", "POST", "/hands/crm/mcp", {}),
    "token lists hands": ("token", "GET", "/-/hands", None),
    "token reads what others have used": ("token", "GET", "/-/usage?by=session", None),
    "token reads its environment": ("token", "GET", "/v1/environments/{env}", None),
    "token lists its environment's keys": ("token", "GET", "/v1/environments/{env}/keys", None),
    "token streams a thread of a foreign session": ("token", "GET", "/v1/sessions/{their_sesn}/threads/t/stream", None),
    "token reads a file": ("token", "GET", "/v1/files/file_1/content", None),
    "token reads a skill that its session has not": ("token", "GET", "/v1/skills/{skill}/versions/latest", None),
    "token downloads a skill that its session has not": (
        "token",
        "GET",
        "/v1/skills/{skill}/versions/latest/content",
        None,
    ),
    "token asks a model": ("token", "POST", "/v1/messages", {}),
    # Credentials that are no more, or never were.
    "revoked key polls": ("revoked", "GET", "/v1/environments/{lost_env}/work/poll", None),
    "revoked key reads its session": ("revoked", "GET", "/v1/sessions/{lost_sesn}", None),
    "dead token reads its session": ("dead", "GET", "/v1/sessions/{lost_sesn}", None),
    "dead token streams its session": ("dead", "GET", "/v1/sessions/{lost_sesn}/events/stream", None),
    "dead token answers a call": ("dead", "POST", "/v1/sessions/{lost_sesn}/events", RESULT),
    "forged token reads the session": ("forged", "GET", "/v1/sessions/{sesn}", None),
    "flipped token beats": ("flipped", "POST", MY_WORK + "/{work}/heartbeat", None),
    "token in another item's name beats": ("swapped", "POST", THEIR_WORK + "/{their_work}/heartbeat", None),
    "guessed key polls": ("guessed", "GET", f"{MY_WORK}/poll", None),
    "no credential polls": ("", "GET", f"{MY_WORK}/poll", None),
    "the item's id polls": ("work", "GET", f"{MY_WORK}/poll", None),
    "the key's id polls": ("key_id", "GET", f"{MY_WORK}/poll", None),
    # Paths that look like something else.
    "key climbs out of the queue": ("key", "GET", MY_WORK + "/../../{their_env}/work/poll", None),
    "key climbs encoded": ("key", "GET", MY_WORK + "/%2e%2e/%2e%2e/{their_env}/work/poll", None),
    "key climbs to agents": ("key", "GET", MY_WORK + "/poll/../../../../agents", None),
    "key hides a slash": ("key", "GET", "/v1/environments/{env}%2Fwork%2Fpoll%2F..%2F..%2F/keys", None),
    "key doubles a slash": ("key", "GET", "//v1/agents", None),
    "key ends with a slash": ("key", "GET", "/v1/agents/", None),
    "key appends its session to another": ("key", "GET", "/v1/sessions/{their_sesn};{sesn}", None),
    "key puts its own id into the query": ("key", "GET", THEIR_WORK + "/poll?environment_id={env}", None),
    "token ends the id with a NUL": ("token", "GET", "/v1/sessions/{sesn}%00", None),
    "key writes the id in small letters": ("key", "GET", "/v1/sessions/{their_sesn}".lower(), None),
    "key asks by another method": ("key", "DELETE", MY_WORK + "/{work}", None),
    "key overrides the method": ("key", "POST", "/v1/environments/{env}?_method=GET", None),
}


async def test_no_attempt_succeeds(scene: Scene) -> None:
    told: dict[str, str] = {}
    for name, (credential, method, path, body) in ATTEMPTS.items():
        answer = await scene.ask(credential, method, path, body)
        leaks = scene.ids["their_sesn"] in answer.text or scene.ids["their_work"] in answer.text
        if answer.status_code not in (401, 403, 404) or leaks:
            told[name] = f"{answer.status_code}: {answer.text}"
    assert told == {} and len(ATTEMPTS) >= 40


async def test_what_is_a_workers_own_is_open_to_it(scene: Scene) -> None:
    ids = scene.ids
    beat = await scene.ask("token", "POST", MY_WORK + "/{work}/heartbeat?expected_last_heartbeat=NO_HEARTBEAT")
    assert beat.json()["state"] == "active"
    for credential in ("key", "token"):
        for path in ("/v1/sessions/{sesn}", "/v1/sessions/{sesn}/events"):
            assert (await scene.ask(credential, "GET", path)).status_code == 200
        assert (await scene.ask(credential, "POST", "/v1/sessions/{sesn}/events", RESULT)).status_code == 200
    for path in (MY_WORK, f"{MY_WORK}/poll", f"{MY_WORK}/stats", MY_WORK + "/{work}"):
        assert (await scene.ask("key", "GET", path)).status_code == 200
    assert (await scene.ask("key", "POST", MY_WORK + "/{work}", {"metadata": {"a": "b"}})).status_code == 200
    for path in ("/v1/skills/{skill}/versions/latest", "/v1/skills/{skill}/versions/latest/content"):
        assert (await scene.ask("key", "GET", path)).status_code == 200
    assert (await scene.ask("token", "POST", MY_WORK + "/{work}/stop", {"force": True})).json()["state"] == "stopped"
    assert (await scene.ask("token", "GET", "/v1/sessions/{sesn}")).status_code == 401
    again = await scene.ask("token", "POST", MY_WORK + "/{work}/heartbeat?expected_last_heartbeat=x")
    assert (again.status_code, again.json()["state"], again.json()["lease_extended"]) == (200, "stopped", False)
    assert ids["key"] not in beat.text


async def test_the_operators_key_opens_all_of_it(scene: Scene) -> None:
    for path in (MY_WORK, f"{MY_WORK}/poll", f"{MY_WORK}/stats", MY_WORK + "/{work}", "/v1/sessions/{sesn}"):
        assert (await scene.ask("operator", "GET", path)).status_code == 200
    stopping = await scene.ask("operator", "POST", MY_WORK + "/{work}/stop")
    assert stopping.json()["state"] == "stopping"


async def test_a_key_is_refused_from_the_request_after_its_revocation_on(scene: Scene) -> None:
    assert (await scene.ask("key", "GET", f"{MY_WORK}/poll")).status_code == 200
    revoked = await scene.ask("operator", "DELETE", "/v1/environments/{env}/keys/{key_id}")
    assert revoked.json() == {"id": scene.ids["key_id"], "type": "environment_key_revoked"}
    assert (await scene.ask("key", "GET", f"{MY_WORK}/poll")).status_code == 401
    assert (await scene.ask("token", "GET", "/v1/sessions/{sesn}")).status_code == 200  # its lease still stands


async def test_a_token_dies_with_its_lease(scene: Scene) -> None:
    clock = ManualClock(scene.server.platform.clock.now())
    scene.server.store.work._clock = clock
    await scene.ask("token", "POST", MY_WORK + "/{work}/heartbeat?expected_last_heartbeat=NO_HEARTBEAT")
    clock.advance(61)
    await taken(scene.server, scene.ids["env"])
    assert (await scene.ask("token", "GET", "/v1/sessions/{sesn}")).status_code == 401
    beat = await scene.ask("token", "POST", MY_WORK + "/{work}/heartbeat")
    assert (beat.status_code, beat.json()["error"]["details"]["error_code"]) == (412, "heartbeat_precondition_failed")
    assert (await scene.ask("token", "POST", MY_WORK + "/{work}/stop", {"force": True})).status_code == 409


async def test_an_open_server_still_wants_a_workers_key_for_its_work(make_server: Any) -> None:
    server = await make_server()
    made = await environment_with_work(server, "open")
    scene = Scene(server, made)
    for name in ("poll", "{work}/ack", "{work}/heartbeat"):
        method = "GET" if name == "poll" else "POST"
        assert (await scene.ask("anything", method, f"{MY_WORK}/{name}")).status_code == 401
    assert (await scene.ask("key", "GET", f"{MY_WORK}/poll")).status_code == 200
    assert (await scene.ask("sk-ant-oat01-hcenv-nonsense", "GET", "/v1/agents")).status_code == 401
    assert (await scene.ask("key", "GET", "/v1/agents")).status_code == 403


async def test_keys_are_shown_once_and_only_for_self_hosted_environments(server: Server) -> None:
    cloud = await server.environment("cloud")
    assert (await server.client.post(f"/v1/environments/{cloud['id']}/keys")).status_code == 400
    made = await server.environment("mine", config={"type": "self_hosted"})
    path = f"/v1/environments/{made['id']}/keys"
    new = (await server.client.post(path, json={"name": "rack 1"})).json()
    assert new["key"].startswith("sk-ant-oat01-") and new["id"].startswith("envkey_")
    (listed,) = (await server.client.get(path)).json()["data"]
    assert listed == {name: value for name, value in new.items() if name != "key"}
    assert new["key"] not in str(await server.store.environment_keys.find(listed["id"]))
    assert (await server.client.delete(f"{path}/envkey_none")).status_code == 404
    assert (await server.client.post("/v1/environments/env_none/keys")).status_code == 404
    assert create_app(server.platform).openapi()["paths"]["/v1/environments/{environment_id}/keys"]
