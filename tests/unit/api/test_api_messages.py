"""``/v1/messages``: what is refused, what a brain is asked, how its answer and its failures look to a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from api_fakes import Server, refusal
from sse import Frames

from agents.api.app import create_app
from agents.brains import stream
from agents.brains.assembly import TokenUsage
from agents.brains.port import Brain, BrainFailure, BrainLost, BrainRequest, Refusal
from agents.brains.registry import registry_of
from agents.brains.route import Route
from agents.brains.scripted import DEFAULT_USAGE, Fail, Hold, ScriptedBrain, fail, reply, text
from agents.config import Settings
from agents.economics.meter import MeterTotal
from agents.errors import Overloaded

Make = Any
HI = {"role": "user", "content": "hi"}
BODY: dict[str, Any] = {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [HI]}
STREAM = BODY | {"stream": True}
BRAINS: dict[str, Any] = {
    "small": {"engine": "transformers", "model": "tiny", "capabilities": {"max_output_tokens": 100}},
    "claude": {"engine": "claude"},
}


def thinking_by(server: Server, brain: Brain) -> None:
    """Let *brain* answer."""
    server.platform = replace(server.platform, brain=brain)
    server.app = create_app(server.platform)
    server.client._transport.app = server.app  # type: ignore[attr-defined]


class Saying:
    """A brain that yields what a function of the number of the attempt gives it, failures among it."""

    def __init__(self, said: Callable[[int], list[Any]]) -> None:
        self._said = said
        self.attempts = 0
        self.yielded = 0
        self.ended = asyncio.Event()

    def think(self, request: BrainRequest) -> AsyncIterator[dict[str, Any]]:
        return self._think()

    async def _think(self) -> AsyncGenerator[dict[str, Any], None]:
        self.attempts += 1
        try:
            for each in self._said(self.attempts):
                if isinstance(each, Exception):
                    raise each
                self.yielded += 1
                yield each
        finally:
            self.ended.set()


def answer(words: str, model: str = "m") -> list[dict[str, Any]]:
    usage = TokenUsage(10, 5)
    return [
        stream.message_start("msg_1", model, usage),
        stream.block_start(0, {"type": "text", "text": ""}),
        stream.text_delta(0, words),
        stream.block_stop(0),
        stream.message_delta("end_turn", usage),
        stream.message_stop(),
    ]


async def metered(server: Server) -> MeterTotal:
    [total] = await server.platform.meter.totals()
    return total


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temprature": 1}, "temprature: unknown field"),
        ({"temperature": "hot"}, "temperature: must be a number, not a string"),
        ({"messages": []}, "messages: must have at least one message"),
        ({"messages": "hi"}, "messages: must be an array, not a string"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role: must be one of user, assistant, system"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content: must be a string or an array"),
        ({"messages": [{"role": "user", "content": [{"type": "txt"}]}]}, "messages[0].content[0].type: must be one of"),
        ({"tools": [{"name": "t"}]}, "tools[0].input_schema: required, but missing"),
        ({"tools": [{"type": "bash_1999", "name": "t"}]}, "tools[0].type: must be one of custom, bash_"),
        ({"model": ""}, "model: must have 1 to 256 characters"),
        ({"max_tokens": -1}, "max_tokens: must be at least 1, not -1"),
        ({"max_tokens": None}, "max_tokens: must be an integer, not null"),
    ],
)
async def test_a_body_is_checked_by_the_sdks_types(server: Server, change: dict[str, Any], message: str) -> None:
    assert refusal(await server.client.post("/v1/messages", json=BODY | change), 400).startswith(message)
    assert server.brain.requests == []


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": None}]}]},
        {"messages": [HI, {"role": "assistant", "content": "pre"}]},
        {"tools": [{"name": "t", "input_schema": {"type": "object", "$defs": {}}}]},
        {"tools": [{"type": "custom", "name": "t", "input_schema": {"type": "object"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}], "tool_choice": {"type": "any"}},
        {"thinking": {"type": "enabled", "budget_tokens": 5}, "metadata": {"user_id": None}},
        {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]},
        {"temperature": 1, "top_p": 0.5, "top_k": 3, "stop_sequences": ["a"], "service_tier": "auto"},
    ],
)
async def test_what_the_sdk_can_send_is_taken_and_handed_on_as_it_came(server: Server, change: dict[str, Any]) -> None:
    server.brain.add(text("ok"))
    assert (await server.client.post("/v1/messages", json=BODY | change)).status_code == 200
    [asked] = server.brain.requests
    assert asked.body == BODY | change


async def test_an_unknown_model_is_a_404_that_names_the_brains(make_server: Make) -> None:
    server = await make_server(brains=BRAINS)
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        body = {"model": "gpt", "messages": [HI]} | ({"max_tokens": 1} if path == "/v1/messages" else {})
        message = refusal(await server.client.post(path, json=body), 404, "not_found_error")
        assert "'gpt'" in message and "small@1" in message and "claude@1" in message


async def test_an_answer_is_bounded_by_what_the_brain_can_write_unless_claude_judges(make_server: Make) -> None:
    server = await make_server(brains=BRAINS)
    server.brain.add(text("ok"), text("ok"))
    refused = await server.client.post("/v1/messages", json=BODY | {"model": "small", "max_tokens": 101})
    assert refusal(refused, 400) == "max_tokens: small@1 writes at most 100 tokens, not 101"
    for model, most in (("small", 100), ("claude-opus-5-5", 100_000)):
        asked = await server.client.post("/v1/messages", json=BODY | {"model": model, "max_tokens": most})
        assert asked.status_code == 200


async def test_a_key_is_needed_and_its_limit_counts(make_server: Make) -> None:
    server = await make_server(api_keys={"a": "key-a"}, gateway={"requests_per_minute": 1})
    server.brain.add(text("ok"))
    refusal(await server.client.post("/v1/messages", json=BODY), 401, "authentication_error")
    first, second = [
        await server.client.post("/v1/messages", json=BODY, headers={"x-api-key": "key-a"}) for _ in range(2)
    ]
    assert first.status_code == 200 and server.brain.requests[0].principal == "a"
    assert "per minute" in refusal(second, 429, "rate_limit_error") and int(second.headers["retry-after"]) >= 1


# -- what a brain is asked ---------------------------------------------------------------------------


async def test_a_brain_that_reads_the_request_finds_all_of_it(server: Server) -> None:
    server.brain.add(text("ok"))
    tools = [{"name": "t", "input_schema": {"type": "object"}}]
    system = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    more = {"system": system, "tools": tools, "output_config": {"effort": "low"}, "metadata": {"user_id": "u-1"}}
    headers = {"anthropic-beta": "a-2026-01-01, b"}
    await server.client.post("/v1/messages", json=BODY | more, headers=headers)
    [asked] = server.brain.requests
    assert (asked.model, asked.messages, asked.max_tokens) == ("claude-opus-5-5", [HI], 9)
    assert (asked.system, asked.tools, asked.effort) == ("one\n\ntwo", tools, "low")
    assert (asked.session_id, asked.betas, asked.live) == ("u-1", ("a-2026-01-01", "b"), False)


async def test_names_of_betas_that_are_none_are_refused(server: Server) -> None:
    answered = await server.client.post("/v1/messages", json=BODY, headers={"anthropic-beta": "a b"})
    assert refusal(answered, 400).startswith("anthropic-beta:")


# -- the answer --------------------------------------------------------------------------------------


async def test_streamed_and_whole_are_the_same_message(server: Server) -> None:
    server.brain.add(text("Hel", "lo"), text("Hel", "lo"))
    whole = await server.client.post("/v1/messages", json=BODY)
    assert whole.headers["x-hecaton-brain"] == "default@1"
    assert whole.json()["content"] == [{"type": "text", "text": "Hello"}]
    assert whole.json()["usage"]["output_tokens"] == DEFAULT_USAGE.output_tokens
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        assert (frames.status, frames.headers["x-hecaton-brain"]) == (200, "default@1")
        assert frames.headers["content-type"].startswith("text/event-stream")
        shown = await frames.rest()
    assert [frame["event"] for frame in shown] == [frame["data"]["type"] for frame in shown]
    assert [frame["data"].get("delta", {}).get("text") for frame in shown if "delta" in frame["event"]] == [
        "Hel",
        "lo",
        None,
    ]
    assert server.brain.requests[-1].live


async def test_the_first_events_come_while_the_model_still_thinks(server: Server) -> None:
    gate = asyncio.Event()
    server.brain.add(text("a", Hold(gate), "b"))
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        first = await frames.take(3)
        assert first[-1]["data"]["delta"]["text"] == "a"
        gate.set()
        assert (await frames.rest())[-1]["event"] == "message_stop"


async def test_a_silent_line_is_opened_and_pinged(make_server: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.message_stream.SILENT_SECONDS", 0.01)
    server, gate = await make_server(gateway={"stream_keepalive_seconds": 0.01}), asyncio.Event()
    server.brain.add(reply(Hold(gate), Fail(BrainFailure("overloaded", "full", transient=True))))
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        assert [frame["data"] for frame in await frames.take(1) + await frames.take(1)] == [{"type": "ping"}] * 2
        gate.set()
        last = (await frames.rest())[-1]
    assert (frames.status, last["event"]) == (200, "error")
    assert last["data"]["error"] == {"type": "overloaded_error", "message": "full"}


async def test_a_client_that_leaves_ends_the_generation_and_pays_what_was_made(server: Server) -> None:
    gate = asyncio.Event()
    for body in (STREAM, BODY):
        server.brain.add(text("a", Hold(gate), "b"))
        frames = Frames(server, "/v1/messages", post=body)
        frames.task = asyncio.create_task(server.app(frames._scope, frames._receive, frames._send))  # type: ignore[arg-type]
        await server.brain.asked(len(server.brain.requests) + (body is STREAM))
        if body is STREAM:
            await frames._next()
        await frames.hang_up()
    assert server.brain.closed_early == 2
    assert (await metered(server)).input_tokens >= DEFAULT_USAGE.input_tokens


async def test_the_model_waits_for_a_slow_client(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.message_stream.HELD_BYTES", 2000)
    start, begin, _, *end = answer("")
    brain = Saying(lambda _: [start, begin, *[stream.text_delta(0, "x" * 900)] * 50, *end])
    thinking_by(server, brain)
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        frames.gate.clear()
        for _ in range(200):
            await asyncio.sleep(0)
        assert brain.yielded < 20
        frames.gate.set()
        assert len(await frames.rest()) == brain.yielded == 55


async def test_a_client_that_takes_nothing_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.api.message_stream.SEND_SECONDS", 0.02)
    gate = asyncio.Event()
    server.brain.add(text("a", Hold(gate), "b"))
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        await frames.take(3)
        frames.gate.clear()
        gate.set()
        assert frames.task is not None
        async with asyncio.timeout(5):
            await frames.task
    assert not frames.ended


# -- routes, losses, failures ------------------------------------------------------------------------


async def test_a_route_is_told_by_a_header_and_never_in_the_stream(make_server: Make) -> None:
    server = await make_server(brains=BRAINS | {"big": {"engine": "replay", "price": {"input_mtok": 7.0}}})
    small, big = (Route(registry_of(server.platform.settings).find(name), "small") for name in ("small", "big"))
    half = [small.event(), stream.message_start("msg_0", "m", TokenUsage(1000, 0))]
    for body in (STREAM, BODY):
        thinking_by(server, Saying(lambda _: [*half, big.event(), *answer("x"), {"type": "hecaton_more"}]))
        asked = await server.client.post("/v1/messages", json=body | {"model": "small"})
        assert asked.headers["x-hecaton-brain"] == "big@1"
        assert "hecaton" not in asked.text and "msg_0" not in asked.text and "msg_1" in asked.text
    total = await metered(server)
    # What the first brain read is counted too, and free; the second has a price of its own.
    assert (total.name, total.input_tokens, total.micro_usd, total.brain) == ("small", 2 * 1010, 2 * 70, "big@1")


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "streamed"])
async def test_a_brain_that_is_lost_before_it_spoke_is_asked_again(server: Server, body: dict[str, Any]) -> None:
    brain = Saying(lambda attempt: [answer("x")[0], BrainLost("gone")] if attempt < 3 else answer("x"))
    thinking_by(server, brain)
    answered = await server.client.post("/v1/messages", json=body)
    assert (answered.status_code, brain.attempts, answered.text.count("msg_1")) == (200, 3, 1)
    thinking_by(server, Saying(lambda _: [BrainLost("gone")]))
    lost = await server.client.post("/v1/messages", json=body)
    assert refusal(lost, 503, "api_error") == "gone" and lost.headers["retry-after"]


async def test_a_brain_that_is_lost_after_it_spoke_is_asked_again_only_for_a_whole_message(server: Server) -> None:
    def said(attempt: int) -> list[Any]:
        return answer("x") if attempt > 1 else [*answer("half")[:3], BrainLost("gone")]

    thinking_by(server, Saying(said))
    assert (await server.client.post("/v1/messages", json=BODY)).json()["content"][0]["text"] == "x"
    thinking_by(server, Saying(said))
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        assert [frame["event"] for frame in await frames.rest()][-2:] == ["content_block_delta", "error"]


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (BrainFailure("overloaded", "why", transient=True, retry_after=7), 529, "overloaded_error"),
        (BrainFailure("rate_limited", "why", transient=True, retry_after=7), 429, "rate_limit_error"),
        (
            BrainFailure("request_failed", "x", transient=False, refusal=Refusal(400, "why")),
            400,
            "invalid_request_error",
        ),
        (BrainFailure("request_failed", "x", transient=False, refusal=Refusal(404, "why")), 404, "not_found_error"),
        (BrainFailure("request_failed", "x", transient=False, refusal=Refusal(413, "why")), 413, "request_too_large"),
        (
            BrainFailure("request_failed", "x", transient=False, refusal=Refusal(422, "why")),
            400,
            "invalid_request_error",
        ),
        (BrainFailure("billing", "why", transient=False), 500, "api_error"),
        (BrainFailure("request_failed", "why", transient=False), 500, "api_error"),
        (BrainFailure("request_failed", "why", transient=True, retry_after=7), 503, "api_error"),
    ],
)
async def test_a_failure_has_the_apis_own_status(server: Server, failure: BrainFailure, status: int, kind: str) -> None:
    for body in (BODY, STREAM):
        server.brain.add(Fail(failure))
        answered = await server.client.post("/v1/messages", json=body)
        assert refusal(answered, status, kind) == "why"
        assert answered.headers.get("retry-after") == ("7" if status in (429, 503, 529) else None)


async def test_a_failure_in_the_middle_is_an_error_event(server: Server) -> None:
    server.brain.add(text("a", fail("rate_limited", "slow down")))
    async with Frames(server, "/v1/messages", post=STREAM) as frames:
        last = (await frames.rest())[-1]
    assert last["event"] == "error" and frames.status == 200
    assert last["data"]["error"] == {"type": "rate_limit_error", "message": "slow down"}
    assert last["data"]["request_id"] == frames.headers["request-id"]


async def test_a_fault_of_ours_is_told_as_such_and_no_more(server: Server) -> None:
    thinking_by(server, Saying(lambda _: [*answer("x")[:3], ValueError("secret")]))
    for body in (BODY, STREAM):
        answered = await server.client.post("/v1/messages", json=body)
        assert "an internal error occurred" in answered.text and "secret" not in answered.text


async def test_a_meter_that_is_full_takes_no_answer_away(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        async def record(self, rows: Any) -> None:
            raise Overloaded("full")

    server.platform = replace(server.platform, meter=Full())  # type: ignore[arg-type]
    thinking_by(server, ScriptedBrain(text("ok")))
    assert (await server.client.post("/v1/messages", json=BODY)).status_code == 200
    assert "not metered" in caplog.text


# -- counting ----------------------------------------------------------------------------------------


async def test_tokens_are_counted_by_the_brain_and_cost_nothing(server: Server) -> None:
    path = "/v1/messages/count_tokens"
    counted = await server.client.post(path, json={"model": "m", "messages": [HI, HI]})
    assert (counted.json(), counted.headers["x-hecaton-brain"]) == ({"input_tokens": 2}, "default@1")
    failed = await server.client.post(path, json={"model": "uncountable", "messages": [HI]})
    assert refusal(failed, 529, "overloaded_error") and failed.headers["retry-after"] == "3"
    assert "max_tokens: unknown field" in refusal(await server.client.post(path, json=BODY), 400)
    assert await server.platform.meter.totals() == []


async def test_auto_is_counted_by_the_first_brain_that_it_may_choose() -> None:
    server = Server(Settings(brains=BRAINS))
    counted = await server.client.post("/v1/messages/count_tokens", json={"model": "auto", "messages": [HI]})
    assert counted.headers["x-hecaton-brain"] == "small@1"
    wrong = await server.client.post("/v1/messages/count_tokens", json={"model": "auto:magic", "messages": [HI]})
    assert "auto:reasoning" in refusal(wrong, 404, "not_found_error")
    await server.client.aclose()
