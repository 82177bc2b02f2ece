"""What people stumble over when they read event streams."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import AsyncAnthropic

from agents.api.stream import encode_frame
from agents.clock import SystemClock, rfc3339
from agents.sessions.events import EventType
from tests.conformance.scene import Scene, message, of_type, says


@pytest.mark.parametrize("cursor", ["", None])
async def test_an_empty_last_event_id_is_no_cursor(scene: Scene, cursor: str | None) -> None:
    """Ask 12: a client whose cursor was cleared sends an empty one. That is no place in the log, so the stream shows
    what happens from now on, without a replay and without an error."""
    await scene.answers(says("one"), says("two"))
    session = await scene.session()
    past = {event["id"] for event in await scene.turn(session)}
    headers = {} if cursor is None else {"last-event-id": cursor}
    async with scene.stream(session, None, **headers) as stream:
        await scene.send(session, message())
        await stream.until("session.status_idle")
    assert past.isdisjoint(event["id"] for event in stream.events)


async def test_every_event_type_of_ours_reaches_a_reader_on_the_official_sdk() -> None:
    """Ask 14: the stream yielded nothing, because the reader drops frames whose name it does not know, or that have
    none. Every type that this server can write must come out of the SDK's iterator, as that type."""
    kinds = [kind.value for kind in EventType]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, kind in enumerate(kinds):
            moment = rfc3339(SystemClock().now())
            data = f'{{"id":"sevt_{number}","type":"{kind}","processed_at":"{moment}"}}'
            await send({"type": "http.response.body", "body": encode_frame(kind, data.encode()), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    transport = anthropic.DefaultAsyncHttpxClient(transport=httpx2.ASGITransport(app=app))
    async with (
        AsyncAnthropic(base_url="http://test", api_key="k", http_client=transport) as client,
        await client.beta.sessions.events.stream("sesn_1") as stream,
    ):
        seen = [event.type async for event in stream]
    assert seen == kinds


async def test_a_poller_sees_idle_as_soon_as_the_log_says_so_and_reads_there_why(scene: Scene) -> None:
    """Ask 15: a client polled for minutes, because nothing told that idle is the end of the work. Status and last event
    change in one commit: whoever sees the one sees the other, and its `stop_reason` says whether it is done."""
    await scene.answers(says([scene.gate("hold"), "hi"]))
    session = await scene.session()
    await scene.send(session, message())
    await scene.shown(1)
    assert (await scene.retrieve(session))["status"] == "running"
    assert not of_type(await scene.log(session), "session.status_idle")
    async with scene.stream(session) as stream:
        await scene.release("hold")
        await stream.until("session.status_idle")
        assert (await scene.retrieve(session))["status"] == "idle"
        log = await scene.log(session)
    assert log[-1]["type"] == "session.status_idle" and log[-1]["stop_reason"] == {"type": "end_turn"}
