"""Event streams (spec B.4, B.5) and resuming them, which is ours."""

from __future__ import annotations

import asyncio

import anthropic
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, Json, Scene, bash, calls, message, of_type, says, toolset
from tests.conformance.sse import RawStream, raw_stream


def ids(events: list[Json]) -> list[str]:
    return [event["id"] for event in events]


@requirement("streams:framing")
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "*/*"])
async def test_frames_are_named_events_with_one_json_line(scene: Scene, accept: str) -> None:
    await scene.answers(says("line one\nline two\r\n\u2028three"))
    session = await scene.session()
    async with scene.stream(session, None, accept=accept) as stream:
        await scene.send(session, message())
        await stream.until("session.status_idle")
    assert stream.response.headers["cache-control"].startswith("no-cache")
    assert all(frame.name == frame.data["type"] for frame in stream.frames)
    logged = [frame for frame in stream.frames if frame.data["processed_at"]]
    assert [frame.id for frame in logged] == [frame.data["id"] for frame in logged]


@requirement("streams:open", "streams:order", "streams:pair")
async def test_a_stream_opens_before_any_event_and_shows_all_that_follow_in_order(scene: Scene) -> None:
    await scene.answers(says("one"), calls(bash("true")), says("two"))
    session = await scene.session(toolset())
    past = await scene.turn(session)
    async with scene.stream(session) as stream:
        [echo] = await scene.send(session, message())
        await stream.until("session.status_idle")
    log = await scene.log(session)
    assert stream.events[0] == echo and echo["processed_at"] is None
    assert stream.events[1:] == log[len(past) :]
    assert [event["id"] for event in stream.events].count(echo["id"]) == 2


@requirement("streams:open", "streams:framing")
async def test_the_sdk_reads_a_turn_from_its_stream(scene: Scene) -> None:
    await scene.answers(calls(bash("echo hi")), says("done"))
    session = await scene.session(toolset())
    seen: list[str] = []
    async with asyncio.timeout(15), await scene.client.beta.sessions.events.stream(session) as stream:
        await scene.send(session, message())
        async for event in stream:
            seen.append(event.type)
            if event.type == "session.status_idle":
                assert event.stop_reason.type == "end_turn"
                break
    assert seen[1:] == [event["type"] for event in await scene.log(session)]


@requirement("streams:unknown", "streams:deltas:invalid")
async def test_what_can_fail_fails_before_the_stream(scene: Scene) -> None:
    session = await scene.session()
    path = f"/v1/sessions/{session}/events/stream"
    for params, status in (
        ({"event_deltas[]": "agent.tool_use"}, 400),
        ({"event_deltas[]": ["agent.message"] * 101}, 400),
        ({"after": "sevt_none"}, 400),
        ({"after": ""}, 400),
    ):
        answer = await scene.http.get(path, params=params)
        assert answer.status_code == status and answer.json()["error"]["type"] == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError):
        await scene.client.beta.sessions.events.stream(session, event_deltas=["agent.nope"])  # type: ignore[list-item]
    with pytest.raises(anthropic.NotFoundError):
        await scene.client.beta.sessions.events.stream("sesn_none")


@requirement("streams:recipe")
async def test_stream_then_list_has_no_gap_at_any_moment_of_a_turn(scene: Scene) -> None:
    await scene.answers(*[calls(bash("true"), bash("echo x"))] * 3, says("done"))
    session = await scene.session(toolset())

    async def follow() -> list[str]:
        async with scene.stream(session) as stream:
            listed = await scene.log(session)
            seen = ids(listed)
            while not of_type(listed, "session.status_idle"):
                event = await stream.next()
                if event["id"] not in seen:
                    seen.append(event["id"])
                if event["type"] == "session.status_idle":
                    break
            return seen

    await scene.send(session, message())
    followers = [asyncio.create_task(follow())]
    for _ in range(5):
        await scene.log(session)
        followers.append(asyncio.create_task(follow()))
    async with asyncio.timeout(20):
        views = await asyncio.gather(*followers)
    log = ids(await scene.idle(session))
    # A message listed while it waited stands before its place in the log; all else is in the log's order.
    sent = of_type(await scene.log(session), "user.message")[0]["id"]
    for view in views:
        assert sorted(view) == sorted(log)
        assert [each for each in view if each != sent] == [each for each in log if each != sent]


@requirement("streams:keep-alive")
async def test_an_idle_stream_carries_comments(scene: Scene) -> None:
    session = await scene.session()
    async with scene.stream(session) as stream:
        words = [await stream.comment(20) for _ in range(3)]
    assert words[-1] == "keep-alive" and not stream.frames


@requirement("streams:keep-alive")
async def test_the_sdk_does_not_notice_keep_alives_and_ids(scene: Scene) -> None:
    await scene.answers(says("one"))
    session = await scene.session()
    async with scene.stream(session) as raw, await scene.client.beta.sessions.events.stream(session) as stream:
        await raw.comment(20)
        await raw.comment(20)
        await scene.send(session, message())
        async with asyncio.timeout(15):
            first = await anext(aiter(stream))
    assert first.type == "user.message" and first.model_extra == {}


async def resume(scene: Scene, session: str, after: str, by: str) -> RawStream:
    """Read a resumed stream up to the first idle."""
    params = {"after": after} if by == "query" else None
    headers = {"last-event-id": after} if by == "header" else {}
    async with scene.stream(session, params, **headers) as stream:
        await stream.until("session.status_idle")
    return stream


@requirement("streams:resume:header", "streams:resume:query")
@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_stream_resumes_after_any_event_without_loss_or_repeat(scene: Scene, by: str) -> None:
    await scene.answers(calls(bash("true")), says("one"))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    for place in (0, 3, len(log) - 2):
        stream = await resume(scene, session, log[place]["id"], by)
        assert stream.events == log[place + 1 :]
        assert [frame.id for frame in stream.frames] == ids(stream.events)


@requirement("streams:resume:header")
async def test_replay_joins_the_live_stream_seamlessly(scene: Scene) -> None:
    await scene.answers(says("one"), says([scene.gate("hold"), "two"]))
    session = await scene.session()
    log = await scene.turn(session)
    await scene.send(session, message())
    await scene.shown(2)
    async with scene.stream(session, None, **{"last-event-id": log[0]["id"]}) as stream:
        await stream.until("session.status_idle")
        await scene.release("hold")
        await stream.until("session.status_idle")
    assert ids(stream.events) == ids((await scene.log(session))[1:])


@requirement("streams:resume:query", "streams:recipe")
async def test_streams_resumed_in_the_middle_of_a_turn_neither_lose_nor_repeat(scene: Scene) -> None:
    await scene.answers(says("first"), *[calls(bash("true"), bash("true"))] * 8, says("done"))
    session = await scene.session(toolset())
    past = await scene.turn(session)

    async def follow() -> list[str]:
        async with scene.stream(session, {"after": past[-1]["id"]}) as stream:
            await stream.until("session.status_idle")
            return ids([event for event in stream.events if event["processed_at"]])

    async with asyncio.timeout(30):
        await scene.send(session, message())
        followers: list[asyncio.Task[list[str]]] = []
        while not followers or not followers[0].done():
            followers.append(asyncio.create_task(follow()))
            await asyncio.wait(followers, timeout=0.005, return_when=asyncio.ALL_COMPLETED)
        views = await asyncio.gather(*followers)
    whole = ids((await scene.log(session))[len(past) :])
    assert len(views) > 3 and all(view == whole for view in views)


@requirement("streams:resume:query")
async def test_an_event_of_another_session_is_no_place_to_resume_from(scene: Scene) -> None:
    await scene.answers(says("one"))
    session, other = await scene.session(), await scene.session()
    log = await scene.turn(session)
    refused = await scene.http.get(f"/v1/sessions/{other}/events/stream", params={"after": log[0]["id"]})
    assert refused.status_code == 400 and "after" in refused.json()["error"]["message"]


@requirement("streams:many", "streams:disconnect")
async def test_several_streams_see_the_same_and_one_that_leaves_harms_none(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"]))
    session = await scene.session()
    path = f"/v1/sessions/{session}/events/stream"
    async with raw_stream(scene.http, path) as first, raw_stream(scene.http, path) as second:
        async with raw_stream(scene.http, path) as leaver:
            await scene.send(session, message())
            await leaver.until("span.model_request_start")
        await scene.release("hold")
        await first.until("session.status_idle")
        await second.until("session.status_idle")
    assert first.events == second.events and leaver.events == first.events[: len(leaver.events)]


@requirement("streams:disconnect")
async def test_a_client_that_leaves_does_not_stop_its_session(scene: Scene) -> None:
    await scene.answers(calls(bash("sleep 0.3; echo late")), says("finished"))
    session = await scene.session(toolset())
    async with scene.stream(session) as stream:
        await scene.send(session, message())
        await stream.until("agent.tool_use")
    log = await scene.idle(session)
    assert of_type(log, "agent.message") and log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("streams:ends")
async def test_deleting_says_so_and_ends_the_stream(scene: Scene) -> None:
    session = await scene.session(CUSTOM)
    async with scene.stream(session) as stream, asyncio.timeout(15):
        await scene.client.beta.sessions.delete(session)
        rest = await stream.rest()
    assert [event["type"] for event in rest] == ["session.deleted"]
    assert rest[0]["id"] and rest[0]["processed_at"]


@requirement("streams:ends")
async def test_archiving_ends_the_stream_and_a_later_one_ends_at_once(scene: Scene) -> None:
    await scene.answers(says("one"))
    session = await scene.session()
    log = await scene.turn(session)
    async with asyncio.timeout(15):
        async with scene.stream(session) as stream:
            await scene.client.beta.sessions.archive(session)
            rest = await stream.rest()
        assert [event["type"] for event in rest] == ["session.thread_status_terminated", "session.status_terminated"]
        async with scene.stream(session) as later:
            assert await later.rest() == []
        async with scene.stream(session, {"after": log[-1]["id"]}) as replayed:
            assert await replayed.rest() == rest
        async with await scene.client.beta.sessions.events.stream(session) as by_sdk:
            assert [event async for event in by_sdk] == []
