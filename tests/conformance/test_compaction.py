"""A session that outgrows its brain's context goes on after a summary, on a server of its own (docs/brains.md)."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from anthropic import AsyncAnthropic

from tests.conformance.platform import LivePlatform, in_process
from tests.conformance.requirements import requirement
from tests.conformance.scene import END, REQUEST, Json, Scene, fails, message, of_type, says, text_of

COMPACTED = "agent.thread_context_compacted"
SUMMARY = ["span.model_request_start", COMPACTED, "span.model_request_end"]
# Both are the stub, which is shown what each is told.
BRAINS: dict[str, Json] = {
    "small": {"engine": "claude", "model": "model-s", "capabilities": {"context_tokens": 4000}},
    "digester": {"engine": "claude", "model": "model-d", "roles": ["summarization"], "version": "7"},
}
FULL: Json = {"usage": {"input_tokens": 2400, "output_tokens": 300}}
TOO_LONG = fails(400, "invalid_request_error", message="prompt is too long: 207791 tokens > 200000 maximum")


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    with in_process(tmp_path_factory.mktemp("compaction"), brains=BRAINS, compaction={"keep_messages": 1}) as made:
        yield made


@pytest.fixture
async def environment_id(aclient: AsyncAnthropic) -> str:
    return (await aclient.beta.environments.create(name=f"compaction-{secrets.token_hex(4)}")).id


async def small(scene: Scene) -> str:
    return await scene.session(agent=await scene.agent(model="small"))


def said(scene: Scene, words: str) -> Json:
    """A message that bears the scene's mark: the summarizer is shown it, and not the agent's system prompt."""
    return message(f"{words} {scene.mark}")


@requirement("events:compaction", "events:compaction:summary")
async def test_a_full_context_is_summarized_and_the_history_keeps_everything(scene: Scene) -> None:
    session = await small(scene)
    await scene.answers(says("first", **FULL), says("a digest"), says("second"))
    await scene.turn(session, said(scene, "one"))
    async with scene.stream(session) as stream:
        turn = await scene.turn(session, said(scene, "two"))
        await stream.until("session.status_idle")
    assert [event["type"] for event in turn][3:] == [*SUMMARY, *REQUEST, *END]
    [compacted] = of_type(turn, COMPACTED)
    assert of_type(stream.events, COMPACTED) == [compacted]
    assert set(compacted) == {"id", "type", "processed_at"}
    ends = of_type(turn, "span.model_request_end")
    assert [end["brain"]["id"] for end in ends] == ["digester@7", "small@1"]

    events = [event async for event in scene.client.beta.sessions.events.list(session, order="asc")]
    assert [text_of(event.model_dump()) for event in events if event.type in ("user.message", "agent.message")] == [
        f"one {scene.mark}",
        "first",
        f"two {scene.mark}",
        "second",
    ]
    [only] = [event async for event in scene.client.beta.sessions.events.list(session, types=[COMPACTED])]
    assert only.type == COMPACTED and only.id == compacted["id"]

    first, asked, second = await scene.shown(3)
    assert (first["model"], asked["model"], second["model"]) == ("model-s", "model-d", "model-s")
    assert "tools" not in asked and f"one {scene.mark}" in str(asked["messages"])
    opening, *rest = second["messages"]
    assert opening["role"] == "user" and "a digest" in opening["content"][0]["text"]
    assert f"one {scene.mark}" not in str(second["messages"]) and f"two {scene.mark}" in str(second["messages"])
    assert [each["role"] for each in (opening, *rest)] == ["user", "assistant", "user"][-len(rest) - 1 :]
    usage = (await scene.retrieve(session))["usage"]
    assert usage["input_tokens"] == 2400 + 100 + 100, "the summary is counted"


@requirement("events:compaction:refused")
async def test_a_request_that_the_model_refuses_as_too_long_is_made_again_after_a_summary(scene: Scene) -> None:
    session = await small(scene)
    await scene.answers(says("first"), TOO_LONG, says("a digest"), says("second"))
    await scene.turn(session, said(scene, "one"))
    turn = await scene.turn(session, said(scene, "two"))
    refused = ["span.model_request_start", "span.model_request_end"]
    assert [event["type"] for event in turn][3:] == [*refused, *SUMMARY, *REQUEST, *END]
    assert turn[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("events:compaction:limit")
async def test_summaries_that_do_not_help_end_the_turn_and_the_session_lives(scene: Scene) -> None:
    session = await small(scene)
    useless = says(f"{scene.mark} {'y' * 3000}")
    await scene.answers(TOO_LONG, useless, TOO_LONG, useless, TOO_LONG)
    turn = await scene.turn(session, said(scene, "one"))
    [error] = of_type(turn, "session.error")
    assert error["error"]["type"] == "compaction_limit_reached_error"
    assert error["error"]["retry_status"] == {"type": "exhausted"}
    assert turn[-1]["stop_reason"] == {"type": "retries_exhausted"}
    await scene.answers(says("a digest"), says("second"))
    turn = await scene.turn(session, said(scene, "two"))
    assert [event["type"] for event in turn][3:] == [*SUMMARY, *REQUEST, *END]
