"""``/v1/messages`` in metrics and traces (ours): each request once, however it ends, as those of sessions are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from api_fakes import Server
from sse import Frames

from agents.api.app import create_app
from agents.api.request_trace import RequestSpans
from agents.brains.assembly import TokenUsage
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.scripted import Fail, Hold, Scripted, ScriptedBrain, reply, text
from agents.telemetry import catalogue
from agents.telemetry.metric import Metric
from agents.telemetry.tracing.context import handed_on
from tests.unit.telemetry.tracing.collected import Collected

HI = {"role": "user", "content": "secret words"}
BODY: dict[str, Any] = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [HI]}
STREAM = BODY | {"stream": True}
USAGE = TokenUsage(input_tokens=10, output_tokens=5, cache_read_input_tokens=3, cache_creation_1h=2)
TRACEPARENT = f"00-{'a' * 32}-{'b' * 16}-01"
CHAT, POST = "chat claude-opus-5-5", "POST /v1/messages"


class Near(ScriptedBrain):
    """A brain that takes note of the context that its link would get, and answers as a link does."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[tuple[int, int]] = []

    def think(self, request: BrainRequest) -> Any:
        return self._noting(super().think(request))

    async def _noting(self, events: Any) -> Any:
        async for event in events:
            if event["type"] == "message_start" and (near := handed_on()) is not None:
                self.contexts.append((near.context.trace_id, near.context.span_id))
                assert near.told is not None
                near.told("brain@1#x", 1, 2, None)
            yield event


def traced(server: Server, **settings: Any) -> tuple[Near, Collected]:
    collected, brain = Collected(**settings), Near()
    server.platform = replace(server.platform, brain=brain, spans=RequestSpans(collected.sink))
    server.app = create_app(server.platform)
    server.client._transport.app = server.app  # type: ignore[attr-defined]
    return brain, collected


def counted(server: Server, metric: Metric) -> dict[tuple[str, ...], float]:
    """What a counter says, or how many values a histogram has."""
    series = server.recorder.snapshot().get(metric.name, {})
    return {labels: numbers[0] if len(numbers) == 1 else sum(numbers[1:]) for labels, numbers in series.items()}


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "streamed"])
async def test_a_request_has_its_span_below_its_own_and_its_brains_below_that(
    server: Server, body: dict[str, Any]
) -> None:
    brain, collected = traced(server)
    brain.add(reply(text("hello"), usage=USAGE))
    answer = await server.client.post("/v1/messages", json=body, headers={"traceparent": TRACEPARENT})
    assert answer.status_code == 200
    spans = {span.name: span for span in collected.spans}
    assert len(collected.spans) == 3 and spans.keys() == {POST, CHAT, "think"}
    assert {span.trace_id for span in collected.spans} == {int("a" * 32, 16)}
    assert spans[POST].parent_id == int("b" * 16, 16)
    assert spans[CHAT].parent_id == spans[POST].span_id
    assert spans["think"].parent_id == spans[CHAT].span_id == brain.contexts[0][1]
    assert (spans[POST].kind, spans[CHAT].kind, spans["think"].service) == ("server", "client", "hecaton-brain")
    assert spans[POST].attributes["hecaton.request.id"] == answer.headers["request-id"]
    about = dict(spans[CHAT].attributes)
    assert float(str(about.pop("gen_ai.response.time_to_first_chunk"))) >= 0
    assert about == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "replay",
        "gen_ai.request.model": "claude-opus-5-5",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.cache_creation.input_tokens": 2,
        "gen_ai.response.finish_reasons": ("end_turn",),
        "hecaton.brain.id": answer.headers["x-hecaton-brain"],
    }
    assert "secret words" not in repr(collected.spans)


async def test_requests_are_counted_as_those_of_sessions_are(server: Server) -> None:
    server.brain.add(reply(text("a"), usage=USAGE), reply(text("b"), usage=USAGE))
    for body in (BODY, STREAM):
        assert (await server.client.post("/v1/messages", json=body)).status_code == 200
    brain = "default@1"
    assert counted(server, catalogue.MODEL_REQUESTS) == {(brain, "ok"): 2}
    assert counted(server, catalogue.MODEL_REQUEST_SECONDS) == {(brain,): 2}
    assert counted(server, catalogue.FIRST_TOKEN_SECONDS) == {(brain,): 2}
    tokens = {"input": 20, "output": 10, "cache_read": 6, "cache_creation": 4}
    assert counted(server, catalogue.TOKENS) == {(brain, kind): count for kind, count in tokens.items()}
    [total] = await server.platform.meter.totals()
    assert counted(server, catalogue.COST)[brain,] == pytest.approx(total.micro_usd / 1e6)


async def test_what_failed_is_kept_with_its_kind_and_what_was_not_chosen_is_not_kept(server: Server) -> None:
    brain, collected = traced(server, ratio=0)
    brain.add(reply(text("fine")))
    await server.client.post("/v1/messages", json=BODY)
    assert not collected.spans
    brain.add(Fail(BrainFailure("rate_limited", "why", transient=True)))
    assert (await server.client.post("/v1/messages", json=BODY)).status_code == 429
    assert {span.name: span.error for span in collected.spans} == {POST: None, CHAT: "rate_limited"}
    assert counted(server, catalogue.MODEL_REQUESTS) == {("default@1", "ok"): 1, ("default@1", "error"): 1}


async def test_a_client_that_leaves_has_cancelled_its_request(server: Server) -> None:
    brain, collected = traced(server)
    begins: Scripted = text("a", Hold(asyncio.Event()), "b")
    brain.add(begins)
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        await frames.take(3)
        await frames.hang_up()
    assert counted(server, catalogue.MODEL_REQUESTS) == {("default@1", "cancelled"): 1}
    assert [span.error for span in collected.spans if span.name == CHAT] == ["cancelled"]
    assert handed_on() is None


async def test_a_request_that_is_refused_asks_no_brain_and_is_none(server: Server) -> None:
    _, collected = traced(server)
    assert (await server.client.post("/v1/messages", json=BODY | {"max_tokens": 0})).status_code == 400
    assert not collected.spans
    assert counted(server, catalogue.MODEL_REQUESTS) == {}
