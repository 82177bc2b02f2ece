"""Self-hosted environments: the SDK's own workers, unmodified, serve sessions of this server (spec A.3, D)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from io import StringIO
from typing import Any

import anthropic
import httpx
import orjson
import pytest
from anthropic import Anthropic
from anthropic.types.beta.environments.beta_heartbeat_precondition_failed_error import (
    BetaHeartbeatPreconditionFailedError,
)
from rich.console import Console

from agents.commands.environments import create_key, list_keys, revoke_key
from tests.conformance.requirements import requirement
from tests.conformance.scene import ASK, CUSTOM, END, Scene, bash, calls, message, of_type, says, text_of, toolset
from tests.conformance.sse import PATIENCE
from tests.conformance.worker_site import Site, results_of, site

__all__ = ["site"]


@requirement("environments:self-hosted", "workers:serves", "workers:item:created", "workers:item:again")
async def test_the_sdks_worker_serves_a_session_from_its_first_call_to_its_last(site: Site) -> None:
    scene, file = site.scene, str(site.workdir / "a.txt")
    await scene.answers(
        calls(("write", {"file_path": file, "content": "one\ntwo\n"}), bash("echo three >> a.txt; pwd")),
        calls(("read", {"file_path": file}), ("grep", {"pattern": "t.o", "path": str(site.workdir)})),
        calls(("edit", {"file_path": file, "old_string": "two", "new_string": "2"}), bash("cat a.txt; exit 3")),
        says("done"),
        calls(bash("cat a.txt")),
        says("still there"),
    )
    session = await site.session()
    assert (await scene.retrieve(session))["agent"]["tools"][0]["type"] == "agent_toolset_20260401"
    (item,) = await site.items()
    assert (item["state"], item["data"], item["secret"]) == ("queued", {"type": "session", "id": session}, None)
    async with site.serving():
        log = await site.turn(session)
        assert [text_of(each) for each in results_of(log)][1:3] == [str(site.workdir), "one\ntwo\nthree\n"]
        last = results_of(log)[-1]
        assert last["is_error"] and text_of(last).startswith("one\n2\nthree") and last["processed_at"]
        assert of_type(log, "agent.tool_result") == [] and [each["type"] for each in log[-3:]] == END
        stopped = await site.until("stopped")
        assert stopped["id"] == item["id"] and stopped["acknowledged_at"] and stopped["started_at"]
        again = await site.turn(session)  # the session lay dormant: its message makes another item
        assert text_of(results_of(again)[0]) == "one\n2\nthree"
    assert [each["data"]["id"] for each in await site.items()] == [session, session]


@requirement("workers:several")
async def test_several_workers_share_a_queue_and_each_call_is_answered_once(site: Site) -> None:
    scene = site.scene
    await scene.answers(*[calls(bash("echo ran >> count; echo ok")) for _ in range(4)], *[says("done")] * 4)
    sessions = [await site.session() for _ in range(4)]
    await asyncio.gather(*(scene.send(session, message()) for session in sessions))
    async with site.serving(2):
        for session in sessions:
            log = await scene.until(session, "agent.message")
            assert [text_of(each) for each in results_of(log)] == ["ok"]
    assert (site.workdir / "count").read_text() == "ran\n" * 4


@requirement("workers:lost:killed", "workers:lost:refused", "workers:heartbeat:precondition")
async def test_a_worker_that_dies_in_a_call_loses_its_lease_and_another_finishes(site: Site) -> None:
    scene = site.scene
    await scene.answers(calls(bash("echo finished")), says("done"))
    session = await site.session()
    item, dead = await site.take()
    first = await dead.beat(item["id"], "NO_HEARTBEAT")
    await scene.turn(session)  # it waits for the worker, which has died
    async with site.serving():
        log = await scene.until(session, "agent.message")
    assert [text_of(each) for each in results_of(log)] == ["finished"]
    refused = await dead.beat(item["id"], first["last_heartbeat"], 412)
    assert refused["error"]["details"]["error_code"] == "heartbeat_precondition_failed"
    async with site.client(dead.token) as client:
        with pytest.raises(BetaHeartbeatPreconditionFailedError) as refusal:
            await client.beta.environments.work.heartbeat(
                item["id"], environment_id=site.id, expected_last_heartbeat=first["last_heartbeat"]
            )
        assert refusal.value.details.current_state.lease_extended is False
        for ask in (client.beta.sessions.retrieve, client.beta.sessions.events.list):
            with pytest.raises(anthropic.AuthenticationError):
                await ask(session)


@requirement("workers:heartbeat", "workers:poll:null", "workers:poll:reclaim", "workers:ack", "workers:stats")
async def test_the_queue_does_what_the_protocol_says(site: Site) -> None:
    empty = await site.scene.http.get(f"{site.work}/poll", headers={"authorization": f"Bearer {site.key}"})
    assert (empty.status_code, empty.content) == (200, b"null")
    session = await site.session()
    (item,) = await site.poll()
    assert (item["state"], item["data"]["id"]) == ("queued", session)
    stats = await site.ask("GET", f"{site.work}/stats")
    assert (stats["depth"], stats["pending"]) == (0, 1) and stats["oldest_queued_at"] == item["created_at"]
    assert stats["workers_polling"] == 1
    assert await site.poll(block_ms=1) == []
    async with asyncio.timeout(PATIENCE):
        while not (reclaimed := await site.poll(reclaim_older_than_ms=1)):
            pass
    (again,) = reclaimed
    assert again["id"] == item["id"] and again["secret"] != item["secret"]
    path = f"{site.work}/{item['id']}"
    taken = await site.ask("POST", f"{path}/ack")
    assert (taken["state"], taken["secret"]) == ("starting", None) and taken["acknowledged_at"]
    beat = await site.ask("POST", f"{path}/heartbeat", params={"expected_last_heartbeat": "NO_HEARTBEAT"})
    assert (beat["state"], beat["lease_extended"], beat["ttl_seconds"]) == ("active", True, 2)
    assert (await site.ask("POST", f"{path}/heartbeat", params={"desired_ttl_seconds": 30}))["ttl_seconds"] == 30
    await site.ask("POST", f"{path}/ack", status=409)
    marked = await site.ask("POST", path, json={"metadata": {"rack": "1", "gone": None}})
    assert marked["metadata"] == {"rack": "1"} == (await site.scene.get(path))["metadata"]
    stopping = (await site.scene.http.post(f"{path}/stop")).json()
    assert stopping["state"] == "stopping" and stopping["stop_requested_at"]
    told = await site.ask("POST", f"{path}/heartbeat", params={"expected_last_heartbeat": "whatever"})
    assert (told["state"], told["lease_extended"]) == ("stopping", False)
    for _ in range(2):
        assert (await site.ask("POST", f"{path}/stop", json={"force": True}))["state"] == "stopped"
    for bad in ({"block_ms": 0}, {"block_ms": 1000}, {"reclaim_older_than_ms": "x"}):
        await site.ask("GET", f"{site.work}/poll", status=400, params=bad)
    await site.ask("GET", f"{site.work}/work_none", status=404)


@requirement("workers:stop:graceful")
async def test_a_worker_that_is_asked_to_stop_answers_the_call_under_way_and_goes(site: Site) -> None:
    scene = site.scene
    await scene.answers(calls(bash("until [ -e go ]; do sleep 0.02; done; echo finished")), says("done"))
    session = await site.session()
    await scene.turn(session)
    async with site.serving(max_idle=None) as (worker,):
        item = await site.until("active")
        assert (await scene.http.post(f"{site.work}/{item['id']}/stop")).json()["state"] == "stopping"
        (site.workdir / "go").touch()
        assert (await site.until("stopped"))["id"] == item["id"] and not worker.done()
    log = await scene.until(session, "agent.message")
    assert [text_of(each) for each in results_of(log)] == ["finished"]


@requirement("workers:item:interrupt")
async def test_what_an_operator_stopped_rests_until_an_interrupt(site: Site) -> None:
    scene = site.scene
    await scene.answers(calls(bash("echo never")))
    session = await site.session()
    await scene.turn(session)
    item, holder = await site.take()
    await holder.beat(item["id"], "NO_HEARTBEAT")
    path = f"{site.work}/{item['id']}/stop"
    await scene.http.post(path)
    await site.ask("POST", path, holder.token, json={"force": True})
    assert await site.poll(block_ms=1) == []
    await scene.send(session, {"type": "user.interrupt"})
    (again,) = await site.poll()
    assert again["id"] != item["id"] and again["data"]["id"] == session
    (closed,) = results_of(await scene.log(session))
    assert closed["is_error"]


@requirement("workers:stop:force", "workers:revoked")
async def test_a_forced_stop_and_a_revoked_key_end_a_worker(site: Site) -> None:
    scene = site.scene
    session = await site.session()
    item, holder = await site.take()
    await holder.beat(item["id"], "NO_HEARTBEAT")
    headers, stop = {"authorization": f"Bearer {holder.token}"}, f"{site.work}/{item['id']}/stop"
    async with scene.http.stream("GET", f"/v1/sessions/{session}/events/stream", headers=headers) as stream:
        assert stream.status_code == 200
        assert (await scene.http.post(stop, json={"force": True})).json()["state"] == "stopped"
        async with asyncio.timeout(PATIENCE):
            await stream.aread()  # what the token has opened is closed
    told = await holder.beat(item["id"], "anything")
    assert (told["state"], told["lease_extended"]) == ("stopped", False)
    await site.ask("GET", f"/v1/sessions/{session}", holder.token, 401)
    async with site.serving() as (worker,):
        revoked = await scene.http.delete(f"/v1/environments/{site.id}/keys/{site.key_id}")
        assert revoked.status_code == 200
        async with asyncio.timeout(PATIENCE):
            with pytest.raises(anthropic.AuthenticationError):
                await worker


@requirement("workers:drain")
async def test_draining_ends_at_the_first_empty_poll(site: Site) -> None:
    sessions = {await site.session() for _ in range(3)}
    async with site.client() as client:
        work, key = client.beta.environments.work, site.key
        items = work.poller(environment_id=site.id, environment_key=key, drain=True, block_ms=None, auto_stop=False)
        found = [item.data.id async for item in items]
    assert set(found) == sessions and len(found) == 3


@requirement("workers:terminated")
async def test_a_worker_lets_go_of_a_session_that_is_over(site: Site) -> None:
    scene = site.scene
    await scene.answers(calls(bash("echo one")), says("done"))
    session = await site.session()
    async with site.serving(max_idle=None):
        await scene.turn(session)
        await scene.until(session, "agent.message")
        await scene.idle(session, 2)
        await scene.client.beta.sessions.archive(session)
        await site.until("stopped")
    unserved = await site.session()
    await scene.client.beta.sessions.archive(unserved)
    assert await site.poll(block_ms=1) == []


@requirement("workers:confirmation", "workers:custom", "workers:interrupt")
async def test_confirmations_custom_tools_and_interrupts_beside_a_worker(site: Site) -> None:
    scene = site.scene
    await scene.answers(
        calls(bash("echo confirmed"), ("weather", {"city": "Ulm"})), says("done"), calls(bash("rm -r /")), says("pity")
    )
    session = await site.session(toolset(bash=ASK), CUSTOM)
    log = await scene.turn(session)
    gated, custom = of_type(log, "agent.tool_use", "agent.custom_tool_use")
    stop = of_type(log, "session.status_idle")[-1]["stop_reason"]
    assert stop == {"type": "requires_action", "event_ids": [gated["id"], custom["id"]]}
    error = await scene.refused(session, {"type": "user.tool_result", "tool_use_id": gated["id"]})
    assert "confirmation" in error["message"]
    async with site.serving():
        confirmation = {"type": "user.tool_confirmation", "tool_use_id": gated["id"], "result": "allow"}
        await scene.send(session, confirmation)
        log = await scene.until(session, "user.tool_result")
        assert text_of(results_of(log)[0]) == "confirmed"
        answer = {"type": "user.custom_tool_result", "custom_tool_use_id": custom["id"], "content": []}
        await scene.send(session, answer)
        await scene.until(session, "agent.message")
        log = await scene.turn(session)
        (denied,) = of_type(log, "agent.tool_use")
        await scene.send(session, {"type": "user.tool_confirmation", "tool_use_id": denied["id"], "result": "deny"})
        log = await scene.until(session, "agent.message", 2)
    assert [each["tool_use_id"] for each in of_type(log, "agent.tool_result")] == [denied["id"]]
    repeated = await scene.send(session, {"type": "user.tool_result", "tool_use_id": gated["id"],
                                          "content": results_of(log)[0]["content"], "is_error": False})  # fmt: skip
    assert repeated[0]["id"] == results_of(log)[0]["id"]
    other = {"type": "user.tool_result", "tool_use_id": gated["id"], "content": [], "is_error": True}
    await scene.refused(session, other)
    await scene.refused(session, {**other, "tool_use_id": "sevt_none"})


@requirement("workers:scope", "workers:results-only")
async def test_a_workers_credentials_open_nothing_else(site: Site, scene: Scene) -> None:
    session, foreign = await site.session(), await scene.session()
    item, holder = await site.take()
    await holder.beat(item["id"], "NO_HEARTBEAT")
    for credential in (site.key, holder.token):
        async with site.client(credential) as client:
            assert (await client.beta.sessions.retrieve(session)).id == session
            for ask in (
                lambda: client.beta.sessions.retrieve(foreign),
                lambda: client.beta.agents.list(),
                lambda: client.beta.sessions.archive(session),
                lambda: client.beta.sessions.events.send(session, events=[message()]),  # type: ignore[list-item]
            ):
                with pytest.raises(anthropic.PermissionDeniedError):
                    await _awaited(ask)
    result = {"type": "user.tool_result", "tool_use_id": "sevt_1"}
    error = await scene.refused(foreign, result)
    assert "self_hosted" in error["message"]


async def _awaited(ask: Callable[[], Awaitable[Any]]) -> Any:
    return await ask()


@requirement("workers:keys")
async def test_keys_are_shown_once_listed_without_and_revoked(site: Site, http: httpx.Client) -> None:
    path = f"/v1/environments/{site.id}/keys"
    made = http.post(path).json()
    assert made["key"].startswith("sk-ant-oat01-") and made["name"] == ""
    listed = http.get(path).json()
    assert {each["id"] for each in listed["data"]} == {site.key_id, made["id"]}
    assert b"oat01" not in orjson.dumps(listed)
    assert http.delete(f"{path}/{made['id']}").json() == {"id": made["id"], "type": "environment_key_revoked"}
    revoked = {each["id"]: each["revoked_at"] for each in http.get(path).json()["data"]}
    assert revoked[made["id"]] and not revoked[site.key_id]


@requirement("workers:keys")
def test_the_command_line_makes_lists_and_revokes_keys(client: Anthropic) -> None:
    made = client.beta.environments.create(name="by command", config={"type": "self_hosted"})
    console = Console(file=StringIO(), width=200)
    create_key(console, client, made.id, "rack 2", as_json=False)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    key, key_id = said.split()[0], said.split()[1].rstrip(":")
    assert key.startswith("sk-ant-oat01-")
    list_keys(console, client, made.id, as_json=False)
    revoke_key(console, client, made.id, key_id, as_json=False)
    later = console.file.getvalue()[len(said) :]  # type: ignore[attr-defined]
    assert key_id in later and "rack 2" in later and "is revoked" in later and key not in later


@requirement("workers:resources")
async def test_files_and_repositories_cannot_be_mounted(site: Site, scene: Scene) -> None:
    for resource in (
        {"type": "file", "file_id": "file_1"},
        {"type": "github_repository", "url": "https://github.com/o/r"},
    ):
        body = {"agent": await scene.agent(), "environment_id": site.id, "resources": [resource]}
        assert (await scene.http.post("/v1/sessions", json=body)).status_code == 400
