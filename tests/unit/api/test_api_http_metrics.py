"""Requests by route, method and status (ours): never by path, so that ids make no series."""

from __future__ import annotations

from api_fakes import Server
from sse import Frames

from agents.api.http_metrics import HttpMetrics
from agents.clock import ManualClock
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder


async def test_requests_are_counted_by_the_template_of_their_path(server: Server) -> None:
    for _ in range(2):
        await server.client.get("/v1/sessions/sesn_0123")
    await server.client.put("/v1/agents")
    await server.client.get("/nowhere/at/all")
    await server.client.get("/-/healthz")
    found = server.recorder.snapshot()
    assert found[catalogue.HTTP_REQUESTS.name] == {
        ("/v1/sessions/{session_id}", "GET", "404"): (2.0,),
        ("/v1/agents", "PUT", "405"): (1.0,),
        ("none", "GET", "404"): (1.0,),
        ("/-/healthz", "GET", "200"): (1.0,),
    }
    assert sum(found[catalogue.HTTP_SECONDS.name]["/v1/sessions/{session_id}",][1:]) == 2


async def test_a_stream_counts_among_the_open_ones_and_is_timed_to_its_beginning(server: Server) -> None:
    path = f"/v1/sessions/{(await server.session())['id']}/events/stream"
    async with Frames(server, path) as frames:
        assert frames.status == 200
        assert server.recorder.snapshot()[catalogue.STREAMS.name] == {(): (1.0,)}
    found = server.recorder.snapshot()
    assert found[catalogue.STREAMS.name] == {(): (0.0,)}
    route = "/v1/sessions/{session_id}/events/stream"
    assert found[catalogue.HTTP_REQUESTS.name][route, "GET", "200"] == (1.0,)
    assert sum(found[catalogue.HTTP_SECONDS.name][route,][1:]) == 1


def test_what_is_streamed_has_taken_as_long_as_its_beginning() -> None:
    clock, recorder = ManualClock(), Recorder()
    for content_type in (b"text/event-stream; charset=utf-8", b"application/json"):
        measured = HttpMetrics(recorder, clock).request()
        clock.advance(1)
        measured.answered({"status": 200, "headers": [(b"content-type", content_type)]})
        clock.advance(10)
        measured.ended({"type": "http", "method": "GET"})
    assert recorder.snapshot()[catalogue.HTTP_SECONDS.name]["none",][0] == 12


def test_a_client_that_leaves_unanswered_is_told_from_one_that_was_answered() -> None:
    recorder = Recorder()
    HttpMetrics(recorder, ManualClock()).request().ended({"type": "http", "method": "POST"})
    assert recorder.snapshot()[catalogue.HTTP_REQUESTS.name] == {("none", "POST", "499"): (1.0,)}
