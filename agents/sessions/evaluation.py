"""How outcomes come and go: defined, evaluated, ended. Functions that draft events, as in ``transitions``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from agents.errors import InvalidRequest
from agents.ids import EventId
from agents.sessions.draft import Draft
from agents.sessions.events import Event, EventType, SessionStatus
from agents.sessions.model_requests import Spent, add_usage
from agents.sessions.outcome import INTERRUPTED, MAX_OUTCOMES
from agents.sessions.state import SessionState


def check_definition(state: SessionState, where: str, *, ended: bool) -> None:
    """Raise InvalidRequest unless a new outcome may be defined; *ended*: what comes before it ends the active one."""
    if state.outcome is not None and not ended:
        words = f"outcome {state.outcome.id} is being worked on: there is one at a time (user.interrupt ends it)"
        raise InvalidRequest(f"{where}.type: user.define_outcome: {words}")
    if len(state.record.outcomes) >= MAX_OUTCOMES:
        words = f"a session has at most {MAX_OUTCOMES} outcomes"
        raise InvalidRequest(f"{where}.type: user.define_outcome: {words}")


def define(draft: Draft, event: Event) -> Event:
    """Log the definition of an outcome; the agent is told of it with its next model request."""
    waiting = [each.id for each in draft.state.queue if each.type is EventType.USER_INTERRUPT]
    hidden = {**(event.hidden or {}), **({"spares": waiting} if waiting else {})}
    return draft.emit(event.type, event.body, event_id=event.id, hidden=hidden or None)


def begin_evaluation(draft: Draft) -> None:
    """Open the evaluation of the session's outcome."""
    outcome = draft.session.outcome
    if outcome is not None:
        draft.emit(EventType.OUTCOME_EVALUATION_START, {"outcome_id": outcome.id, "iteration": outcome.iteration})


def keep_evaluating(draft: Draft, evaluation: EventId, spent: Spent | None = None) -> None:
    """Log that an evaluation is still under way; put off, with what it has *spent*, where that is given."""
    outcome = draft.session.outcome
    if outcome is None or outcome.evaluation != evaluation:
        return
    hidden = None
    if spent is not None:
        add_usage(draft, spent)
        hidden = {"spent": asdict(spent.usage)}
    told = {"outcome_id": outcome.id, "iteration": outcome.iteration}
    draft.emit(EventType.OUTCOME_EVALUATION_ONGOING, told, hidden=hidden)


def end_evaluation(draft: Draft, result: str, explanation: str, spent: Spent | None = None) -> None:
    """End the evaluation that is under way, or an outcome that is not being evaluated; count what the grader cost."""
    outcome = draft.session.outcome
    if outcome is None:
        return
    spent = spent or Spent()
    add_usage(draft, spent)
    body: dict[str, Any] = {
        "outcome_evaluation_start_id": outcome.evaluation or "",
        "outcome_id": outcome.id,
        "iteration": outcome.iteration,
        "result": result,
        "explanation": explanation,
        "usage": (outcome.spent + spent.usage).wire(),
    }
    hidden: dict[str, Any] = {"max_iterations": outcome.max_iterations}
    if spent.brain is not None:
        hidden["brain"] = spent.brain["id"]
    draft.emit(EventType.OUTCOME_EVALUATION_END, body, hidden=hidden)


def interrupt_outcome(draft: Draft, interrupts: Collection[str], spent: Spent | None = None) -> None:
    """End the outcome that the client has interrupted, unless it was defined after all these *interrupts*."""
    outcome = draft.session.outcome
    if outcome is not None and draft.state.primary and not outcome.spares.issuperset(interrupts):
        end_evaluation(draft, INTERRUPTED, "Interrupted by the user.", spent)


def call_off_outcome(draft: Draft) -> None:
    """End the outcome of a session that is about to be final."""
    if draft.session.status is not SessionStatus.TERMINATED:
        end_evaluation(draft, INTERRUPTED, "The session was ended.")
