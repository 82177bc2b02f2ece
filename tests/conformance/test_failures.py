"""When the model fails, refuses or never stops (spec B.3, E.4)."""

from __future__ import annotations

import pytest

from tests.conformance.platform import MAX_ATTEMPTS, MAX_TOOL_ROUNDS
from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    END,
    REQUEST,
    START,
    Json,
    Scene,
    bash,
    calls,
    fails,
    message,
    of_type,
    says,
    text_of,
    toolset,
)

FAILED = ["span.model_request_start", "span.model_request_end", "session.error"]
RESCHEDULED = ["session.status_rescheduled", "session.thread_status_rescheduled"]
EXHAUSTED = {"type": "retries_exhausted"}


def errors(log: list[Json]) -> list[tuple[str, str]]:
    found = [event["error"] for event in of_type(log, "session.error")]
    assert all(set(error) == {"type", "message", "retry_status"} and error["message"] for error in found)
    return [(error["type"], error["retry_status"]["type"]) for error in found]


@requirement("events:retry", "events:order:spans")
async def test_a_transient_failure_is_told_rescheduled_and_tried_again(scene: Scene) -> None:
    await scene.answers(fails(529, "overloaded_error"), says("there"))
    log = await scene.turn(await scene.session())
    assert [event["type"] for event in log] == [
        *START,
        "user.message",
        *FAILED,
        *RESCHEDULED,
        *START,
        *REQUEST,
        *END,
    ]
    assert errors(log) == [("model_overloaded_error", "retrying")]
    ends = of_type(log, "span.model_request_end")
    assert [end["is_error"] for end in ends] == [True, False]
    starts = [event["id"] for event in of_type(log, "span.model_request_start")]
    assert [end["model_request_start_id"] for end in ends] == starts
    first, second = await scene.shown(2)
    assert first == second


@requirement("events:retry:kinds")
@pytest.mark.parametrize(
    "answer, kind",
    [
        (fails(529, "overloaded_error"), "model_overloaded_error"),
        (fails(429, "rate_limit_error"), "model_rate_limited_error"),
        (fails(500, "api_error"), "model_request_failed_error"),
        (fails(504, "timeout_error"), "model_request_failed_error"),
        ({"content": [{"error": "overloaded_error"}]}, "model_overloaded_error"),
        ({"content": [{"drop": True}]}, "model_request_failed_error"),
        ({"content": [{"sse": "data: nonsense\n\n"}]}, "model_request_failed_error"),
    ],
    ids=["529", "429", "500", "504", "stream-error", "dropped", "nonsense"],
)
async def test_each_kind_of_failure_has_its_word(scene: Scene, answer: Json, kind: str) -> None:
    await scene.answers(answer, says("there"))
    log = await scene.turn(await scene.session())
    assert errors(log) == [(kind, "retrying")]
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("events:retry:exhausted")
async def test_the_last_failure_flushes_the_queue_and_ends_the_turn(scene: Scene) -> None:
    busy = fails(529, "overloaded_error")
    held = {"content": [scene.gate("hold"), {"error": "overloaded_error"}]}
    await scene.answers(*[busy] * (MAX_ATTEMPTS - 1), held, says("recovered"))
    session = await scene.session()
    await scene.send(session, message("one"))
    await scene.shown(MAX_ATTEMPTS)
    [queued] = await scene.send(session, message("two"))
    await scene.release("hold")
    log = await scene.idle(session)
    assert errors(log) == [("model_overloaded_error", "retrying")] * (MAX_ATTEMPTS - 1) + [
        ("model_overloaded_error", "exhausted")
    ]
    assert [event["type"] for event in log[-5:]] == ["session.error", "user.message", *END]
    assert log[-4]["id"] == queued["id"] and log[-4]["processed_at"]
    assert log[-1]["stop_reason"] == log[-3]["stop_reason"] == EXHAUSTED
    assert (await scene.retrieve(session))["status"] == "idle"
    log = await scene.turn(session, message("three"))
    assert text_of(of_type(log, "agent.message")[0]) == "recovered"


@requirement("events:retry:fatal")
@pytest.mark.parametrize(
    "answer, kind",
    [
        (fails(400, "invalid_request_error", message="too long"), "model_request_failed_error"),
        (fails(401, "authentication_error"), "model_request_failed_error"),
        (fails(402, "billing_error"), "billing_error"),
        (fails(404, "not_found_error"), "model_request_failed_error"),
    ],
    ids=["400", "401", "402", "404"],
)
async def test_what_cannot_be_helped_is_not_tried_again(scene: Scene, answer: Json, kind: str) -> None:
    await scene.answers(answer)
    log = await scene.turn(await scene.session())
    assert errors(log) == [(kind, "exhausted")]
    assert log[-1]["stop_reason"] == EXHAUSTED and len(await scene.shown()) == 1


@requirement("events:retry:mid-stream")
async def test_half_an_answer_never_happened(scene: Scene) -> None:
    half = {
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "half a sentence"},
            {"type": "tool_use", "name": "bash", "input": {"command": "touch ran"}},
            {"drop": True},
        ]
    }
    await scene.answers(half, calls(("glob", {"pattern": "*"})), says("whole"))
    log = await scene.turn(await scene.session(toolset()))
    assert [text_of(event) for event in of_type(log, "agent.message")] == ["whole"]
    assert not of_type(log, "agent.thinking")
    assert [event["name"] for event in of_type(log, "agent.tool_use")] == ["glob"]
    assert "ran" not in text_of(of_type(log, "agent.tool_result")[0])


@requirement("events:retry")
async def test_a_success_starts_the_count_of_failures_anew(scene: Scene) -> None:
    busy = fails(529, "overloaded_error")
    script = [busy] * (MAX_ATTEMPTS - 1) + [calls(bash("true"))] + [busy] * (MAX_ATTEMPTS - 1) + [says("done")]
    await scene.answers(*script)
    log = await scene.turn(await scene.session(toolset()))
    assert log[-1]["stop_reason"] == {"type": "end_turn"}
    assert {status for _, status in errors(log)} == {"retrying"}


@requirement("events:round-limit")
async def test_a_turn_that_never_ends_is_ended(scene: Scene) -> None:
    await scene.answers(*[calls(bash("true"))] * (MAX_TOOL_ROUNDS + 1))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    assert errors(log) == [("tool_use_limit_reached_error", "exhausted")]
    assert log[-1]["stop_reason"] == EXHAUSTED
    assert len(await scene.shown()) == MAX_TOOL_ROUNDS
    assert len(of_type(log, "agent.tool_result")) == MAX_TOOL_ROUNDS
    log = await scene.turn(session)
    assert of_type(log, "span.model_request_start")


@requirement("events:refusal")
async def test_a_refusal_ends_the_turn_with_its_details(scene: Scene) -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    await scene.answers(
        says("I cannot", stop_reason="refusal", stop_details=details),
        says("", stop_reason="refusal"),
        says("fine"),
    )
    session = await scene.session()
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == {"type": "refusal"} == log[-3]["stop_reason"]
    assert log[-1]["stop_details"] == details == log[-3]["stop_details"]
    assert text_of(of_type(log, "agent.message")[0]) == "I cannot"
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == {"type": "refusal"}
    log = await scene.turn(session)
    assert log[-1]["stop_reason"] == {"type": "end_turn"}


@requirement("events:refusal", "events:interrupt:tools")
async def test_calls_beside_a_refusal_are_not_run(scene: Scene) -> None:
    await scene.answers(calls(bash("touch ran"), stop_reason="refusal"), says("next"))
    session = await scene.session(toolset())
    log = await scene.turn(session)
    [closed] = of_type(log, "agent.tool_result")
    assert closed["is_error"] is True and log[-1]["stop_reason"] == {"type": "refusal"}
    assert (await scene.turn(session))[-1]["stop_reason"] == {"type": "end_turn"}
