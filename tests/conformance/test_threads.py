"""The primary thread (spec A.6): a row, a history and a stream beside the session's own."""

from __future__ import annotations

import asyncio

from tests.conformance.requirements import requirement
from tests.conformance.scene import Scene, message, says, toolset
from tests.conformance.sse import raw_stream


async def thread_of(scene: Scene, session: str) -> dict:
    page = await scene.get(f"/v1/sessions/{session}/threads")
    [thread] = page["data"]
    assert page["next_page"] is None
    return thread


@requirement("threads:primary")
async def test_the_primary_thread_follows_its_session(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "hi"]))
    session = await scene.session(toolset())
    thread = await thread_of(scene, session)
    resource = await scene.retrieve(session)
    assert thread["id"].startswith("sthr_") and thread["session_id"] == session
    assert thread["parent_thread_id"] is None and thread["workflow_run_id"] is None
    assert (thread["status"], thread["stats"], thread["usage"]) == ("idle", None, None)
    assert {**thread["agent"], "multiagent": None} == resource["agent"]
    await scene.send(session, message())
    await scene.shown(1)
    assert (await thread_of(scene, session))["status"] == "running"
    await scene.release("hold")
    await scene.idle(session)
    after = await scene.get(f"/v1/sessions/{session}/threads/{thread['id']}")
    assert after["status"] == "idle" and after["usage"]["input_tokens"] == 100
    assert set(after["stats"]) == {"active_seconds", "duration_seconds", "startup_seconds"}
    by_sdk = await scene.client.beta.sessions.threads.retrieve(thread["id"], session_id=session)
    assert by_sdk.status == "idle"


@requirement("threads:filters")
async def test_threads_are_filtered_by_status_and_known_by_their_session(scene: Scene) -> None:
    session, other = await scene.session(), await scene.session()
    thread, foreign = await thread_of(scene, session), await thread_of(scene, other)
    path = f"/v1/sessions/{session}/threads"
    assert len((await scene.get(path, {"statuses[]": ["idle", "running"]}))["data"]) == 1
    assert (await scene.get(path, {"statuses[]": "running"}))["data"] == []
    assert (await scene.http.get(path, params={"statuses[]": "asleep"})).status_code == 400
    for tail in ("", "/events", "/stream"):
        assert (await scene.http.get(f"{path}/{foreign['id']}{tail}")).status_code == 404
    assert (await scene.http.get(f"{path}/{thread['id']}")).status_code == 200


@requirement("threads:archive")
async def test_the_primary_thread_cannot_be_archived(scene: Scene) -> None:
    session = await scene.session()
    thread = await thread_of(scene, session)
    refused = await scene.http.post(f"/v1/sessions/{session}/threads/{thread['id']}/archive")
    assert refused.status_code == 400
    assert (await scene.retrieve(session))["status"] == "idle"


@requirement("threads:events")
async def test_the_primary_threads_history_and_stream_are_the_sessions(scene: Scene) -> None:
    await scene.answers(says("hi"))
    session = await scene.session()
    path = f"/v1/sessions/{session}/threads/{(await thread_of(scene, session))['id']}"
    async with raw_stream(scene.http, f"{path}/stream") as stream, asyncio.timeout(15):
        log = await scene.turn(session)
        await stream.until("session.status_idle")
    assert [event["id"] for event in stream.events if event["processed_at"]] == [event["id"] for event in log]
    assert (await scene.get(f"{path}/events"))["data"] == log
    first = await scene.get(f"{path}/events", {"limit": 4})
    rest = await scene.get(f"{path}/events", {"limit": 1000, "page": first["next_page"]})
    assert first["data"] + rest["data"] == log
