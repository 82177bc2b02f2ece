"""CPU that counting takes by itself, in one process: steady also on a machine that others use.

The commits of a turn with one tool call are counted again and again, as a session's owner counts them; and snapshots of
what was recorded are taken and told, as a process does every two seconds.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from agents.ids import EventId, new_event_id
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.state import SessionState
from agents.telemetry import catalogue
from agents.telemetry.cluster_totals import ClusterTotals
from agents.telemetry.recorder import Recorder
from agents.telemetry.session_measures import SessionMeasures

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_USAGE = {
    "input_tokens": 100,
    "output_tokens": 50,
    "cache_read_input_tokens": 10,
    "cache_creation_input_tokens": 0,
}


class OneToolTurn:
    """The commits of one turn."""

    def __init__(self) -> None:
        self._seq = 0

    def _event(self, kind: EventType, body: dict[str, Any] | None = None, id_: EventId | None = None) -> Event:
        self._seq += 1
        return Event(id_ or new_event_id(), kind, body or {}, _BEGAN + timedelta(milliseconds=self._seq), self._seq)

    def commits(self, number: int) -> list[list[Event]]:
        call, event = new_event_id(), self._event
        asked, again = new_event_id(), new_event_id()
        end = {"is_error": False, "model_usage": _USAGE}
        text = [{"type": "text", "text": f"result {number}: " + "x" * 500}]
        use = {"name": "bash", "input": {"command": f"echo {number}"}, "evaluated_permission": "allow"}
        idle = {"stop_reason": {"type": "end_turn"}}
        return [
            [
                event(EventType.SESSION_RUNNING),
                event(EventType.THREAD_RUNNING),
                event(EventType.USER_MESSAGE, {"content": text}),
                event(EventType.MODEL_REQUEST_START, None, asked),
            ],
            [
                event(EventType.AGENT_TOOL_USE, use, call),
                event(EventType.MODEL_REQUEST_END, {"model_request_start_id": asked, **end}),
            ],
            [
                event(EventType.AGENT_TOOL_RESULT, {"tool_use_id": call, "content": text, "is_error": False}),
                event(EventType.MODEL_REQUEST_START, None, again),
            ],
            [
                event(EventType.AGENT_MESSAGE, {"content": text}),
                event(EventType.MODEL_REQUEST_END, {"model_request_start_id": again, **end}),
                event(EventType.THREAD_IDLE, idle),
                event(EventType.SESSION_USAGE),
                event(EventType.SESSION_IDLE, idle),
            ],
        ]


def session_of_turns() -> SessionRecord:
    """Return the session whose turns they are."""
    return SessionRecord(
        id="sesn_1", partition=1, created_at=_BEGAN, updated_at=_BEGAN, agent={"name": "a", "model": {"id": "m"}},
        agent_id="agent_1", agent_version=1, environment_id="env_1", environment={}, thread_id="sthr_1",
    )  # fmt: skip


def turn_microseconds(turns: int = 2000) -> float:
    """Return the CPU that counting a turn takes: its log, its appends, its transactions, three HTTP requests."""
    record, recorder, made = session_of_turns(), Recorder(), OneToolTurn()
    measures = SessionMeasures(recorder, SessionState(record), "default@1")
    all_turns = [made.commits(number) for number in range(turns)]
    began = time.process_time()
    for commits in all_turns:
        for events in commits:
            measures.committed(record, events)
            recorder.observe(catalogue.APPEND_SECONDS, 0.001)
            recorder.observe(catalogue.APPEND_BATCH, len(events))
        for status in ("200", "200", "200"):
            recorder.count(catalogue.HTTP_REQUESTS, "/v1/sessions", "POST", status)
            recorder.observe(catalogue.HTTP_SECONDS, 0.01, "/v1/sessions")
    return (time.process_time() - began) / turns * 1e6


def snapshot_microseconds(rounds: int = 200) -> float:
    """Return the CPU of a snapshot and its sum at the fleet, of a process with ten brains and fifty hands."""
    recorder, totals = Recorder(), ClusterTotals()
    for number in range(50):
        for outcome in ("ok", "error"):
            recorder.count(catalogue.TOOL_CALLS, f"hand-{number}", outcome)
            recorder.count(catalogue.MODEL_REQUESTS, f"brain-{number % 10}@1", outcome)
        recorder.observe(catalogue.TOOL_CALL_SECONDS, 0.1, f"hand-{number}")
        recorder.observe(catalogue.MODEL_REQUEST_SECONDS, 0.1, f"brain-{number % 10}@1")
        recorder.observe(catalogue.HTTP_SECONDS, 0.1, f"/v1/{number}")
    began = time.process_time()
    for number in range(rounds):
        totals.take("one", recorder.snapshot(), float(number))
        totals.totals(float(number))
    return (time.process_time() - began) / rounds * 1e6
