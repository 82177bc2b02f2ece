"""The checks themselves: each must find a violation that was made up, or its silence would prove nothing (ours)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.checks import violations
from tests.chaos.memory import MEBIBYTE, fit, growth, slopes
from tests.chaos.options import SMALL, Options
from tests.chaos.plan import plan_file, scripts
from tests.chaos.record import Action, ApiError, Connection, Json, Outage, Post, Run, Visit
from tests.chaos.schedule import DECK, NEEDS_SERVER, ROLLS, kinds_of, schedule
from tests.chaos.script import FILE, said
from tests.chaos.takeover import percentile, standstill, takeovers

SCRIPTS = scripts(2, 1)
SESSION = "sesn_1"
BEGIN = 1_000_000_000.0


def at(seconds: float) -> str:
    """A time stamp so many seconds after the beginning."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat()


def event(kind: str, number: int, **fields: Any) -> Json:
    return {"id": f"sevt_{number}", "type": kind, "processed_at": at(number), **fields}


def text(words: str) -> list[Json]:
    return [{"type": "text", "text": words}]


def command(*labels: str, more: str = "") -> Json:
    return {"command": "".join(f"e {SESSION}/{label} && " for label in labels) + (more or "true")}


def good_log() -> list[Json]:
    """A short and blameless session of the kind ``ask``: one call refused, made up for, and the file shown."""
    lines = "\n".join(f"{SESSION}/{label}" for label in ("r0", "r1~2"))
    return [
        event("session.status_running", 0),
        event("user.message", 1, content=text("hello")),
        event("span.model_request_start", 2),
        event("agent.tool_use", 3, name="bash", input=command("r0")),
        event("agent.tool_use", 4, name="bash", input=command("r1"), evaluated_permission="ask"),
        event("span.model_request_end", 5, model_request_start_id="sevt_2"),
        {**event("user.tool_confirmation", 5, tool_use_id="sevt_4", result="deny"), "id": "sevt_51"},
        event("agent.tool_result", 6, tool_use_id="sevt_3", is_error=False, content=text("")),
        event("agent.tool_result", 7, tool_use_id="sevt_4", is_error=True, content=text("refused")),
        event("agent.tool_use", 8, name="bash", input=command("r1~2", more=f"touch {FILE} && cat {FILE}")),
        event("agent.tool_result", 9, tool_use_id="sevt_8", is_error=False, content=text(lines)),
        event("agent.message", 10, content=text(said(7))),
        event("session.status_idle", 11, stop_reason={"type": "end_turn"}),
    ]


def good_run() -> Run:
    """A run without fault: one session, one stream, one death of a harness."""
    log = good_log()
    stream = Connection("stream", BEGIN, events=[dict(each) for each in log], previews={"sevt_10": said(7)[:20]})
    visit = Visit(
        0,
        "ask",
        "stream",
        session_id=SESSION,
        sent=["hello"],
        connections=[stream],
        listings=[[each["id"] for each in log[:5]]],
        final=log,
        final_again=good_log(),
        status="idle",
        outcome="done",
        denied=["sevt_4"],
    )
    effects = [(f"{SESSION}/r0", BEGIN + 5), (f"{SESSION}/r1~2", BEGIN + 8)]
    posts = [Post(f"whe_{kind}", kind, SESSION) for kind in ("session.created", "session.status_idled")]
    actions = [Action("kill harness", "harness-0", BEGIN + 2)]
    return Run(visits=[visit], actions=actions, effects=effects, posts=posts)


def found(run: Run) -> set[str]:
    return {violation.check for violation in violations(run, SCRIPTS)}


def test_a_blameless_run_violates_nothing() -> None:
    assert violations(good_run(), SCRIPTS) == []


def _log(change: Callable[[list[Json]], Any]) -> Callable[[Run], None]:
    """Change both listings of the end in the same way, and forget what the stream showed."""

    def apply(run: Run) -> None:
        visit = run.visits[0]
        visit.connections.clear()
        visit.listings.clear()
        change(visit.final)
        change(visit.final_again)

    return apply


def _stream(change: Callable[[Connection], Any]) -> Callable[[Run], None]:
    def apply(run: Run) -> None:
        change(run.visits[0].connections[0])

    return apply


def _unasked(log: list[Json]) -> None:
    log[8]["tool_use_id"] = "sevt_99"


def _early(log: list[Json]) -> None:
    log.insert(3, log.pop(7))


def _twice(log: list[Json]) -> None:
    log.insert(9, {**log[8], "id": "sevt_70"})


def _half(log: list[Json]) -> None:
    log[11]["content"] = text(said(7)[:-9])


def _told_twice(log: list[Json]) -> None:
    log.insert(11, {**log[11], "id": "sevt_95"})


def _failed(log: list[Json]) -> None:
    log[7]["is_error"] = True


def _retrying(log: list[Json]) -> None:
    log[12]["stop_reason"] = {"type": "retries_exhausted"}


def _lost_line(log: list[Json]) -> None:
    log[10]["content"] = text(f"{SESSION}/r1~2")


def _line_twice(log: list[Json]) -> None:
    log[10]["content"] = text(f"{SESSION}/r0 {SESSION}/r0 {SESSION}/r1~2")


def _nobody(log: list[Json]) -> None:
    log.insert(2, event("user.message", 50, content=text("never sent")))


CASES: list[tuple[str, str, Callable[[Run], Any]]] = [
    ("a client that did not come to its end", "ends", lambda run: setattr(run.visits[0], "outcome", "stuck")),
    ("a row that still runs", "ends", lambda run: setattr(run.visits[0], "status", "running")),
    ("another stop reason", "ends", _log(_retrying)),
    ("a call without result", "one result", _log(lambda log: log.pop(8))),
    ("a call with two results", "one result", _log(_twice)),
    ("a result without call", "one result", _log(_unasked)),
    ("a result before its call", "one result", _log(_early)),
    ("a call that was asked for and never answered", "answered once", _log(lambda log: log.pop(6))),
    ("a call that was answered unasked", "answered once", _log(lambda log: log[6].update(tool_use_id="sevt_3"))),
    ("an id that occurs twice", "unique ids", _log(lambda log: log.append(dict(log[0])))),
    ("two listings that differ", "order", lambda run: run.visits[0].final_again.pop()),
    ("a listing that was no beginning", "order", lambda run: run.visits[0].listings.append(["sevt_1", "sevt_0"])),
    ("an event that was shown and is gone", "shown", _stream(lambda it: it.events.append(event("agent.message", 77)))),
    ("an event that was shown twice", "shown", _stream(lambda it: it.events.append(it.events[0]))),
    ("events in another order", "shown", _stream(lambda it: it.events.reverse())),
    ("an event that was shown otherwise", "shown", _stream(lambda it: it.events[1].update(content=[]))),
    ("a queued event that is gone", "shown", _stream(lambda it: it.events.insert(0, {"id": "sevt_88", "type": "x"}))),
    ("an event that a stream left out", "gaps", _stream(lambda it: it.events.pop(4))),
    (
        "a stream that went on too late",
        "gaps",
        _stream(lambda it: (it.events.__delitem__(slice(0, 3)), setattr(it, "after", "sevt_1"))),
    ),
    ("a preview of something else", "previews", _stream(lambda it: it.previews.update(sevt_10="nonsense"))),
    ("a message that got lost", "sent once", lambda run: run.visits[0].sent.append("and another")),
    ("a message that nobody sent", "sent once", _log(_nobody)),
    ("half a message", "whole messages", _log(_half)),
    ("a message told twice", "whole messages", _log(_told_twice)),
    ("a model request that never ended", "requests", _log(lambda log: log.pop(5))),
    ("an effect that never happened", "effects happen", lambda run: run.effects.pop()),
    (
        "a success without its effect",
        "effects happen",
        lambda run: run.effects.__setitem__(0, (f"{SESSION}/r0~9", BEGIN)),
    ),
    ("an effect that happened twice", "at most once", lambda run: run.effects.append(run.effects[0])),
    ("an effect that was refused", "refused", lambda run: run.effects.append((f"{SESSION}/r1", BEGIN))),
    ("a call that failed for no reason", "failed calls", _log(_failed)),
    ("a line that the file lost", "files", _log(_lost_line)),
    ("a line that the file has twice", "files", _log(_line_twice)),
    (
        "a call that failed for good",
        "API errors",
        lambda run: run.errors.append(ApiError(BEGIN, BEGIN, "x", "", "500")),
    ),
]


@pytest.mark.parametrize(("check", "spoil"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_check_finds_what_it_is_for(check: str, spoil: Callable[[Run], Any]) -> None:
    run = good_run()
    spoil(run)
    assert check in found(run)


def test_a_time_on_the_full_second_may_be_written_without_its_zeros() -> None:
    run = good_run()
    shown = run.visits[0].connections[0].events
    shown[1] = {**shown[1], "processed_at": shown[1]["processed_at"].replace("+00:00", ".000000Z")}
    assert violations(run, SCRIPTS) == []


def test_a_call_may_fail_when_a_host_died_in_it_and_not_long_before_it() -> None:
    for action, check in (
        (Action("kill sandbox host", "h", BEGIN + 4), False),
        (Action("remove node", "n", BEGIN - 60), True),
    ):
        run = good_run()
        _log(_failed)(run)
        run.actions = [action]
        assert ("failed calls" in found(run)) is check


def served_run(*, fails: bool) -> Run:
    """A session without a sandbox: one call of the hand, and one more when the first failed."""
    log = good_log()[:2]
    for number, label in enumerate(("r0", "r0~1") if fails else ("r0",)):
        at_event = 10 * number + 4
        use = event("agent.mcp_tool_use", at_event, name="feel", input={"effects": f"{SESSION}/{label}"})
        failed = fails and not number
        answer = {"mcp_tool_use_id": use["id"], "is_error": failed, "content": text("")}
        log += [use, event("agent.mcp_tool_result", at_event + 1, **answer)]
    log.append(event("session.status_idle", 20, stop_reason={"type": "end_turn"}))
    run = good_run()
    visit = run.visits[0]
    visit.kind, visit.connections, visit.listings, visit.denied = "served", [], [], []
    visit.final, visit.final_again = log, [dict(each) for each in log]
    run.effects = [
        (f"{SESSION}/r0{'~1' if fails else ''}", BEGIN + 5),
        *((f"{SESSION}/{n}", BEGIN) for n in ("r1", "r1b")),
    ]
    return run


def test_calls_of_a_hand_are_held_to_the_same() -> None:
    assert violations(served_run(fails=False), SCRIPTS) == []
    twice = served_run(fails=False)
    twice.effects *= 2
    assert "at most once" in found(twice)
    untrue = served_run(fails=False)
    del untrue.effects[0]
    assert "effects happen" in found(untrue)
    for killed, fault in (("kill hand", False), ("kill harness", True), ("kill sandbox host", True)):
        run = served_run(fails=True)
        run.actions = [Action(killed, "it", BEGIN + 4)]
        assert ("failed calls" in found(run)) is fault


def test_results_from_a_worker_are_held_to_the_same() -> None:
    run = good_run()
    run.visits[0].kind = "elsewhere"
    run.effects += [(f"{SESSION}/r1b", BEGIN)]
    _log(_by_worker)(run)
    assert violations(run, SCRIPTS) == []
    _log(_failed)(run)
    run.actions = [Action("kill sandbox host", "h", BEGIN + 4)]
    assert "failed calls" in found(run)
    run.actions = [Action("kill worker", "w", BEGIN + 4)]
    assert "failed calls" not in found(run)
    for seconds, fault in ((4, False), (1, True)):
        run.actions = [Action("kill gateway", "g", BEGIN + 4)]
        run.outages = [Outage(BEGIN + 4, BEGIN + 4 + seconds)]
        assert ("failed calls" in found(run)) is fault
    _log(_twice)(run)
    assert "one result" in found(run)


def _by_worker(log: list[Json]) -> None:
    for each in log:
        if each["type"] == "agent.tool_result":
            each["type"] = "user.tool_result"


def test_a_call_may_fail_into_a_dead_edge_only() -> None:
    run = good_run()
    run.errors.append(ApiError(BEGIN + 4, BEGIN + 3, "send", SESSION, "connection error"))
    run.actions.append(Action("kill haproxy", "haproxy", BEGIN + 2))
    assert "API errors" in found(run)
    run.outages.append(Outage(BEGIN + 2.2, BEGIN + 5))
    assert "API errors" not in found(run)
    run.actions.pop()
    assert "API errors" in found(run)


def test_a_file_must_read_as_it_was_written() -> None:
    made = scripts(5, 1)
    path, content = next(iter(made["work"].writes.items()))
    run = good_run()
    run.visits[0].kind = "work"
    for number, (name, shown) in enumerate((("write", "written"), ("read", content)), 30):
        use = event("agent.tool_use", number, name=name, input={"file_path": path})
        result = event("agent.tool_result", number + 10, tool_use_id=f"sevt_{number}", content=text(shown))
        for log in (run.visits[0].final, run.visits[0].final_again):
            log[-1:-1] = [dict(use), dict(result)]
    run.visits[0].connections.clear()
    assert not [each for each in violations(run, made) if each.check == "files"]
    run.visits[0].final[-2]["content"] = text("no such file")
    assert [each for each in violations(run, made) if each.check == "files"]
    run.visits[0].final[-2]["content"] = text(content)
    run.visits[0].final[-4]["is_error"] = True
    assert [each for each in violations(run, made) if each.check == "files"]


def test_memory_that_grew_is_found() -> None:
    before = {"harness": [100 * MEBIBYTE] * 3, "brain": [100 * MEBIBYTE]}
    assert not list(growth(before, {"harness": [150 * MEBIBYTE] * 3, "brain": [120 * MEBIBYTE]}))
    assert [each.where for each in growth(before, {"harness": [190 * MEBIBYTE] * 3})] == ["harness"]


def test_a_slope_is_told_from_noise() -> None:
    noise = [0, 3, -2, 1, -1, 2, -3, 0, 1, -1]
    flat = fit("x", [(60.0 * number, 100.0 + rest) for number, rest in enumerate(noise)])
    assert flat.low < 0 < flat.high and not flat.grows
    steep = fit("x", [(60.0 * number, 100.0 + number + rest / 10) for number, rest in enumerate(noise)])
    assert steep.low < 60 < steep.high and steep.grows
    [leaking] = slopes([(float(number), {"x": [number * MEBIBYTE]}) for number in range(100)])
    assert leaking.grows and leaking.per_hour == pytest.approx(3600)


def test_a_takeover_is_measured_in_mid_turn_only() -> None:
    log = good_log()
    assert standstill(log, BEGIN + 4.5) == pytest.approx(0.5)
    assert standstill(log, BEGIN + 11.5) is None
    assert standstill(log, BEGIN - 1) is None
    run = good_run()
    run.actions[0].at = BEGIN + 4.5
    assert list(takeovers(run)) == []
    run.actions[0].owned = list(range(run.partitions))
    assert [(each.kind, each.seconds, each.alone) for each in takeovers(run)] == [
        ("kill harness", pytest.approx(0.5), True)
    ]
    run.actions.append(Action("kill gateway", "g", BEGIN + 4.6))
    assert [each.alone for each in takeovers(run)] == [True]
    run.actions.append(Action("stop brain", "b", BEGIN - 11, until=BEGIN))
    assert [each.alone for each in takeovers(run)] == [False]


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.95, 4), (1.0, 4), (0.25, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    assert percentile([4, 1, 3, 2], share) == value


def test_a_seed_names_one_course_and_every_kind_of_action_occurs_in_it() -> None:
    assert schedule(SMALL) == schedule(SMALL)
    assert schedule(SMALL) != schedule(Options(seed=2, kills=SMALL.kills, interval=SMALL.interval))
    assert {step.kind for step in schedule(SMALL)} == set(DECK) - ROLLS
    without = {step.kind for step in schedule(Options(store="sqlite", kills=100))}
    assert without == set(DECK) - NEEDS_SERVER
    assert set(kinds_of(Options(only=("kill brain",)))) == {"kill brain"}
    with pytest.raises(SystemExit):
        kinds_of(Options(only=("kill everyone",)))


def test_the_plan_is_one_that_the_replay_brain_takes() -> None:
    from agents.brains.plan import parse_plans

    names = [plan.name for plan in parse_plans(plan_file(scripts(5, 1), 1), "here")]
    assert names == [*SCRIPTS, "helper", "strict", "kind"]
