"""The event stream (spec B.4, B.5) and its resumption (design, section 6, point 8)."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from api_fakes import Server, refusal
from sse import Frames

from agents.errors import Unavailable
from agents.sessions.events import EventType, SessionStatus
from agents.sessions.host import Frame

Make = Any


async def opened(server: Server) -> tuple[str, str]:
    session_id = (await server.session())["id"]
    return session_id, f"/v1/sessions/{session_id}/events/stream"


async def say(server: Server, session_id: str, words: str = "hi") -> str:
    event = await server.host.log(session_id, EventType.AGENT_MESSAGE, {"content": [{"type": "text", "text": words}]})
    return event.id


async def test_headers_come_before_the_first_event_and_forbid_buffering(server: Server) -> None:
    _, path = await opened(server)
    async with Frames(server, path) as frames:
        assert frames.status == 200
        assert frames.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in frames.headers["cache-control"]
        assert frames.headers["x-accel-buffering"] == "no"
        assert frames.headers["request-id"].startswith("req_")
        assert (await frames.body()).startswith(b":")


async def test_each_event_is_one_named_frame_with_its_id(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        event_id = await say(server, session_id)
        (frame,) = await frames.take(1)
    assert (frame["event"], frame["id"], frame["data"]["id"]) == ("agent.message", event_id, event_id)


async def test_a_frame_without_a_place_in_the_log_has_no_id_line(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        queued = Frame("user.message", orjson.dumps({"id": "sevt_q", "processed_at": None}), None, "sevt_q")
        server.host.publish(session_id, queued)
        (frame,) = await frames.take(1)
    assert frame["id"] is None


async def test_previews_go_only_to_streams_that_asked(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as plain, Frames(server, path, {"event_deltas[]": ["agent.message"]}) as previewing:
        start = Frame("event_start", b'{"n":1}', None, "sevt_1", preview="agent.message")
        server.host.publish(session_id, start)
        await say(server, session_id)
        assert [frame["event"] for frame in await previewing.take(2)] == ["event_start", "agent.message"]
        assert [frame["event"] for frame in await plain.take(1)] == ["agent.message"]


async def test_nothing_is_replayed_without_being_asked(server: Server) -> None:
    session_id, path = await opened(server)
    await say(server, session_id, "before")
    async with Frames(server, path) as frames:
        after = await say(server, session_id, "after")
        assert [frame["id"] for frame in await frames.take(1)] == [after]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_stream_resumes_behind_an_event_without_loss_or_repeat(server: Server, way: str) -> None:
    session_id, path = await opened(server)
    ids = [await say(server, session_id, str(n)) for n in range(4)]
    query, headers = ({"after": ids[0]}, {}) if way == "query" else ({}, {"last-event-id": ids[0]})
    async with Frames(server, path, query, headers) as frames:
        replayed = await frames.take(3)
        ids.append(await say(server, session_id, "live"))
        replayed += await frames.take(1)
    assert [frame["id"] for frame in replayed] == ids[1:]


async def test_the_header_wins_over_the_url_of_a_reconnecting_browser(server: Server) -> None:
    session_id, path = await opened(server)
    ids = [await say(server, session_id, str(n)) for n in range(3)]
    async with Frames(server, path, {"after": ids[0]}, {"last-event-id": ids[1]}) as frames:
        assert [frame["id"] for frame in await frames.take(1)] == [ids[2]]


async def test_events_logged_during_the_replay_are_shown_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id, path = await opened(server)
    first = await say(server, session_id, "first")
    real, late = type(server.store.sessions).events, list[str]()

    async def events(self: Any, session_id: Any, query: Any) -> Any:
        if not late:
            # The subscription stands already: this event is both in the log read below and a live frame.
            late.append(await say(server, session_id, "between"))
        return await real(self, session_id, query)

    monkeypatch.setattr(type(server.store.sessions), "events", events)
    async with Frames(server, path, {"after": first}) as frames:
        shown = await frames.take(1)
        last = await say(server, session_id, "last")
        shown += await frames.take(1)
    assert [frame["id"] for frame in shown] == [late[0], last]


async def test_a_long_replay_comes_in_pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.stream._REPLAY_PAGE", 3)
    session_id, path = await opened(server)
    ids = [await say(server, session_id, str(n)) for n in range(10)]
    waiting = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "waits"}]}] * 7}
    await server.client.post(f"/v1/sessions/{session_id}/events", json=waiting)
    shown: list[str] = []
    async with Frames(server, path, {"after": ids[0]}) as frames:
        while len(shown) < 9:
            shown += [frame["id"] for frame in frames._parse(await frames.body())]
        live = await say(server, session_id, "live")
        shown += [frame["id"] for frame in await frames.take(1)]
    assert shown == [*ids[1:], live]


async def test_a_stream_ends_after_the_session_was_deleted(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        await server.client.delete(f"/v1/sessions/{session_id}")
        assert [frame["event"] for frame in await frames.rest()] == ["session.deleted"]


async def test_a_stream_ends_after_the_session_terminated(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        await server.host.log(session_id, EventType.SESSION_TERMINATED, status=SessionStatus.TERMINATED)
        assert [frame["event"] for frame in await frames.rest()] == ["session.status_terminated"]


async def test_on_a_terminated_session_a_stream_replays_what_was_asked_for_and_ends(server: Server) -> None:
    session_id, path = await opened(server)
    first = await say(server, session_id)
    await server.host.log(session_id, EventType.SESSION_TERMINATED, status=SessionStatus.TERMINATED)
    async with Frames(server, path) as frames:
        assert (frames.status, await frames.rest()) == (200, [])
    async with Frames(server, path, {"after": first}) as frames:
        assert [frame["event"] for frame in await frames.rest()] == ["session.status_terminated"]


async def test_silence_is_filled_with_comments(make_server: Make) -> None:
    server = await make_server(gateway={"stream_keepalive_seconds": 0.01})
    _, path = await opened(server)
    async with Frames(server, path) as frames:
        await frames.body()
        assert [await frames.body() for _ in range(3)] == [b": keep-alive\n\n"] * 3


async def test_a_lagging_stream_is_told_to_reconnect_and_loses_nothing(make_server: Make) -> None:
    server = await make_server(gateway={"stream_queue_frames": 16})
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        await frames.body()
        frames.gate.clear()
        ids = [await say(server, session_id, str(n)) for n in range(40)]
        frames.gate.set()
        shown = await frames.rest()
    assert (shown[-1]["event"], shown[-1]["data"]["error"]["type"]) == ("error", "overloaded_error")
    seen = [frame["id"] for frame in shown[:-1]]
    assert seen == ids[: len(seen)]
    async with Frames(server, path, headers={"last-event-id": seen[-1]}) as frames:
        again = await frames.take(len(ids) - len(seen))
    assert [frame["id"] for frame in again] == ids[len(seen) :]


async def test_a_lost_owner_ends_the_stream_with_an_error_frame(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, path = await opened(server)

    async def events(self: Any, session_id: Any, query: Any) -> Any:
        raise Unavailable("the store is away")

    first = await say(server, session_id)
    monkeypatch.setattr(type(server.store.sessions), "events", events)
    async with Frames(server, path, {"after": first}) as frames:
        (frame,) = await frames.rest()
    assert (frame["event"], frame["data"]["error"]["message"]) == ("error", "the store is away")
    assert frame["data"]["request_id"] == frames.headers["request-id"]


async def test_a_stream_outlives_the_owner_and_shows_everything_once_and_in_order(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        ids = [await say(server, session_id, "shown")]
        shown = await frames.take(1)
        server.host.lose()
        ids += [await say(server, session_id, f"while away {n}") for n in range(3)]
        shown += await frames.take(3)
        ids.append(await say(server, session_id, "live again"))
        shown += await frames.take(1)
    assert [frame["id"] for frame in shown] == ids
    assert server.host.watches == 2 and server.host.subscriptions == []


async def test_a_stream_that_has_shown_nothing_goes_on_from_where_it_was_opened(server: Server) -> None:
    session_id, path = await opened(server)
    await say(server, session_id, "before")
    async with Frames(server, path) as frames:
        server.host.lose()
        missed = await say(server, session_id, "missed")
        assert [frame["id"] for frame in await frames.take(1)] == [missed]


async def test_what_the_lost_owner_still_showed_is_neither_lost_nor_repeated(server: Server) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        ids = [await say(server, session_id, str(n)) for n in range(2)]
        server.host.lose()
        ids.append(await say(server, session_id, "missed"))
        assert [frame["id"] for frame in await frames.take(3)] == ids


async def test_the_preview_of_a_message_that_died_with_its_owner_is_not_continued(server: Server) -> None:
    session_id, path = await opened(server)

    def preview(kind: str, event_id: str) -> Frame:
        return Frame(kind, b"{}", None, event_id, preview="agent.message")

    async with Frames(server, path, {"event_deltas[]": ["agent.message"]}) as frames:
        server.host.publish(session_id, preview("event_start", "sevt_half"), preview("event_delta", "sevt_half"))
        await frames.take(2)
        server.host.lose()
        missed = await say(server, session_id, "missed")
        assert [frame["id"] for frame in await frames.take(1)] == [missed]
        server.host.publish(session_id, preview("event_delta", "sevt_half"), preview("event_start", "sevt_new"))
        assert [frame["event"] for frame in await frames.take(1)] == ["event_start"]


async def test_a_stream_waits_for_the_next_owner_and_gives_up_in_time(make_server: Make) -> None:
    server = await make_server(gateway={"owner_wait_seconds": 0.3})
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        await say(server, session_id)
        await frames.take(1)
        server.host.failure = Unavailable("nobody owns it")
        server.host.lose()
        (frame,) = await frames.rest()
    assert (frame["event"], frame["data"]["error"]["type"]) == ("error", "api_error")
    assert server.host.watches > 2


async def test_a_log_that_cannot_be_read_for_a_moment_only_delays_a_stream(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, path = await opened(server)
    real, failed = type(server.store.sessions).events, list[str]()

    async def events(self: Any, session_id: Any, query: Any) -> Any:
        if not failed:
            failed.append("once")
            raise Unavailable("the store is away")
        return await real(self, session_id, query)

    async with Frames(server, path) as frames:
        monkeypatch.setattr(type(server.store.sessions), "events", events)
        server.host.lose()
        missed = await say(server, session_id)
        assert [frame["id"] for frame in await frames.take(1)] == [missed]
    assert failed and server.host.subscriptions == []


@pytest.mark.parametrize("how", ["deleted", "terminated"])
async def test_a_stream_ends_when_its_session_ended_while_nobody_could_say_so(server: Server, how: str) -> None:
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        server.host.lose()
        if how == "deleted":
            await server.client.delete(f"/v1/sessions/{session_id}")
            expected = "session.deleted"
        else:
            await server.host.log(session_id, EventType.SESSION_TERMINATED, status=SessionStatus.TERMINATED)
            expected = "session.status_terminated"
        assert [frame["event"] for frame in await frames.rest()] == [expected]


async def test_a_stream_whose_session_terminates_during_the_replay_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, path = await opened(server)
    first = await say(server, session_id)
    real, late = type(server.store.sessions).events, list[str]()

    async def events(self: Any, session_id: Any, query: Any) -> Any:
        if not late:
            late.append("terminated")
            await server.host.log(session_id, EventType.SESSION_TERMINATED, status=SessionStatus.TERMINATED)
        return await real(self, session_id, query)

    monkeypatch.setattr(type(server.store.sessions), "events", events)
    async with Frames(server, path, {"after": first}) as frames:
        assert [frame["event"] for frame in await frames.rest()] == ["session.status_terminated"]


async def test_hanging_up_releases_the_subscription_and_the_slot(make_server: Make) -> None:
    server = await make_server(gateway={"max_streams": 1})
    _, path = await opened(server)
    async with Frames(server, path) as frames:
        answer = await server.client.get(path)
        refusal(answer, 429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
        assert len(server.host.subscriptions) == 1
        await frames.hang_up()
        assert server.host.subscriptions == []
    async with Frames(server, path) as frames:
        assert frames.status == 200


async def test_a_client_that_takes_nothing_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.stream.SEND_SECONDS", 0.02)
    session_id, path = await opened(server)
    async with Frames(server, path) as frames:
        await frames.body()
        frames.gate.clear()
        await say(server, session_id)
        assert frames.task is not None
        async with asyncio.timeout(5):
            await asyncio.wait([frames.task])
        assert server.host.subscriptions == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("event_deltas[]=agent.tool_use", "event_deltas[]"),
        ("event_deltas=x", "event_deltas[]"),
        ("after=sevt_no", "after"),
    ],
)
async def test_a_bad_parameter_is_an_ordinary_refusal(server: Server, query: str, named: str) -> None:
    _, path = await opened(server)
    assert refusal(await server.client.get(f"{path}?{query}"), 400).startswith(named)
    assert server.host.subscriptions == []


async def test_more_than_a_hundred_preview_values_are_refused(server: Server) -> None:
    _, path = await opened(server)
    refusal(await server.client.get(path, params={"event_deltas[]": ["agent.message"] * 101}), 400)


async def test_an_unknown_session_is_404_before_any_header(server: Server) -> None:
    refusal(await server.client.get("/v1/sessions/sesn_none/events/stream"), 404, "not_found_error")
    assert server.host.subscriptions == []


async def test_an_event_of_another_session_is_no_place_to_resume_from(server: Server) -> None:
    other, _ = await opened(server)
    _, path = await opened(server)
    refusal(await server.client.get(path, params={"after": await say(server, other)}), 400)
