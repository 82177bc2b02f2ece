"""The checks of files, memories, threads, outcomes, runs and webhooks: each must find a violation that was made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from agents.brains.plan import PlanBook, parse_plans
from agents.brains.port import BrainRequest
from agents.brains.replay import play
from agents.memory.mounting import NOT_NOW
from tests.chaos.checks import violations
from tests.chaos.hook import Hook
from tests.chaos.plan import plan_file, scripts
from tests.chaos.record import Action, Json, Post, Run, Visit
from tests.chaos.resource_plan import CLONED, GIVEN, LOG, NOTE, OUTPUTS, SKILL, TASK, UPLOAD
from tests.chaos.script import said
from tests.chaos.test_checks import BEGIN, event, text

SCRIPTS = scripts(2, 1)
MINE = ("mounts", "outputs", "memories", "threads", "outcomes", "runs", "webhooks")
PATH, WRITTEN = next(iter(SCRIPTS["mounted"].writes.items()))


def visit(number: int, kind: str, log: list[Json], **more: Any) -> Visit:
    session = f"sesn_{kind}"
    ends = event("session.status_idle", 1000 * number + 999, stop_reason={"type": "end_turn"})
    done: dict[str, Any] = {"session_id": session, "status": "idle", "outcome": "done", **more}
    return Visit(number, kind, "poll", final=[*log, ends], final_again=[*log, ends], **done)


def mounted() -> Visit:
    line = "sesn_mounted/r0"
    command = f"e {line} && cat {UPLOAD} && echo {line} > {OUTPUTS}/r0.txt && echo {line} >> /mnt/memory/notes{LOG}"
    log = [
        event("agent.tool_use", 1, name="write", input={"file_path": PATH, "content": WRITTEN}),
        event("agent.tool_use", 2, name="bash", input={"command": command}),
        event("agent.tool_result", 3, tool_use_id="sevt_1", is_error=False, content=text("written")),
        event("agent.tool_result", 4, tool_use_id="sevt_2", is_error=False, content=text(GIVEN + SKILL + CLONED)),
    ]
    kept: Json = {"memories": {LOG: f"{line}\n", NOTE: WRITTEN}, "versions": [LOG, NOTE]}
    return visit(0, "mounted", log, outputs=[("r0.txt", f"{line}\n")], **kept)


def team() -> Visit:
    given = {"agent": "chaos-helper", "message": f"{TASK} in sesn_team"}
    log = [
        event("agent.tool_use", 1001, name="create_agent", input=given),
        event("session.thread_created", 1002, session_thread_id="sthr_1", agent_name="chaos-helper"),
        event("agent.tool_result", 1003, tool_use_id="sevt_1001", is_error=False, content=text("{}")),
        event("agent.thread_message_received", 1009, from_session_thread_id="sthr_1", content=text(said(2))),
    ]
    thread = [
        event("agent.thread_message_received", 1004, from_session_thread_id="sthr_0", content=text(given["message"])),
        event("agent.tool_use", 1005, name="bash", input={"command": "e sesn_team/h0 && true"}),
        event("agent.tool_result", 1006, tool_use_id="sevt_1005", is_error=False, content=text("")),
        event("agent.message", 1007, content=text(said(2))),
    ]
    return visit(1, "team", log, threads={"sthr_1": thread})


def judged() -> Visit:
    log = [event("user.define_outcome", 2001, outcome_id="outc_1", description="it")]
    for iteration, result in enumerate(("needs_revision", "satisfied")):
        at, mine = 2010 + 10 * iteration, {"outcome_id": "outc_1", "iteration": iteration}
        log.append(event("span.outcome_evaluation_start", at, **mine))
        end = {"outcome_evaluation_start_id": f"sevt_{at}", "result": result}
        log.append(event("span.outcome_evaluation_end", at + 1, **mine, **end))
    return visit(2, "judged", log, outcomes=["it"], evaluations=[{"description": "it", "result": "satisfied"}])


def good_run() -> Run:
    """One session of each kind, without fault."""
    visits = [mounted(), team(), judged(), visit(3, "deployed", [])]
    posts = [
        Post(f"whe_{each.number}{kind}", kind, each.session_id)
        for each in visits
        for kind in ("session.created", "session.status_idled", "session.created")
    ]
    fires = [
        {"id": "drun_1", "session_id": "sesn_deployed", "error": None},
        {"id": "drun_2", "session_id": None, "error": {"type": "unknown_error"}},
    ]
    effects = [("sesn_mounted/r0", BEGIN + 2), ("sesn_team/h0", BEGIN + 1005)]
    return Run(
        visits=visits,
        posts=posts,
        fires=fires,
        fired=["sesn_deployed"],
        listed=["sesn_deployed"],
        asked=2,
        effects=effects,
    )


def found(run: Run) -> set[str]:
    return {violation.check for violation in violations(run, SCRIPTS)}


def test_a_blameless_run_violates_nothing() -> None:
    assert found(good_run()) <= {"effects happen"}  # these sessions are short
    assert not found(good_run()) & set(MINE)


def _of(kind: str, change: Callable[[Visit], Any]) -> Callable[[Run], Any]:
    return lambda run: [change(each) for each in run.visits if each.kind == kind]


def _logged(kind: str, number: int, **fields: Any) -> Callable[[Run], Any]:
    return _of(kind, lambda it: next(each for each in it.final if each["id"] == f"sevt_{number}").update(fields))


def _thread(change: Callable[[list[Json]], Any]) -> Callable[[Run], Any]:
    return _of("team", lambda it: change(it.threads["sthr_1"]))


def _again(kind: str, place: int) -> Callable[[Run], Any]:
    return _of(kind, lambda it: it.final.insert(place, {**it.final[place], "id": "sevt_again"}))


def _stray(*sessions: str) -> Callable[[Run], Any]:
    return lambda run: [each.extend(sessions) for each in (run.fired, run.listed)]


CASES: list[tuple[str, str, Callable[[Run], Any]]] = [
    ("a mount without its bytes", "mounts", _logged("mounted", 4, content=text(SKILL + CLONED))),
    ("a session without its skill", "mounts", _logged("mounted", 4, content=text(GIVEN + CLONED))),
    ("a session without its repository", "mounts", _logged("mounted", 4, content=text(GIVEN + SKILL))),
    ("an output that is gone", "outputs", _of("mounted", lambda it: it.outputs.clear())),
    ("an output that is there twice", "outputs", _of("mounted", lambda it: it.outputs.append(it.outputs[0]))),
    ("an output with other bytes", "outputs", _of("mounted", lambda it: setattr(it, "outputs", [("r0.txt", "x")]))),
    ("a line that memory has lost", "memories", _of("mounted", lambda it: it.memories.update({LOG: ""}))),
    (
        "a line that it has twice",
        "memories",
        _of("mounted", lambda it: it.memories.update({LOG: it.memories[LOG] * 2})),
    ),
    (
        "half a line in it",
        "memories",
        _of("mounted", lambda it: it.memories.update({LOG: it.memories[LOG] + "sesn_m"})),
    ),
    ("a memory that is gone", "memories", _of("mounted", lambda it: it.memories.pop(NOTE))),
    ("a memory that says something else", "memories", _of("mounted", lambda it: it.memories.update({NOTE: "x"}))),
    ("a memory that was written twice", "memories", _of("mounted", lambda it: it.versions.append(NOTE))),
    ("a report that never came", "threads", _of("team", lambda it: it.final.pop(3))),
    ("a report that came twice", "threads", _again("team", 3)),
    ("a report of something else", "threads", _logged("team", 1009, content=text(said(1)))),
    ("a report of a thread that is none", "threads", _logged("team", 1009, from_session_thread_id="sthr_9")),
    ("a thread that nobody was told of", "threads", _of("team", lambda it: it.final.pop(1))),
    ("a thread too many", "threads", _of("team", lambda it: it.threads.update(sthr_2=[]))),
    ("a task that was given twice", "threads", _thread(lambda log: log.insert(1, {**log[0], "id": "sevt_again"}))),
    ("another task", "threads", _thread(lambda log: log[0].update(content=text("another")))),
    ("a call of a thread without result", "one result", _thread(lambda log: log.pop(2))),
    ("a success of a thread without effect", "effects happen", lambda run: run.effects.pop()),
    ("a message of a thread that is cut", "whole messages", _thread(lambda log: log[3].update(content=text("<2: ")))),
    ("an outcome that was never defined", "outcomes", _of("judged", lambda it: it.outcomes.append("another"))),
    ("an outcome that was defined twice", "outcomes", _again("judged", 0)),
    ("an evaluation with two ends", "outcomes", _again("judged", 4)),
    ("an evaluation without end", "outcomes", _of("judged", lambda it: it.final.pop(2))),
    ("an evaluation too many", "outcomes", _again("judged", 3)),
    ("an end without start", "outcomes", _logged("judged", 2021, outcome_evaluation_start_id="")),
    ("another verdict", "outcomes", _logged("judged", 2021, result="failed")),
    ("a verdict that is not shown", "outcomes", _of("judged", lambda it: it.evaluations[0].update(result="running"))),
    ("a run with two sessions", "runs", _stray("sesn_x", "sesn_y")),
    ("two runs with one session", "runs", lambda run: run.fires.append({**run.fires[0], "id": "drun_3"})),
    ("a run that was answered and is gone", "runs", lambda run: run.fires.pop(0)),
    ("a run with neither session nor error", "runs", lambda run: run.fires[1].update(error=None)),
    ("a session that is not the deployment's", "runs", lambda run: run.fired.clear()),
    ("a session that is not listed by its deployment", "runs", lambda run: run.listed.clear()),
    ("a beginning that was not told", "webhooks", lambda run: run.posts.__delitem__(slice(0, 3))),
    ("an end that was told under two ids", "webhooks", lambda run: run.posts.append(Post("x", *_end(run)))),
    ("an id of two things", "webhooks", lambda run: run.posts.append(Post(run.posts[0].message_id, *_end(run)))),
]


def _end(run: Run) -> tuple[str, str]:
    return run.posts[1].kind, run.posts[1].session_id


@pytest.mark.parametrize(("check", "spoil"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_check_finds_what_it_is_for(check: str, spoil: Callable[[Run], Any]) -> None:
    run = good_run()
    before = {violation.what for violation in violations(run, SCRIPTS)}
    spoil(run)
    assert check in {each.check for each in violations(run, SCRIPTS) if each.what not in before}


def test_a_memory_that_the_result_says_is_not_kept_need_not_be() -> None:
    run = good_run()
    _logged("mounted", 3, content=text(f"<system-note>{NOT_NOW}</system-note>"))(run)
    run.visits[0].memories.clear()
    assert "memories" not in found(run)


def test_an_output_may_wait_for_the_next_call_when_the_database_was_away() -> None:
    run = good_run()
    run.visits[0].outputs.clear()
    run.actions.append(Action("restart database", "postgresql", BEGIN + 3))
    assert "outputs" not in found(run)
    run.actions[0].at = BEGIN - 60
    assert "outputs" in found(run)


def test_a_run_whose_answer_was_lost_may_have_made_a_session() -> None:
    run = good_run()
    _stray("sesn_lost")(run)
    assert "runs" not in found(run)
    run.asked = 1
    assert "runs" in found(run)


def _says(*messages: Json) -> str:
    """What a coordinator says next, without the notice of the replay brain."""
    book = PlanBook(parse_plans(plan_file(SCRIPTS, 1), "here"))
    played = play(BrainRequest("sesn_1", "m", list(messages)), book)
    return played.blocks[0][1]["text"].rpartition("\n")[2]


def _hears(*words: str) -> Json:
    return {"role": "user", "content": [block for each in words for block in text(each)]}


def test_a_coordinator_says_each_thing_once_whenever_it_hears_of_the_end() -> None:
    report = ("Message from chaos-helper (thread sthr_1):", said(2))
    use = {"type": "tool_use", "id": "toolu_1", "name": "create_agent", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text("{}")}
    begun = (_hears("chaos-team 1.1 turn 0"), {"role": "assistant", "content": [use]})
    ended = (*begun, {"role": "user", "content": [result]})
    spoken = {"role": "assistant", "content": text("so")}
    at_once = (*begun, {"role": "user", "content": [result, *_hears(*report)["content"]]})
    assert _says(begun[0]) == said("0.0")
    assert _says(*ended) == said("0.1")
    assert _says(*ended, spoken, _hears(*report)) == said("report") == _says(*at_once)
    assert _says(*at_once, spoken, _hears("chaos-team 1.1 turn 1")) == said("1.0")


async def test_the_endpoint_takes_a_message_and_notes_it() -> None:
    hook = Hook()
    await hook.start()
    try:
        body = {"data": {"type": "session.created", "id": "sesn_1"}}
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.post(hook.url, json=body, headers={"webhook-id": "whe_1"})
    finally:
        await hook.stop()
    assert answer.status_code == 204 and hook.posts == [Post("whe_1", "session.created", "sesn_1")]
