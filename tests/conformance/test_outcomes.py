"""Outcomes (spec B.1, B.2, B.3): defined by the client, graded by a brain with a context of its own, revised."""

from __future__ import annotations

from typing import Any

from anthropic.types.beta.beta_managed_agents_outcome_evaluation_resource import (
    BetaManagedAgentsOutcomeEvaluationResource,
)

from tests.conformance.requirements import requirement
from tests.conformance.scene import (
    END,
    REQUEST,
    START,
    Json,
    Scene,
    bash,
    calls,
    message,
    of_type,
    says,
    text_of,
    toolset,
)

EVALUATION = ["span.outcome_evaluation_start", "span.outcome_evaluation_end"]


def outcome(scene: Scene, **more: Any) -> Json:
    """An outcome with the scene's mark, which the grader is shown, too."""
    rubric = {"type": "text", "content": "It rhymes."}
    return {"type": "user.define_outcome", "description": f"A poem {scene.mark}.", "rubric": rubric, **more}


def verdict(result: str, why: str, **more: Any) -> Json:
    return says(f"<result>{result}</result><explanation>{why}</explanation>", **more)


def graders(shown: list[Json]) -> list[Json]:
    """The bodies of requests that grade: their system prompt has no mark."""
    return [body for body in shown if "mark" not in str(body["system"])]


@requirement("outcomes:satisfied", "outcomes:grader")
async def test_an_outcome_that_is_met_ends_the_turn(scene: Scene) -> None:
    await scene.answers(says("Roses are red."), verdict("satisfied", "It rhymes indeed."))
    session = await scene.session()
    [echo] = await scene.send(session, outcome(scene))
    assert echo["processed_at"] is not None and echo["max_iterations"] == 3
    log = await scene.idle(session)
    assert [event["type"] for event in log] == ["user.define_outcome", *START, *REQUEST, *EVALUATION, *END]
    start, end = of_type(log, *EVALUATION)
    assert set(start) == {"id", "type", "processed_at", "outcome_id", "iteration"}
    assert (start["outcome_id"], start["iteration"]) == (echo["outcome_id"], 0)
    assert end == {
        "id": end["id"],
        "type": "span.outcome_evaluation_end",
        "processed_at": end["processed_at"],
        "outcome_evaluation_start_id": start["id"],
        "outcome_id": echo["outcome_id"],
        "iteration": 0,
        "result": "satisfied",
        "explanation": "It rhymes indeed.",
        "usage": {**end["usage"], "input_tokens": 100, "output_tokens": 20},
    }
    resource = await scene.retrieve(session)
    assert resource["usage"]["input_tokens"] == 200
    assert resource["outcome_evaluations"] == [
        {
            "type": "outcome_evaluation",
            "outcome_id": echo["outcome_id"],
            "description": echo["description"],
            "result": "satisfied",
            "iteration": 0,
            "explanation": "It rhymes indeed.",
            "completed_at": end["processed_at"],
        }
    ]
    [by_sdk] = (await scene.client.beta.sessions.retrieve(session)).outcome_evaluations or []
    assert isinstance(by_sdk, BetaManagedAgentsOutcomeEvaluationResource) and by_sdk.result == "satisfied"
    shown = await scene.shown(2)
    [grader] = graders(shown)
    assert not grader.get("tools") and [each["role"] for each in grader["messages"]] == ["user"]
    assert "Roses are red." in str(grader["messages"]) and "It rhymes." in str(grader["messages"])


@requirement("outcomes:grader")
async def test_the_grader_sees_the_files_that_the_agent_has_left(scene: Scene) -> None:
    folder = "/mnt/session/outputs"
    await scene.answers(calls(bash(f"mkdir {folder}/sub; printf 'Violets are blue.' > {folder}/sub/poem.txt")))
    await scene.answers(says("done"), verdict("satisfied", "It rhymes."))
    session = await scene.session(toolset())
    await scene.turn(session, outcome(scene))
    [grader] = graders(await scene.shown(3))
    texts = [block["text"] for block in grader["messages"][0]["content"]]
    assert [text for text in texts if text.startswith("<file")] == [f"<file {folder}/sub/poem.txt>\nViolets are blue."]


@requirement("outcomes:revision")
async def test_what_is_not_met_is_revised_in_the_same_turn_and_graded_again(scene: Scene) -> None:
    await scene.answers(says("one"), verdict("needs_revision", "No rhyme."), says("two"), verdict("satisfied", "Good."))
    session = await scene.session()
    log = await scene.turn(session, outcome(scene))
    assert [event["type"] for event in log] == [
        "user.define_outcome",
        *START,
        *REQUEST,
        *EVALUATION,
        *REQUEST,
        *EVALUATION,
        *END,
    ]
    ends = of_type(log, "span.outcome_evaluation_end")
    assert [(end["iteration"], end["result"]) for end in ends] == [(0, "needs_revision"), (1, "satisfied")]
    worked = [body for body in await scene.shown(4) if body not in graders(await scene.shown(4))]
    assert "No rhyme." in str(worked[-1]["messages"][-1]) and "No rhyme." not in str(worked[0]["messages"])


@requirement("outcomes:max-iterations")
async def test_the_last_evaluation_is_followed_by_one_closing_turn(scene: Scene) -> None:
    await scene.answers(says("one"), verdict("needs_revision", "No rhyme."), says("That is all there is."))
    session = await scene.session()
    log = await scene.turn(session, outcome(scene, max_iterations=1))
    assert [event["type"] for event in log][-3 - len(REQUEST) - 1 :] == [EVALUATION[1], *REQUEST, *END]
    [end] = of_type(log, EVALUATION[1])
    assert end["result"] == "max_iterations_reached"
    assert text_of(of_type(log, "agent.message")[-1]) == "That is all there is."
    assert (await scene.retrieve(session))["outcome_evaluations"][0]["result"] == "max_iterations_reached"
    await scene.answers(says("bye"))
    assert of_type(await scene.turn(session, message("bye")), *EVALUATION) == []


@requirement("outcomes:interrupt")
async def test_an_interrupt_ends_the_outcome_while_it_is_worked_on_and_while_it_is_graded(scene: Scene) -> None:
    await scene.answers(says(["on", scene.gate("never")]))
    session = await scene.session()
    await scene.send(session, outcome(scene))
    await scene.shown(1)
    log = await scene.turn(session, {"type": "user.interrupt"})
    [end] = of_type(log, *EVALUATION)
    assert (end["outcome_evaluation_start_id"], end["result"]) == ("", "interrupted")
    await scene.answers(says("one"), says(["<result>", scene.gate("nor this")]))
    await scene.send(session, outcome(scene))
    await scene.shown(3)
    log = await scene.turn(session, {"type": "user.interrupt"})
    start, end = of_type(await scene.log(session), *EVALUATION)[-2:]
    assert (end["outcome_evaluation_start_id"], end["result"]) == (start["id"], "interrupted")
    assert of_type(log, "session.status_idle")[0]["stop_reason"] == {"type": "end_turn"}
    results = [each["result"] for each in (await scene.retrieve(session))["outcome_evaluations"]]
    assert results == ["interrupted", "interrupted"]


@requirement("outcomes:one-at-a-time")
async def test_there_is_one_outcome_at_a_time(scene: Scene) -> None:
    await scene.answers(says([scene.gate("hold"), "one"]), verdict("failed", "No poem."))
    session = await scene.session()
    await scene.refused(session, outcome(scene), outcome(scene))
    await scene.send(session, outcome(scene))
    await scene.shown(1)
    error = await scene.refused(session, outcome(scene))
    assert "user.define_outcome" in error["message"]
    assert (await scene.retrieve(session))["outcome_evaluations"][0]["result"] == "running"
    await scene.release("hold")
    await scene.idle(session)
    await scene.answers(says("two"), verdict("satisfied", "A poem."))
    await scene.turn(session, outcome(scene))
    results = [each["result"] for each in (await scene.retrieve(session))["outcome_evaluations"]]
    assert results == ["failed", "satisfied"]


@requirement("outcomes:rubric-file", "outcomes:initial")
async def test_a_session_begins_with_an_outcome_whose_rubric_is_a_file(scene: Scene) -> None:
    file = await scene.client.beta.files.upload(file=("rubric.md", b"It has fourteen lines.", "text/markdown"))
    await scene.answers(says("one"), verdict("satisfied", "Fourteen."))
    given = outcome(scene, rubric={"type": "file", "file_id": file.id})
    session = await scene.session(initial_events=[given])
    log = await scene.idle(session)
    assert log[0]["rubric"] == {"type": "text", "content": "It has fourteen lines."}
    [grader] = graders(await scene.shown(2))
    assert "fourteen lines" in str(grader["messages"])
    agent = await scene.agent()
    body = {"agent": agent, "environment_id": scene.environment_id, "initial_events": [given, given]}
    assert (await scene.http.post("/v1/sessions", json=body)).status_code == 400


@requirement("outcomes:validation")
async def test_what_an_outcome_may_say_is_bounded(scene: Scene) -> None:
    session = await scene.session()
    for wrong, named in (
        ({"description": ""}, "description"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"max_iterations": 21}, "max_iterations"),
        ({"rubric": {"type": "text", "content": "x" * 262_145}}, "rubric.content"),
        ({"rubric": {"type": "file", "file_id": "file_none"}}, "rubric.file_id"),
    ):
        error = await scene.refused(session, outcome(scene, **wrong))
        assert error["message"].startswith(f"events[0].{named}")
    assert await scene.log(session) == []
