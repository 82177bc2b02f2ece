"""What people lose elsewhere when their server is restarted, and keep here."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from tests.asks.stage import RestartableServer
from tests.conformance.scene import ASK, Json, Scene, bash, calls, message, of_type, says, text_of, toolset

END_TURN = {"type": "end_turn"}


def logged(events: list[Json]) -> list[Json]:
    """Events with their place in the log, without the queued copies that a stream shows first."""
    return [event for event in events if event["processed_at"]]


async def thinking(scene: Scene, *later: Json) -> str:
    """A session whose model request hangs; asked again, the model says *later*."""
    await scene.answers(says([scene.gate("never")]), *later)
    session = await scene.session(toolset())
    await scene.send(session, message("first"))
    await scene.shown(1)
    return session


async def test_a_stream_open_over_a_restart_ends_and_is_resumed_where_it_broke_off(
    server: RestartableServer, scene: Scene
) -> None:
    """Asks 1, 10, 11: after a restart a stream hung for ever, or its end was taken for the end of the session, or a
    new one repeated everything. Here it ends without a last event, and `Last-Event-ID` goes on behind what was seen."""
    session = await thinking(scene, says("second try"))
    seen: list[Json] = []
    async with scene.stream(session, {"after": (await scene.log(session))[0]["id"]}) as stream:
        with contextlib.suppress(StopAsyncIteration, httpx.HTTPError):
            await stream.next()
            restarting = asyncio.create_task(server.restart())
            await stream.rest()
        seen = [*logged(stream.events)]
    await restarting
    assert seen and not of_type(seen, "session.status_idle", "session.deleted")
    async with scene.stream(session, None, **{"last-event-id": seen[-1]["id"]}) as stream:
        await stream.until("session.status_idle")
        resumed = logged(stream.events)
    log = await scene.log(session)
    assert [event["id"] for event in (log[0], *seen, *resumed)] == [event["id"] for event in log]
    assert text_of(of_type(log, "agent.message")[0]) == "second try"


async def test_the_sdks_stream_does_not_hang_over_a_restart(server: RestartableServer, scene: Scene) -> None:
    """Asks 1, 13: what a program on the official SDK sees is the end of its loop, or an error: never silence."""
    session = await thinking(scene, says("second try"))

    async def read() -> list[str]:
        seen: list[str] = []
        with contextlib.suppress(httpx.HTTPError, Exception):
            async with await scene.client.beta.sessions.events.stream(session) as stream:
                opened.set()
                async for event in stream:
                    seen.append(event.type)
        return seen

    opened = asyncio.Event()
    reading = asyncio.create_task(read())
    await asyncio.wait_for(opened.wait(), 10)
    await server.restart()
    seen = await asyncio.wait_for(reading, 10)
    assert "session.status_idle" not in seen
    await scene.idle(session)


async def test_a_restarted_server_shows_the_model_the_whole_conversation_and_the_same_agent(
    server: RestartableServer, scene: Scene
) -> None:
    """Asks 2, 9: the screen showed the history, but the new brain got none of it, or another agent's instructions and
    tools. Here the request behind a restart is the one before it plus what was said since."""
    await scene.answers(calls(bash("echo 42")), says("it is 42"), says("still 42"))
    session = await scene.session(toolset(edit={"enabled": False}), scene_tool())
    await scene.turn(session, message("count"))
    before, snapshot = (await scene.shown(2))[-1], (await scene.retrieve(session))["agent"]
    await server.restart()
    assert (await scene.retrieve(session))["agent"] == snapshot
    await scene.turn(session, message("and now?"))
    after = (await scene.shown(3))[-1]
    assert after["system"] == before["system"] and after["tools"] == before["tools"] and len(after["tools"]) > 3
    said, earlier = without_marks(after["messages"]), without_marks(before["messages"])
    assert said[: len(earlier)] == earlier
    assert [each["role"] for each in said[len(earlier) :]] == ["assistant", "user"]
    assert "it is 42" in str(said[-2]) and "and now?" in str(said[-1])


def without_marks(messages: list[Json]) -> list[Json]:
    """Messages without the marks of what the model's server shall cache, which move on with the conversation."""
    blocks = [[{key: each[key] for key in each if key != "cache_control"} for each in m["content"]] for m in messages]
    return [{**m, "content": content} for m, content in zip(messages, blocks, strict=True)]


def scene_tool() -> Json:
    return {
        "type": "custom",
        "name": "weather",
        "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
    }


def ageless(session: Json) -> Json:
    """A session as it reads, without its age."""
    session["stats"].pop("duration_seconds")
    return session


async def test_restarting_again_and_again_keeps_every_session_and_event(
    server: RestartableServer, scene: Scene
) -> None:
    """Ask 3: every start wiped the store it was to resume from."""
    await scene.answers(says("hello"), says("hello"))
    agent = await scene.agent()
    sessions = [await scene.session(agent=agent) for _ in range(2)]
    logs = [await scene.turn(session) for session in sessions]
    rows = [ageless(await scene.retrieve(session)) for session in sessions]
    for _ in range(2):
        await server.restart()
        found = (await scene.get("/v1/sessions", {"agent_id": agent}))["data"]
        assert {each["id"] for each in found} == set(sessions)
        assert [await scene.log(session) for session in sessions] == logs
        assert [ageless(await scene.retrieve(session)) for session in sessions] == rows


async def test_a_turn_that_a_restart_cut_off_ends_and_the_session_is_not_running_for_ever(
    server: RestartableServer, scene: Scene
) -> None:
    """Asks 5, 6, 8: work stopped with its page, its connection or its server, and stood as "processing" until somebody
    repaired it by hand."""
    session = await thinking(scene, says("done"))
    assert (await scene.retrieve(session))["status"] == "running"
    await server.restart()
    log = await scene.idle(session)
    assert log[-1]["stop_reason"] == END_TURN and (await scene.retrieve(session))["status"] == "idle"


async def test_a_request_that_is_delivered_again_after_a_restart_starts_nothing(
    server: RestartableServer, scene: Scene
) -> None:
    """Ask 35: a redelivered request started a second worker on the same files. Here it gets the first one's answer,
    also from a process that never saw the first."""
    await scene.answers(says("once"), says("twice"))
    session = await scene.session()
    path, body = f"/v1/sessions/{session}/events", {"events": [message("do it")]}
    first = await scene.http.post(path, json=body, headers={"x-stainless-retry-count": "0"})
    log = await scene.idle(session)
    await server.restart()
    again = await scene.http.post(path, json=body, headers={"x-stainless-retry-count": "1"})
    assert again.json() == first.json() and again.status_code == 200
    assert await scene.log(session) == log
    assert len(await scene.shown(1)) == 1


async def test_an_approval_that_was_asked_for_before_a_restart_is_taken_after_it_once(
    server: RestartableServer, scene: Scene
) -> None:
    """Asks 37, 42: approvals were listed after a restart, but the handle to answer them was gone; or two answers ran
    the tool twice."""
    await scene.answers(calls(bash("echo ran >> approved; cat approved")), says("done"))
    session = await scene.session(toolset(bash=ASK))
    asked = (await scene.turn(session))[-1]["stop_reason"]["event_ids"]
    await server.restart()
    assert (await scene.log(session))[-1]["stop_reason"] == {"type": "requires_action", "event_ids": asked}
    yes: Json = {"type": "user.tool_confirmation", "tool_use_id": asked[0], "result": "allow"}
    await asyncio.gather(scene.send(session, yes), scene.send(session, yes))
    log = await scene.idle(session, 2)
    assert [text_of(result) for result in of_type(log, "agent.tool_result")] == ["ran"]
    await scene.send(session, yes)
    assert await scene.log(session) == log, "said once more, it changes nothing"
