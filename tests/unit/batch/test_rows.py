"""Rows over a platform that fails in every way: each gets one result, and its task is taken in once (ours).

Bug class this catches: a second session or a second message after an answer was lost, rows lost on a resume.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agents.batch.journal import Journal, began, bound
from agents.batch.patience import BatchStopped
from agents.batch.row_runner import RowRules
from tests.unit.batch.fake_platform import END_TURN, FakeSession, Json, answer, failure
from tests.unit.batch.stage import Stage
from tests.unit.waiting import until

SAID = [f"say {number}" for number in range(6)]
CALL: Json = {"id": "call_1", "type": "agent.tool_use", "name": "bash", "input": {}, "evaluated_permission": "ask"}
CUSTOM: Json = {"id": "call_1", "type": "agent.custom_tool_use", "name": "shop", "input": {}}
WAITS: Json = {"type": "session.status_idle", "stop_reason": {"type": "requires_action", "event_ids": ["call_1"]}}


def every_row_once(stage: Stage) -> None:
    rows = [row for page in stage.journal.rows() for row in page]
    assert [(row["outcome"], row["answer"]) for row in rows] == [("ok", said) for said in SAID]
    assert sorted(stage.platform.messages()) == SAID
    assert {row["session"] for row in rows} == set(stage.platform.sessions)
    assert len(stage.platform.sessions) == 6


async def test_every_task_is_a_session_and_a_row(stage: Stage) -> None:
    progress = await stage.run()
    every_row_once(stage)
    assert (progress.done, progress.errors, progress.running, progress.cost_micro_usd) == (6, 0, 0, 6 * 1234)
    row = stage.row(1)
    assert (row["input_tokens"], row["model_requests"], row["attempts"], row["active_seconds"]) == (10, 1, 1, 0.5)
    [session] = stage.platform.of_row(1)
    assert session.body["metadata"] == {"batch_id": "batch_1", "batch_row": "1", "batch_attempt": "1"}
    assert (session.body["agent"], session.body["environment_id"]) == ("agent_1", "env_1")


async def test_no_more_run_at_a_time_than_allowed(stage: Stage) -> None:
    most = 0

    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        nonlocal most
        most = max(most, stage.progress.running)
        return answer(text)

    stage.platform.turn = turn
    await stage.run(concurrency=2)
    assert most == 2


@pytest.mark.parametrize("fault", ["lost", "unanswered", 500, 503])
@pytest.mark.parametrize("asked", [("POST", "sessions"), ("POST", "events"), ("GET", "stream"), ("GET", "session")])
async def test_a_request_that_fails_costs_nothing_but_time(
    stage: Stage, asked: tuple[str, str], fault: str | int
) -> None:
    stage.platform.faults[asked] = [fault] * 4
    await stage.run()
    every_row_once(stage)
    assert stage.slept


async def test_a_stream_that_ends_in_mid_turn_is_opened_again_behind_what_was_missed(stage: Stage) -> None:
    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        session.cut()
        return answer(text)

    stage.platform.turn = turn
    await stage.run()
    every_row_once(stage)


async def test_a_session_that_was_made_and_not_noted_is_found_again(stage: Stage, journal: Journal) -> None:
    stage.platform.faults["POST", "events"] = ["lost"] * 50
    with pytest.raises(BatchStopped):
        await stage.run(patience=0, concurrency=1)
    [made] = stage.platform.sessions.values()
    journal.commit([("UPDATE rows SET session = NULL WHERE line = 1", {})])  # as if it died before
    stage.platform.faults.clear()
    await stage.run()
    every_row_once(stage)
    assert stage.row(1)["session"] == made.id


async def test_a_turn_that_went_on_meanwhile_is_found_done(stage: Stage, journal: Journal) -> None:
    stage.platform.sessions["sesn_9"] = FakeSession("sesn_9", {"metadata": {"batch_row": "1"}})
    message = {"type": "user.message", "content": [{"type": "text", "text": "say 0"}]}
    stage.platform.sessions["sesn_9"].emit(message, {"type": "session.status_running"}, *answer("say 0"))
    journal.commit([began(1, 1, 1.0), bound(1, "sesn_9")])
    await stage.run()
    every_row_once(stage)


async def test_a_server_that_stays_away_stops_the_batch_and_the_next_run_goes_on(stage: Stage) -> None:
    stage.platform.faults["GET", "stream"] = ["lost"] * 100
    with pytest.raises(BatchStopped, match="nothing was heard"):
        await stage.run(patience=0)
    assert len(stage.journal.open_rows()) == 6
    stage.platform.faults.clear()
    await stage.run()
    every_row_once(stage)


@pytest.mark.parametrize(("attempts", "outcome", "sessions"), [(1, "error", 1), (2, "error", 2), (3, "ok", 3)])
async def test_a_session_that_fails_is_followed_by_another_as_often_as_allowed(
    stage: Stage, attempts: int, outcome: str, sessions: int
) -> None:
    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        tried = session.body["metadata"]["batch_attempt"]
        return failure("retries_exhausted") if text == "say 0" and tried != "3" else answer(text)

    stage.platform.turn = turn
    await stage.run(RowRules(attempts=attempts))
    row = stage.row(1)
    assert (row["outcome"], row["attempts"]) == (outcome, sessions)
    assert (row["cost_micro_usd"], row["session"]) == (1234 * sessions, stage.platform.of_row(1)[-1].id)
    if outcome == "error":
        assert (row["error_type"], row["error"], row["stop_reason"]) == (
            "model_overloaded_error",
            "no luck",
            "retries_exhausted",
        )
    assert stage.row(2)["outcome"] == "ok"


@pytest.mark.parametrize("stop", ["budget_reached", "refusal"])
async def test_ends_that_another_session_would_meet_too_are_not_tried_again(stage: Stage, stop: str) -> None:
    stage.platform.turn = lambda session, text: [{"type": "session.status_idle", "stop_reason": {"type": stop}}]
    await stage.run(RowRules(attempts=3))
    assert len(stage.platform.sessions) == 6
    row = stage.row(1)
    assert (row["outcome"], row["stop_reason"], row["error_type"]) == ("error", stop, stop)


async def test_a_task_that_the_server_refuses_is_an_error_of_its_row_alone(stage: Stage) -> None:
    stage.platform.faults["POST", "sessions"] = [400]
    await stage.run(RowRules(attempts=3), concurrency=1)
    row = stage.row(1)
    assert (row["outcome"], row["error_type"], row["error"], row["session"]) == (
        "error",
        "some_error",
        "status 400",
        None,
    )
    assert stage.row(2)["outcome"] == "ok"


@pytest.mark.parametrize(("allow", "result"), [(False, "deny"), (True, "allow")])
async def test_calls_that_ask_for_permission_are_answered_once(stage: Stage, allow: bool, result: str) -> None:
    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        return [CALL, WAITS] if text.startswith("say") else answer("went on")

    stage.platform.turn = turn
    await stage.run(RowRules(allow=allow))
    [session] = stage.platform.of_row(1)
    verdicts = [event for event in session.log if event["type"] == "user.tool_confirmation"]
    assert [verdict["result"] for verdict in verdicts] == [result]
    assert (stage.row(1)["answer"], stage.row(1)["tool_calls"]) == ("went on", 1)


async def test_a_custom_tool_is_told_that_nobody_runs_it(stage: Stage) -> None:
    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        return [CUSTOM, WAITS] if text.startswith("say") else answer("went on")

    stage.platform.turn = turn
    await stage.run()
    [session] = stage.platform.of_row(1)
    assert [event["is_error"] for event in session.log if event["type"] == "user.custom_tool_result"] == [True]


async def test_a_session_that_takes_too_long_is_interrupted(stage: Stage) -> None:
    def turn(session: FakeSession, text: str) -> Sequence[Json]:
        return [] if text == "say 0" else [{"type": "session.status_idle", "stop_reason": END_TURN}]

    stage.platform.turn = turn
    await stage.run(RowRules(seconds=0.2))
    row = stage.row(1)
    assert (row["outcome"], row["error_type"], row["cost_micro_usd"]) == ("error", "timeout", 1234)
    [session] = stage.platform.of_row(1)
    assert "user.interrupt" in [event["type"] for event in session.log]


async def test_a_batch_that_is_cancelled_leaves_its_rows_open(stage: Stage) -> None:
    stage.platform.turn = lambda session, text: []
    running = asyncio.create_task(stage.run())
    await until(lambda: len(stage.platform.messages()) == 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [row.session is not None for row in stage.journal.open_rows()] == [True, True, True, False, False, False]
    for session in stage.platform.sessions.values():
        session.emit(*answer(SAID[int(session.body["metadata"]["batch_row"]) - 1]))
    stage.platform.turn = lambda session, text: answer(text)
    await stage.run()
    every_row_once(stage)
