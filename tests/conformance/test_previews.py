"""Previews on a stream that asked for them (spec B.2, "Stream-only previews")."""

from __future__ import annotations

import asyncio
from typing import Any

from anthropic.lib.sessions import accumulate_managed_agents_event

from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, bash, calls, message, of_type, says, text_of, toolset
from tests.conformance.sse import RawStream

BOTH = {"event_deltas[]": ["agent.message", "agent.thinking"]}
MESSAGES = {"event_deltas[]": "agent.message"}
THINKING = {"event_deltas[]": "agent.thinking"}


def thinking(text: str = "hm") -> Json:
    return {"type": "thinking", "thinking": text}


def previews(events: list[Json]) -> list[Json]:
    return of_type(events, "event_start", "event_delta")


def text_so_far(events: list[Json], event_id: str) -> str:
    found = [event for event in of_type(events, "event_delta") if event["event_id"] == event_id]
    assert {event["delta"].get("index", 0) for event in found} <= {0}
    return "".join(event["delta"]["content"]["text"] for event in found)


@requirement("streams:deltas:prefix")
async def test_deltas_build_the_text_of_the_event_they_announce(scene: Scene) -> None:
    first, second = ["one ", "two ", scene.gate("hold"), "three"], ["tail"]
    await scene.answers(
        {
            "content": [
                {"type": "text", "text": first},
                {"type": "text", "text": second},
                *calls(bash("true"))["content"],
            ]
        },
        says(["final", "ly"]),
    )
    session = await scene.session(toolset())
    async with scene.stream(session, MESSAGES) as stream:
        await scene.send(session, message())
        await stream.until("event_delta")
        start = of_type(stream.events, "event_start")[0]
        assert set(start) == {"type", "event"} and start["event"]["type"] == "agent.message"
        assert "one two three".startswith(text_so_far(stream.events, start["event"]["id"]))
        await scene.release("hold")
        await stream.until("session.status_idle")
    messages = of_type(stream.events, "agent.message")
    assert [text_of(event) for event in messages] == ["one two three", "tail", "finally"]
    starts = [event["event"]["id"] for event in of_type(stream.events, "event_start")]
    assert starts == [event["id"] for event in messages]
    for event in messages:
        place = stream.events.index(event)
        assert text_of(event).startswith(text_so_far(stream.events[:place], event["id"]))
        assert text_so_far(stream.events[place:], event["id"]) == ""
        assert text_so_far(stream.events, event["id"])


@requirement("streams:deltas:accumulate")
async def test_the_sdks_accumulator_follows_and_ends_on_the_final_message(scene: Scene) -> None:
    await scene.answers(says([f"word{n} " for n in range(40)]), says(["a", "b"]))
    session = await scene.session()
    snapshot: Any = None
    grown: list[str] = []
    async with asyncio.timeout(15):
        stream = await scene.client.beta.sessions.events.stream(session, event_deltas=["agent.message"])
        async with stream:
            await scene.send(session, message())
            async for event in stream:
                snapshot = accumulate_managed_agents_event(snapshot, event)
                if event.type == "event_delta":
                    grown.append(snapshot.content[0].text)
                if event.type == "session.status_idle":
                    break
    whole = "".join(f"word{n} " for n in range(40))
    assert snapshot.content[0].text == whole and snapshot.processed_at.year >= 2026
    assert grown and all(whole.startswith(text) for text in grown)
    assert grown == sorted(grown, key=len)


@requirement("streams:deltas:opt-in", "streams:deltas:history")
async def test_previews_go_only_to_streams_that_asked_and_never_into_history(scene: Scene) -> None:
    await scene.answers({"content": [thinking(), {"type": "text", "text": ["a", "b"]}]})
    session = await scene.session()
    plain, messages, thoughts, both = (scene.stream(session, params) for params in (None, MESSAGES, THINKING, BOTH))
    async with plain as none, messages as texts, thoughts as marks, both as everything:
        await scene.send(session, message())
        streams: list[RawStream] = [none, texts, marks, everything]
        for stream in streams:
            await stream.until("session.status_idle")

    def kinds(stream: RawStream) -> list[str]:
        return [event["event"]["type"] for event in of_type(stream.events, "event_start")]

    assert previews(none.events) == []
    assert kinds(texts) == ["agent.message"] and kinds(marks) == ["agent.thinking"]
    assert kinds(everything) == ["agent.thinking", "agent.message"]
    assert not of_type(marks.events, "event_delta") and of_type(texts.events, "event_delta")
    log = await scene.log(session)
    assert not previews(log)
    for stream in streams:
        rest = [event for event in stream.events if event not in previews(stream.events)]
        assert rest[1:] == log
    async with scene.stream(session, {**BOTH, "after": log[0]["id"]}) as replayed:
        await replayed.until("session.status_idle")
    assert replayed.events == log[1:]


@requirement("streams:deltas:thinking")
async def test_thinking_is_announced_and_concluded_by_its_event(scene: Scene) -> None:
    await scene.answers({"content": [thinking(), scene.gate("hold"), {"type": "text", "text": "so"}]})
    session = await scene.session()
    async with scene.stream(session, THINKING) as stream:
        await scene.send(session, message())
        start = await stream.until("event_start")
        await scene.release("hold")
        await stream.until("session.status_idle")
    [mark] = of_type(stream.events, "agent.thinking")
    assert start["event"] == {"type": "agent.thinking", "id": mark["id"]}


@requirement("streams:deltas:broken", "events:retry:mid-stream")
async def test_the_end_of_a_failed_request_closes_its_previews(scene: Scene) -> None:
    await scene.answers(says(["half", {"drop": True}]), says("whole"))
    session = await scene.session()
    async with scene.stream(session, MESSAGES) as stream:
        await scene.send(session, message())
        await stream.until("session.status_idle")
    kinds = stream.types
    first, second = of_type(stream.events, "event_start")
    end = kinds.index("span.model_request_end")
    assert kinds.index("event_start") < end
    assert text_so_far(stream.events[end:], first["event"]["id"]) == ""
    [final] = of_type(stream.events, "agent.message")
    assert final["id"] == second["event"]["id"] != first["event"]["id"]


@requirement("streams:deltas:prefix")
async def test_a_stream_that_comes_late_sees_no_delta_without_its_start(scene: Scene) -> None:
    await scene.answers(says(["one", scene.gate("hold"), "two", scene.gate("more"), "three"]))
    session = await scene.session()
    async with scene.stream(session, MESSAGES) as early:
        await scene.send(session, message())
        await early.until("event_delta")
        async with scene.stream(session, MESSAGES) as late:
            await scene.release("hold")
            await early.until("event_delta")
            await scene.release("more")
            await late.until("session.status_idle")
    assert not previews(late.events)
    assert text_of(of_type(late.events, "agent.message")[0]) == "onetwothree"
