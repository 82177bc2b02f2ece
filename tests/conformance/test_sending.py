"""Sending and listing events (spec A.5, B.1)."""

from __future__ import annotations

import base64
from typing import Any

import anthropic
import pytest

from tests.conformance.platform import MAX_QUEUED
from tests.conformance.requirements import requirement
from tests.conformance.scene import Json, Scene, message, of_type, says, text_of, toolset

PNG = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
        "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
).decode()


@requirement("events:send:echo", "events:send:batch")
async def test_a_send_is_answered_with_the_stored_events_in_order(scene: Scene) -> None:
    session = await scene.session()
    echoes = await scene.send(session, message("a"), message("b"), {"type": "user.interrupt"}, message("c"))
    assert len({echo["id"] for echo in echoes}) == 4
    assert [set(echo) for echo in echoes[:2]] == [{"id", "type", "content", "processed_at"}] * 2
    assert [echo["content"] for echo in echoes[:2]] == [[{"type": "text", "text": t}] for t in "ab"]
    assert echoes[0]["processed_at"] is None
    log = await scene.idle(session)
    assert [text_of(event) for event in of_type(log, "user.message")] == ["a", "b", "c"]
    assert [e["id"] for e in of_type(log, "user.message")] == [echoes[0]["id"], echoes[1]["id"], echoes[3]["id"]]


@requirement("events:send:batch")
async def test_a_request_with_one_bad_event_stores_none(scene: Scene) -> None:
    session = await scene.session()
    bad = {"type": "user.tool_confirmation", "tool_use_id": "sevt_none", "result": "allow"}
    await scene.refused(session, message("good"), bad)
    await scene.refused(session, message("good"), {"type": "user.message", "content": []})
    assert await scene.log(session) == []
    assert (await scene.retrieve(session))["status"] == "idle"


def block(**fields: Any) -> Json:
    return {"type": "user.message", "content": [fields]}


def image(**source: Any) -> Json:
    return block(type="image", source=source)


@requirement("events:send:validation")
@pytest.mark.parametrize(
    "event, named",
    [
        ({"type": "agent.message", "content": []}, "events[0].type"),
        ({"type": "session.status_idle"}, "events[0].type"),
        ({"type": "user.message", "content": []}, "events[0].content"),
        ({"type": "user.message", "content": "text"}, "events[0].content"),
        (message(""), "events[0].content[0].text"),
        (message(" \n\t"), "events[0].content[0].text"),
        (block(type="redacted"), "events[0].content[0]"),
        (block(type="video"), "events[0].content[0].type"),
        (image(type="base64", media_type="image/tiff", data=PNG), "events[0].content[0].source.media_type"),
        (image(type="base64", media_type="image/png", data="%%%"), "events[0].content[0].source.data"),
        (image(type="url", url="file:///etc/passwd"), "events[0].content[0].source.url"),
        (image(type="file", file_id=""), "events[0].content[0].source.file_id"),
        ({"type": "user.interrupt", "session_thread_id": "sthr_none"}, "events[0].session_thread_id"),
        ({"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "maybe"}, "events[0].result"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_events_that_say_nothing_legal_are_refused_by_name(scene: Scene, event: Json, named: str) -> None:
    session = await scene.session()
    assert named in (await scene.refused(session, event))["message"]
    assert await scene.log(session) == []


@requirement("events:send:validation")
async def test_a_send_has_one_to_a_hundred_events(scene: Scene) -> None:
    session = await scene.session()
    await scene.refused(session)
    await scene.refused(session, *[message("x")] * 101)


@requirement("events:send:content")
async def test_text_images_and_documents_reach_the_model(scene: Scene) -> None:
    content: list[Json] = [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            "title": "T",
            "context": "C",
        },
    ]
    await scene.answers(says("seen"))
    session = await scene.session()
    log = await scene.turn(session, {"type": "user.message", "content": content})
    [stored] = of_type(log, "user.message")
    assert [{k: v for k, v in each.items() if v is not None} for each in stored["content"]] == content
    shown = (await scene.shown(1))[0]["messages"][0]["content"]
    shown[-1].pop("cache_control")
    assert [{k: v for k, v in each.items() if v is not None} for each in shown] == content


@requirement("events:list:filters")
async def test_history_is_filtered_by_type_and_time(scene: Scene) -> None:
    await scene.answers(says("one"), says("two"))
    session = await scene.session()
    log = await scene.turn(session)
    await scene.turn(session)
    kinds = {"types[]": ["user.message", "agent.message"]}
    found = [event["type"] for event in await scene.log(session, **kinds)]
    assert found == ["user.message", "agent.message"] * 2
    moment = log[-1]["processed_at"]
    whole = await scene.log(session)
    assert await scene.log(session, **{"created_at[lte]": moment}) == whole[: len(log)]
    assert await scene.log(session, **{"created_at[lt]": moment}) == whole[: len(log) - 1]
    assert await scene.log(session, **{"created_at[gt]": moment}) == whole[len(log) :]
    assert await scene.log(session, **{"created_at[gte]": moment}) == whole[len(log) - 1 :]
    for kind in ("session.deleted", "event_start", "event_delta", "nope"):
        assert (await scene.http.get(f"/v1/sessions/{session}/events", params={"types[]": kind})).status_code == 400
    with pytest.raises(anthropic.BadRequestError):
        await scene.client.beta.sessions.events.list(session, types=["nope"])  # type: ignore[list-item]
    by_sdk = await scene.client.beta.sessions.events.list(session, types=["user.message", "workflow_run.created"])
    assert [event.type for event in by_sdk.data] == ["user.message"] * 2


@requirement("events:list:order", "events:list:cursors")
@pytest.mark.parametrize("order", [None, "asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4])
async def test_pages_of_history_join_without_gap(scene: Scene, order: str | None, limit: int) -> None:
    await scene.answers(says("one"))
    session = await scene.session()
    log = await scene.turn(session)
    query: Json = {"limit": limit} | ({"order": order} if order else {})
    paged = await scene.log(session, **query)
    assert paged == (log[::-1] if order == "desc" else log)
    refused = await scene.http.get(f"/v1/sessions/{session}/events", params={"limit": 1001})
    assert refused.status_code == 400


@requirement("events:list:cursors")
async def test_a_cursor_of_history_belongs_to_its_session(scene: Scene) -> None:
    await scene.answers(says("one"))
    session, other = await scene.session(), await scene.session()
    await scene.turn(session)
    cursor = (await scene.get(f"/v1/sessions/{session}/events", {"limit": 2}))["next_page"]
    for path, query in ((other, {}), (session, {"order": "desc"})):
        answer = await scene.http.get(f"/v1/sessions/{path}/events", params={"page": cursor, **query})
        assert answer.status_code == 400


@requirement("events:list:queued")
async def test_waiting_messages_are_listed_last_and_once(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"]), says("two"))
    session = await scene.session()
    await scene.send(session, message("first"))
    await scene.shown(1)
    queued = [echo["id"] for echo in await scene.send(session, message("a"), message("b"), message("c"))]
    for order in ("asc", "desc"):
        for limit in (1, 2, 1000):
            ids = [event["id"] for event in await scene.log(session, order=order, limit=limit)]
            assert (ids[-3:] if order == "asc" else ids[:3][::-1]) == queued
            assert len(set(ids)) == len(ids)
    waiting = [event for event in await scene.log(session) if event["id"] in queued]
    assert [event["processed_at"] for event in waiting] == [None] * 3
    await scene.release("hold")
    log = await scene.idle(session)
    assert [event["id"] for event in log if event["id"] in queued] == queued
    assert all(event["processed_at"] for event in log)


@requirement("events:queue:bounded")
async def test_a_full_queue_refuses_and_loses_nothing(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"]), says("two"))
    session = await scene.session()
    await scene.send(session, message("first"))
    await scene.shown(1)
    kept = await scene.send(session, *[message(f"{n}") for n in range(MAX_QUEUED)])
    await scene.refused(session, message("too much"), status=429)
    with pytest.raises(anthropic.RateLimitError):
        await scene.client.beta.sessions.events.send(session, events=[message()])  # type: ignore[list-item]
    await scene.release("hold")
    log = await scene.idle(session)
    assert [event["id"] for event in of_type(log, "user.message")[1:]] == [echo["id"] for echo in kept]
    await scene.answers(says("three"))
    assert (await scene.turn(session))[-1]["type"] == "session.status_idle"


@requirement("events:send:echo")
async def test_the_sdk_sends_and_reads_typed_events(scene: Scene) -> None:
    await scene.answers(says("hello"))
    session = await scene.session(toolset())
    sent = await scene.client.beta.sessions.events.send(
        session, events=[{"type": "user.message", "content": [{"type": "text", "text": "hi"}]}]
    )
    assert sent.data and sent.data[0].type == "user.message" and sent.data[0].processed_at is None
    await scene.idle(session)
    events = [event async for event in scene.client.beta.sessions.events.list(session)]
    [answer] = [event for event in events if event.type == "agent.message"]
    assert answer.content[0].type == "text" and answer.content[0].text == "hello"
