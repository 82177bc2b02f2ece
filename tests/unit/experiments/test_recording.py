"""From a session's log and its client's clock to rows of the trace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.brains.assembly import TokenUsage
from agents.experiments.running.driving import Played
from agents.experiments.running.recording import WRONG_ANSWER, RoundKey, SessionRecorder
from agents.experiments.trace_rows import UNFINISHED, TraceRow
from agents.experiments.work.arrivals import Arrival

ZERO = datetime(2026, 11, 22, 8, tzinfo=UTC)
KEY = RoundKey("decoupled", "poisson", 2.0, 1, ZERO.timestamp())
ARRIVAL = Arrival(7, 1.0, "support", warm_up=True)
RIGHT = "The answer."


def event(at: float | None, kind: str, **body: Any) -> dict[str, Any]:
    moment = None if at is None else (ZERO + timedelta(seconds=at)).isoformat()
    return {"id": body.pop("id", f"{kind}@{at}"), "type": kind, "processed_at": moment, **body}


def usage(read: int, written: int, cached: int = 0) -> dict[str, int]:
    return {
        "input_tokens": read,
        "output_tokens": written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": 0,
    }


def request(begin: float, end: float, *, failed: bool = False, **tokens: int) -> list[dict[str, Any]]:
    name = f"req@{begin}"
    told = {
        "model_request_start_id": name,
        "is_error": failed,
        "model_usage": usage(**({"read": 0, "written": 0} | tokens)),
    }
    return [
        event(begin, "span.model_request_start", id=name),
        event(end, "span.model_request_end", brain={"id": "simulated@1"}, **told),
    ]


def says(at: float, text: str, name: str) -> dict[str, Any]:
    return event(at, "agent.message", id=name, content=[{"type": "text", "text": text}])


def ended(at: float, stop: str = "end_turn") -> dict[str, Any]:
    return event(at, "session.status_idle", stop_reason={"type": stop})


def cost(brain: str, tokens: TokenUsage) -> int:
    assert brain == "simulated@1"
    return 2 * tokens.output_tokens


def rows_of(played: Played, *events: dict[str, Any], until: float = 100.0) -> list[TraceRow]:
    recorder = SessionRecorder(KEY, cost, lambda arrival, answer: arrival == ARRIVAL and answer == RIGHT)
    return recorder.rows(played, events, until)


def whole_turn() -> list[dict[str, Any]]:
    first, last = request(1.2, 2.0, read=100, written=20), request(3.5, 4.0, read=10, cached=120, written=30)
    return [
        event(1.1, "session.status_running"),
        event(1.1, "session.thread_status_running"),
        first[0],
        says(2.0, "I look.", "sevt_a"),
        event(2.0, "agent.mcp_tool_use", id="call_1", name="balance", mcp_server_name="billing", input={}),
        event(2.0, "agent.tool_use", id="call_2", name="bash", input={}),
        first[1],
        event(3.0, "agent.tool_result", tool_use_id="call_2", is_error=True),
        event(3.5, "agent.mcp_tool_result", mcp_tool_use_id="call_1", is_error=False),
        last[0],
        says(4.0, RIGHT, "sevt_b"),
        last[1],
        ended(4.1),
        event(None, "user.message"),
    ]


def client(**more: Any) -> Played:
    given: dict[str, Any] = {"began": 1.05, "first": 1.6, "ended": 4.2, "session": "sesn_1", "retries": 1}
    return Played(ARRIVAL, **given | more)


def test_a_session_has_the_clients_times_and_the_sums_of_its_requests() -> None:
    session, *_ = rows_of(client(), *whole_turn())
    assert session == TraceRow(
        kind="session",
        topology="decoupled",
        workload="support",
        arrivals="poisson",
        load=2.0,
        round=1,
        request=7,
        session="sesn_1",
        name="support",
        due=1.0,
        began=1.05,
        first=1.6,
        ended=4.2,
        outcome="ok",
        retries=1,
        tokens_in=230,
        tokens_out=50,
        micro_usd=100,
        warm_up=True,
    )


def test_parts_pair_up_with_their_ends_in_their_order() -> None:
    _, *parts = rows_of(client(announced={"sevt_b": 3.7}), *whole_turn())
    told = [(row.kind, row.name, row.outcome, *(pytest.approx(at) for at in (row.began, row.ended))) for row in parts]
    assert told == [
        ("state_update", "session.status_running", "ok", 1.1, 1.1),
        ("inference", "simulated@1", "ok", 1.2, 2.0),
        ("tool_call", "billing.balance", "ok", 2.0, 3.5),
        ("tool_call", "bash", "tool_error", 2.0, 3.0),
        ("inference", "simulated@1", "ok", 3.5, 4.0),
        ("state_update", "session.status_idle", "ok", 4.1, 4.1),
    ]
    assert [row.first for row in parts if row.kind == "inference"] == [None, 3.7]


def test_a_request_that_is_tried_again_counts_as_the_sessions_retry() -> None:
    turn = [
        *request(1.2, 1.3, failed=True),
        event(1.3, "session.error", error={"type": "model_overloaded_error"}),
        event(1.3, "session.status_rescheduled"),
        *request(2.0, 3.0, written=5),
        says(3.0, RIGHT, "sevt_a"),
        ended(3.1),
    ]
    session, *parts = rows_of(client(), *turn)
    assert (session.outcome, session.retries) == ("ok", 2)
    inferences = [(row.outcome, row.retries) for row in parts if row.kind == "inference"]
    assert inferences == [("model_request_failed", 0), ("ok", 1)]
    assert [row.outcome for row in parts if row.name == "session.error"] == ["model_overloaded_error"]


def test_a_turn_that_gave_up_has_its_errors_name() -> None:
    error = event(1.3, "session.error", error={"type": "model_request_failed_error"})
    session, *_ = rows_of(client(), *request(1.2, 1.3, failed=True), error, ended(1.4, "retries_exhausted"))
    assert session.outcome == "model_request_failed_error"


def test_other_words_than_the_workloads_are_a_wrong_answer() -> None:
    session, *_ = rows_of(client(), says(2.0, RIGHT, "sevt_a"), says(3.0, "Something else.", "sevt_b"), ended(3.1))
    assert session.outcome == WRONG_ANSWER


def test_what_patience_was_too_short_for_is_unfinished_and_so_are_its_open_parts() -> None:
    begun = request(1.2, 60.0, written=9)
    call = event(1.1, "agent.tool_use", id="call_1", name="bash", input={})
    late = event(60.0, "agent.tool_result", tool_use_id="call_1", is_error=True)
    session, *parts = rows_of(client(ended=None, fault=UNFINISHED), call, *begun, late, ended(60.1), until=50.0)
    assert (session.outcome, session.ended, session.tokens_out) == (UNFINISHED, None, 0)
    assert [(row.kind, row.outcome, row.ended) for row in parts] == [
        ("tool_call", UNFINISHED, None),
        ("inference", UNFINISHED, None),
    ]


def test_a_session_that_could_not_be_made_is_a_row_all_the_same() -> None:
    (row,) = rows_of(Played(ARRIVAL, fault="http_529", retries=2))
    assert (row.session, row.outcome, row.due, row.began, row.retries) == ("", "http_529", 1.0, 1.0, 2)
