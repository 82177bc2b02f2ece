"""Brains served directly: ``/v1/messages``, the count of tokens and ``/v1/models``, with the official client."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic, beta_async_tool
from pydantic import BaseModel

from tests.conformance.requirements import requirement
from tests.conformance.scene import MODEL, Json, Scene, calls, fails, says

TOOL: Json = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}


def asks(scene: Scene, **more: Any) -> Any:
    """A request that the scene's script answers."""
    messages = [{"role": "user", "content": f"hello {scene.mark}"}]
    return {"model": MODEL, "max_tokens": 50, "messages": messages, **more}


def events_of(body: str) -> list[str]:
    return [line.removeprefix("event: ") for line in body.splitlines() if line.startswith("event: ")]


@requirement("messages:create", "messages:brain-header")
async def test_a_message_comes_whole(scene: Scene) -> None:
    await scene.answers({**calls(("weather", {"city": "Oslo"}), text="hm"), "usage": {"cache_creation_1h": 4}})
    raw = await scene.client.messages.with_raw_response.create(**asks(scene, tools=[TOOL]))
    message = await raw.parse()
    assert raw.headers["x-hecaton-brain"] == "default@1"
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.content[1].input == {"city": "Oslo"}  # type: ignore[union-attr]
    assert (message.model, message.role, message.stop_reason) == (MODEL, "assistant", "tool_use")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (100, 20)
    assert message.usage.cache_creation and message.usage.cache_creation.ephemeral_1h_input_tokens == 4


@requirement("messages:stream")
async def test_a_streamed_message_is_the_same_and_comes_as_it_is_made(scene: Scene) -> None:
    content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": ["a", scene.gate("go"), "b"]}]
    await scene.answers({"content": content}, {"content": content})
    whole = asyncio.create_task(scene.client.messages.create(**asks(scene)))
    async with scene.client.messages.stream(**asks(scene)) as stream, asyncio.timeout(15):
        # The one who is watched shows its first word while the gate is closed.
        assert await anext(aiter(stream.text_stream)) == "a"
        await scene.release("go")
        streamed = await stream.get_final_message()
    same = {"id"}
    assert streamed.model_dump(exclude=same) == (await whole).model_dump(exclude=same)
    assert [block.type for block in streamed.content] == ["thinking", "text"]


@requirement("messages:stream")
async def test_frames_are_named_and_a_silent_stream_is_pinged(scene: Scene) -> None:
    await scene.answers(says(["a", scene.gate("go"), "b"]))
    async with scene.http.stream("POST", "/v1/messages", json=asks(scene, stream=True)) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["request-id"].startswith("req_")
        body = ""
        async for chunk in response.aiter_text():
            body += chunk
            if body.count("event: ping") == 1 and "message_stop" not in body:
                await scene.release("go")
    others = [name for name in events_of(body) if name != "ping"]
    delta = "content_block_delta"
    expected = ["message_start", "content_block_start", delta, delta, "content_block_stop", "message_delta"]
    assert others == [*expected, "message_stop"]
    assert 'data: {"type":"ping"}' in body


@requirement("messages:as-sent")
async def test_the_model_server_is_shown_what_the_client_sent(scene: Scene) -> None:
    await scene.answers(says("ok"))
    body = asks(
        scene,
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        tools=[TOOL],
        tool_choice={"type": "tool", "name": "weather"},
        stop_sequences=["END"],
        metadata={"user_id": "someone"},
        service_tier="auto",
        thinking={"type": "disabled"},
        temperature=0.25,
        top_p=0.5,
        top_k=7,
    )
    answer = await scene.http.post("/v1/messages", json=body, headers={"anthropic-beta": "one-1,two-2"})
    assert answer.status_code == 200, answer.text
    [shown] = await asyncio.to_thread(scene.platform.stub.seen, 1, match=scene.mark)
    assert shown["body"] == body | {"stream": True}
    assert shown["headers"]["anthropic-beta"] == "one-1,two-2"


@requirement("messages:strict")
async def test_a_request_that_the_sdk_could_not_send_is_refused_by_name(scene: Scene) -> None:
    for change, told in (
        ({"max_token": 5}, "max_token: unknown field"),
        ({"messages": []}, "messages: must have at least one message"),
        ({"messages": [{"role": "user", "content": [{"type": "poem"}]}]}, "messages[0].content[0].type: must be one"),
    ):
        answer = await scene.http.post("/v1/messages", json=asks(scene) | change)
        assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(told), answer.text
    assert await scene.shown() == []


@requirement("messages:errors")
@pytest.mark.parametrize(
    ("failure", "expected", "status"),
    [
        (fails(529, "overloaded_error", headers={"retry-after": "3"}), anthropic.APIStatusError, 529),
        (fails(429, "rate_limit_error", headers={"retry-after": "3"}), anthropic.RateLimitError, 429),
        (fails(400, "invalid_request_error"), anthropic.BadRequestError, 400),
        (fails(404, "not_found_error"), anthropic.NotFoundError, 404),
        (fails(401, "authentication_error"), anthropic.InternalServerError, 500),
        (fails(500, "api_error"), anthropic.InternalServerError, 503),
        ({"content": [{"sse": "data: {not json\n\n"}]}, anthropic.InternalServerError, 503),
        (
            {"content": [{"sse": 'data: {"type": "content_block_stop", "index": 7}\n\n'}, {"drop": True}]},
            anthropic.InternalServerError,
            503,
        ),
    ],
    ids=["529", "429", "400", "404", "401", "500", "no JSON", "no protocol"],
)
async def test_a_failure_of_the_model_has_the_apis_own_status(
    scene: Scene, failure: Json, expected: type[anthropic.APIStatusError], status: int
) -> None:
    await scene.answers(failure, failure)
    with pytest.raises(expected) as whole:
        await scene.client.messages.create(**asks(scene))
    with pytest.raises(expected) as streamed:
        async with scene.client.messages.stream(**asks(scene)):
            pass
    for caught in (whole.value, streamed.value):
        assert caught.status_code == status
        after = {429: "3", 503: "1", 529: "3"}
        assert caught.response.headers.get("retry-after") == after.get(status)
        if status in (400, 404):
            assert caught.body["error"]["message"] == "scripted error"  # type: ignore[index]


@requirement("messages:errors")
async def test_a_failure_in_the_middle_is_an_error_event(scene: Scene) -> None:
    broken = {"content": [{"type": "text", "text": ["a", {"error": "overloaded_error"}]}]}
    await scene.answers(broken)
    with pytest.raises(anthropic.APIStatusError) as caught:
        async with scene.client.messages.stream(**asks(scene)) as stream:
            await stream.get_final_message()
    assert caught.value.body["error"]["type"] == "overloaded_error"  # type: ignore[index]


@requirement("messages:disconnect")
@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_client_that_leaves_ends_the_generation(scene: Scene, streamed: bool) -> None:
    await scene.answers(says(["a", scene.gate("never"), "b"]))
    asking = asyncio.create_task(scene.http.post("/v1/messages", json=asks(scene, stream=streamed)))
    await scene.shown(1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await scene.shown(1, closed=1)


@requirement("messages:count-tokens")
async def test_tokens_are_counted_as_the_model_server_counts_them(scene: Scene) -> None:
    body = asks(scene, system="be brief", tools=[TOOL])
    del body["max_tokens"]
    short = await scene.client.messages.count_tokens(**body)
    body["messages"].append({"role": "user", "content": "x" * 1000})
    longer = await scene.client.messages.count_tokens(**body)
    assert 1000 < longer.input_tokens - short.input_tokens < 1100


class Weather(BaseModel):
    city: str
    degrees: int


@requirement("messages:helpers")
async def test_the_sdk_parses_an_answer_by_the_schema_that_the_model_was_shown(scene: Scene) -> None:
    await scene.answers(says('{"city": "Oslo", "degrees": 3}'))
    parsed = await scene.client.beta.messages.parse(**asks(scene), output_format=Weather)
    assert parsed.parsed_output == Weather(city="Oslo", degrees=3)
    [shown] = await scene.shown()
    format = shown["output_config"]["format"]
    assert (format["type"], format["schema"]["required"]) == ("json_schema", ["city", "degrees"])


@requirement("messages:helpers", "messages:threads")
async def test_the_sdks_tool_runner_shows_the_model_the_whole_conversation(scene: Scene) -> None:
    asked: list[str] = []

    @beta_async_tool
    async def weather(city: str) -> str:
        """Tells the weather of a city."""
        asked.append(city)
        return "cold"

    await scene.answers(calls(("weather", {"city": "Oslo"})), says("take a coat"))
    runner = scene.client.beta.messages.tool_runner(**asks(scene), tools=[weather])
    last = await runner.until_done()
    assert (asked, last.content[0].text) == (["Oslo"], "take a coat")  # type: ignore[union-attr]
    first, second = await scene.shown()
    call, result = second["messages"][1:]
    assert second["messages"][:1] == first["messages"]
    assert (call["role"], call["content"][0]["type"], result["role"]) == ("assistant", "tool_use", "user")
    assert (result["content"][0]["tool_use_id"], result["content"][0]["content"]) == (call["content"][0]["id"], "cold")


@requirement("messages:threads")
async def test_a_conversation_is_held_by_the_sdk_and_not_between_requests(scene: Scene) -> None:
    told = asks(scene)
    opening = told.pop("messages")[0]
    held = scene.client.beta.messages.thread(**told)
    with pytest.raises(anthropic.BadRequestError) as refused:
        await held.send(opening)
    assert refused.value.body["error"]["details"] == {"error_code": "thread_unsupported_request"}  # type: ignore[index]
    assert await scene.shown() == []
    await scene.answers(says("one"), says("two"))
    thread = scene.client.beta.messages.thread(**told, unsupported_request_behavior="continue_unthreaded")
    await thread.send(opening)
    again = await thread.send({"role": "user", "content": "and now?"})
    assert again.content[0].text == "two"  # type: ignore[union-attr]
    first, second = await scene.shown()
    assert first["messages"] == [opening]
    assert [each["role"] for each in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"][0]["text"] == "one"


@requirement("models:list", "models:retrieve")
def test_models_are_listed_in_pages_and_found_by_name(client: Anthropic, http: httpx.Client) -> None:
    every = [model.id for model in client.models.list(limit=1000)]
    assert MODEL in every
    assert [model.id for model in client.models.list(limit=7)] == every
    assert [model.id for model in client.beta.models.list(limit=3, before_id=every[3]).data] == every[:3]
    found = client.models.retrieve(MODEL)
    assert (found.id, found.type, found.lifecycle) == (MODEL, "model", "active")
    assert http.get("/v1/models", params={"limit": 0}).status_code == 400
