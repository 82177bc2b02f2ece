"""Several brains behind one API, on a server of its own where they are declared (docs/brains.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from anthropic import AsyncAnthropic, NotFoundError

from tests.conformance.platform import LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import REQUEST, Json, Scene, calls, fails, of_type, says, toolset

DEAR = {"output_mtok": 1000, "ceiling_usd_per_hour": 0.01}
# All of them are the stub, which is shown what each is told; nothing listens where ``gone`` looks for its model.
BRAINS: dict[str, Json] = {
    "thinker": {"engine": "claude", "model": "model-t", "roles": ["reasoning"], "fallbacks": ["writer"]},
    "writer": {
        "engine": "claude",
        "model": "model-w",
        "version": "2",
        "aliases": ["gpt-"],
        "roles": ["generation"],
        "capabilities": {"max_output_tokens": 777},
    },
    "gone": {"engine": "claude", "model": "model-g", "base_url": "http://127.0.0.1:9", "fallbacks": ["writer"]},
    # Nothing is ever asked of these two: one answer may cost more than they may in an hour.
    "dear": {"engine": "claude", "model": "model-d", "fallbacks": ["writer"], "price": DEAR},
    "broke": {"engine": "claude", "model": "model-b", "price": DEAR},
    "cloud": {"engine": "claude"},
}
NAMES = "thinker@1, writer@2, gone@1, dear@1, broke@1, cloud@1"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    with in_process(tmp_path_factory.mktemp("brains"), brains=BRAINS) as made:
        yield made


@pytest.fixture
async def environment_id(aclient: AsyncAnthropic) -> str:
    return (await aclient.beta.environments.create(name=f"brains-{secrets.token_hex(4)}")).id


async def turn_of(scene: Scene, model: Any, *tools: Json) -> list[Json]:
    """One turn of a new session whose agent names *model*; returns its log."""
    return await scene.turn(await scene.session(agent=await scene.agent(*tools, model=model)))


def brains_of(log: list[Json]) -> list[Json]:
    return [end["brain"] for end in of_type(log, "span.model_request_end")]


@requirement("brains:unknown")
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("gpt", f"model 'gpt' not found; there are {NAMES}, and auto"),
        ("writer@1", f"model 'writer@1' not found; there are {NAMES}, and auto"),
        ("auto:magic", "model 'auto:magic' not found; there are auto, auto:reasoning, auto:generation, "),
        ("cloud", "model 'cloud' not found: cloud@1 is told no model of its own; name one of claude-*"),
    ],
)
async def test_an_unknown_model_is_refused_wherever_it_is_named(scene: Scene, model: str, told: str) -> None:
    agent = await scene.agent(model="writer")
    override = {"type": "agent_with_overrides", "id": agent, "model": model}
    attempts: list[tuple[str, Json]] = [
        ("/v1/agents", {"name": "a", "model": model}),
        (f"/v1/agents/{agent}", {"model": {"id": model}}),
        ("/v1/sessions", {"agent": override, "environment_id": scene.environment_id}),
    ]
    for path, body in attempts:
        response = await scene.http.post(path, json=body)
        assert response.status_code == 404, response.text
        error = response.json()["error"]
        assert error["type"] == "not_found_error"
        assert error["message"].startswith(told)
    assert (await scene.get(f"/v1/agents/{agent}"))["version"] == 1


@requirement("brains:named", "brains:longest-answer")
@pytest.mark.parametrize("model", ["writer", "writer@2", "gpt-5"])
async def test_a_brain_is_named_and_told_its_own_model(scene: Scene, model: str) -> None:
    await scene.answers(says("hello"))
    log = await turn_of(scene, model)
    assert brains_of(log) == [{"id": "writer@2", "requested": model}]
    [body] = await scene.shown(1)
    assert (body["model"], body["max_tokens"]) == ("model-w", 777)


@requirement("brains:named")
async def test_a_brain_without_a_model_of_its_own_is_told_what_the_agent_names(scene: Scene) -> None:
    await scene.answers(says("hello"))
    assert brains_of(await turn_of(scene, "claude-opus-4-8")) == [{"id": "cloud@1", "requested": "claude-opus-4-8"}]
    assert [body["model"] for body in await scene.shown(1)] == ["claude-opus-4-8"]


@requirement("brains:auto")
async def test_auto_reasons_where_there_are_tools_and_writes_where_there_are_none(scene: Scene) -> None:
    await scene.answers(says("without"), calls(("no_such_tool", {})), says("with"), says("as asked"))
    [brain] = brains_of(await turn_of(scene, "auto"))
    assert brain["id"] == "writer@2"
    assert brain["reason"] == "generation, as there are no tools: the only one able, a place is free"
    assert [brain["id"] for brain in brains_of(await turn_of(scene, "auto", toolset()))] == ["thinker@1"] * 2
    [brain] = brains_of(await turn_of(scene, "auto:reasoning"))
    assert (brain["id"], brain["requested"]) == ("thinker@1", "auto:reasoning")
    assert brain["reason"].startswith("reasoning, as asked")
    assert [body["model"] for body in await scene.shown(4)] == ["model-w", "model-t", "model-t", "model-t"]


@requirement("brains:fallback")
async def test_a_brain_that_is_down_is_replaced_and_the_log_says_so(scene: Scene) -> None:
    await scene.answers(says("hello"))
    log = await turn_of(scene, "gone")
    assert [event["type"] for event in log if event["type"] in (*REQUEST, "session.error")] == REQUEST
    [brain] = brains_of(log)
    [passed_over] = brain["passed_over"]
    assert (brain["id"], brain["requested"], passed_over["id"]) == ("writer@2", "gone", "gone@1")
    assert passed_over["reason"].startswith("request_failed: The model server at http://127.0.0.1:9 could not be")


@requirement("brains:fallback")
async def test_an_overloaded_brain_is_replaced_without_a_pause(scene: Scene) -> None:
    await scene.answers(fails(529, "overloaded_error"), says("hello"))
    [brain] = brains_of(await turn_of(scene, "thinker"))
    assert (brain["id"], [each["id"] for each in brain["passed_over"]]) == ("writer@2", ["thinker@1"])
    assert [body["model"] for body in await scene.shown(2)] == ["model-t", "model-w"]


@requirement("brains:fallback")
async def test_a_request_that_the_model_refuses_is_not_asked_of_another(scene: Scene) -> None:
    await scene.answers(fails(400, "invalid_request_error"))
    log = await turn_of(scene, "thinker")
    assert brains_of(log) == [{"id": "thinker@1", "requested": "thinker"}]
    [error] = of_type(log, "session.error")
    assert error["error"]["type"] == "model_request_failed_error"
    assert len(await scene.shown(1)) == 1


@requirement("brains:fallback")
async def test_a_brain_over_its_budget_is_passed_over(scene: Scene) -> None:
    await scene.answers(says("hello"))
    [brain] = brains_of(await turn_of(scene, "dear"))
    [passed_over] = brain["passed_over"]
    assert (brain["id"], passed_over["id"]) == ("writer@2", "dear@1")
    assert passed_over["reason"].startswith("dear is over its budget: 0.00 of 0.01 USD per hour are spent")
    assert [body["model"] for body in await scene.shown(1)] == ["model-w"]


@requirement("brains:fallback", "messages:errors")
async def test_when_nobody_else_can_answer_a_brain_over_its_budget_is_overloaded(scene: Scene) -> None:
    for stream in (False, True):
        refused = await scene.http.post("/v1/messages", json=direct(scene, "broke") | {"stream": stream})
        assert (refused.status_code, refused.headers["retry-after"]) == (529, "3600")
        assert refused.json()["error"]["type"] == "overloaded_error"


def direct(scene: Scene, model: str) -> Json:
    return {"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": f"hello {scene.mark}"}]}


@requirement("messages:routed", "messages:brain-header")
@pytest.mark.parametrize(
    ("model", "brain", "told"),
    [
        ("writer", "writer@2", "model-w"),
        ("writer@2", "writer@2", "model-w"),
        ("gpt-9", "writer@2", "model-w"),
        ("claude-sonnet-5-5", "cloud@1", "claude-sonnet-5-5"),
        ("auto", "writer@2", "model-w"),
        ("auto:reasoning", "thinker@1", "model-t"),
        ("gone", "writer@2", "model-w"),
    ],
)
async def test_a_message_goes_to_the_brain_that_its_model_names(
    scene: Scene, model: str, brain: str, told: str
) -> None:
    await scene.answers(says("ok"), says("ok"))
    whole = await scene.http.post("/v1/messages", json=direct(scene, model))
    streamed = await scene.http.post("/v1/messages", json=direct(scene, model) | {"stream": True})
    assert whole.status_code == streamed.status_code == 200
    assert whole.headers["x-hecaton-brain"] == streamed.headers["x-hecaton-brain"] == brain
    assert "hecaton" not in streamed.text
    assert [body["model"] for body in await scene.shown(2)] == [told, told]


@requirement("messages:routed", "brains:unknown")
async def test_a_message_to_an_unknown_model_is_refused_with_the_names_of_the_brains(scene: Scene) -> None:
    refused = await scene.http.post("/v1/messages", json=direct(scene, "gpt"))
    assert refused.status_code == 404
    assert refused.json()["error"]["message"] == f"model 'gpt' not found; there are {NAMES}, and auto"


@requirement("models:list", "models:retrieve")
async def test_declared_brains_are_the_models_there_are(aclient: AsyncAnthropic) -> None:
    listed = [model.id async for model in aclient.models.list()]
    assert listed[:5] == ["thinker@1", "writer@2", "gone@1", "dear@1", "broke@1"]
    assert listed[5:] and all(name.startswith("claude-") for name in listed[5:])
    assert (await aclient.models.retrieve("gpt-9")).max_tokens == 777
    with pytest.raises(NotFoundError, match="writer@2"):
        await aclient.models.retrieve("gpt")
