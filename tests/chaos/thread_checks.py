"""What must hold of the threads of agents to which work was delegated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from tests.chaos.log_checks import answers, name_of, of_type, text_of
from tests.chaos.record import Run, Violation, Visit


def threads_as_sessions(run: Run) -> Run:
    """Return a run whose visits are these threads: much of what holds of a session's log holds of theirs."""
    visits = [
        Visit(visit.number, f"thread of {visit.kind}", visit.mode, visit.session_id, final=log, outcome=visit.outcome)
        for visit in run.visits
        for log in visit.threads.values()
    ]
    return replace(run, visits=visits)


def delegated_once(run: Run) -> Iterator[Violation]:
    """Each successful delegation made one thread, which got its task once and whose last words came back once."""
    for visit in run.visits:
        if visit.kind != "team" or visit.outcome != "done":
            continue
        created = [event["session_thread_id"] for event in of_type(visit.final, "session.thread_created")]
        tasks = _tasks(visit)
        if len(created) != len(tasks) or sorted(created) != sorted(visit.threads):
            what = f"{len(tasks)} delegations, {len(created)} told threads, {len(visit.threads)} threads"
            yield Violation("threads", name_of(visit), what)
        heard = of_type(visit.final, "agent.thread_message_received")
        if strange := {event["from_session_thread_id"] for event in heard} - set(visit.threads):
            yield Violation("threads", name_of(visit), f"a message came of unknown threads {sorted(strange)}")
        for thread_id, log in visit.threads.items():
            words = [text_of(event) for event in of_type(log, "agent.message")][-1:]
            told = [text_of(event) for event in heard if event["from_session_thread_id"] == thread_id]
            if len(told) != 1 or told != words:
                yield Violation("threads", name_of(visit), f"{thread_id} said {words} and was heard as {told}")
            given = [text_of(event) for event in of_type(log, "agent.thread_message_received")]
            if len(given) != 1 or not Counter(given) <= Counter(tasks):
                yield Violation("threads", name_of(visit), f"{thread_id} was given {given}, of {tasks}")


def _tasks(visit: Visit) -> list[str]:
    results = answers(visit)
    calls = [call for call in of_type(visit.final, "agent.tool_use") if call["name"] == "create_agent"]
    return [call["input"]["message"] for call in calls if not results.get(call["id"], {"is_error": True})["is_error"]]
