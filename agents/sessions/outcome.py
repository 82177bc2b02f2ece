"""An outcome as a session's log tells it: what the agent is to produce, how it is graded, and how far it is.

A client defines it (``user.define_outcome``), the agent works, a grader judges what was done against the rubric
(``span.outcome_evaluation_*``), and the agent revises it, until a result is final. Results: ``pending`` before the
agent begins, ``running``, ``evaluating``, then ``satisfied``, ``max_iterations_reached``, ``failed`` or
``interrupted`` (field texts of the SDK's BetaManagedAgentsOutcomeEvaluationResource).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.brains.assembly import TokenUsage
from agents.brains.summarizing import shortened
from agents.clock import rfc3339
from agents.ids import EventId
from agents.sessions.events import Event, EventType

NEEDS_REVISION = "needs_revision"
MAX_ITERATIONS_REACHED = "max_iterations_reached"
FAILED = "failed"
INTERRUPTED = "interrupted"
OVER = frozenset({"satisfied", FAILED, INTERRUPTED})
"""Results after which the agent has nothing more to do for an outcome."""
ANNOUNCED = frozenset({EventType.USER_DEFINE_OUTCOME, EventType.OUTCOME_EVALUATION_END})
"""What the agent is told of, with its next model request."""
MAX_OUTCOMES = 100
"""Outcomes that one session may have, one after the other: its row tells of each."""
_WHOLE_CHARACTERS = 100_000
"""Texts of earlier outcomes that the row tells whole, the newest first: it is written with every commit."""
_CUT_CHARACTERS = 1000
"""What it tells of a text beyond that; the log has the whole."""

_TASK = """\
Work towards this outcome until it is met. When you end your turn, a grader who has not seen this conversation judges \
what you have produced against the rubric; where it is not met yet, you are told why and revise it.

<outcome>
{description}
</outcome>

<rubric>
{rubric}
</rubric>"""
_REVISE = """\
The grader has judged your work: the outcome is not met yet (evaluation {number} of at most {most}). Revise it.

<grader>
{explanation}
</grader>"""
_CLOSE = """\
The grader has judged your work for the last time ({most} of {most}): the outcome is not met. It is not graded again, \
so do not revise it any further. Close with a short account of what there is and what is missing.

<grader>
{explanation}
</grader>"""


@dataclass(slots=True)
class Outcome:
    """The outcome that a session works towards; changed only by the fold of the log (``SessionState``)."""

    id: str
    description: str
    rubric: str
    max_iterations: int
    spares: frozenset[str]
    """Interrupts that had been sent, and not applied, when it was defined: they do not mean it."""
    iteration: int = 0
    begun: bool = False
    """Whether the agent was told of it."""
    evaluation: EventId | None = None
    """The start of the evaluation that is under way."""
    put_off: int = 0
    """How often that evaluation was put off, to be made once more."""
    spent: TokenUsage = field(default_factory=TokenUsage)
    """What it had consumed when it was."""

    @classmethod
    def of(cls, event: Event) -> Outcome:
        body, hidden = event.body, event.hidden or {}
        return cls(
            body["outcome_id"],
            body["description"],
            body["rubric"]["content"],
            body["max_iterations"],
            frozenset(hidden.get("spares", ())),
        )

    @property
    def last(self) -> bool:
        """Whether what is graded now is not revised again."""
        return self.iteration + 1 >= self.max_iterations


def entries_with(told: Sequence[Mapping[str, Any]], event: Event) -> tuple[dict[str, Any], ...]:
    """Return what the session's row says of its outcomes, as the API shows it, with the new one that *event* defines.

    Of the ones before, which are *told*, the texts are cut in their middle where they have become too long together.
    """
    left, entries = _WHOLE_CHARACTERS, list[dict[str, Any]]()
    for entry in reversed(told):
        texts = {name: entry[name] for name in ("description", "explanation") if entry.get(name)}
        left -= sum(map(len, texts.values()))
        cut = {} if left >= 0 else {name: shortened(text, _CUT_CHARACTERS) for name, text in texts.items()}
        entries.append({**entry, **cut})
    return (*reversed(entries), _entry_of(event))


def _entry_of(event: Event) -> dict[str, Any]:
    return {
        "type": "outcome_evaluation",
        "outcome_id": event.body["outcome_id"],
        "description": event.body["description"],
        "result": "pending",
        "iteration": 0,
        "explanation": None,
        "completed_at": None,
    }


def entry_after(entry: Mapping[str, Any], event: Event) -> dict[str, Any]:
    """Return an outcome's *entry* as it is after *event*, the end of one of its evaluations."""
    body = event.body
    told = {**entry, "explanation": body["explanation"]}
    if body["result"] == NEEDS_REVISION:
        return {**told, "result": "running", "iteration": body["iteration"] + 1}
    completed_at = rfc3339(event.processed_at) if event.processed_at else None
    return {**told, "result": body["result"], "iteration": body["iteration"], "completed_at": completed_at}


def announcements(event: Event) -> list[str]:
    """Return what the agent is told of an event of these types; of an end that asks nothing of it, nothing."""
    body = event.body
    if event.type is EventType.USER_DEFINE_OUTCOME:
        return [_TASK.format(description=body["description"], rubric=body["rubric"]["content"])]
    words = {NEEDS_REVISION: _REVISE, MAX_ITERATIONS_REACHED: _CLOSE}.get(body["result"])
    if words is None:
        return []
    most = (event.hidden or {}).get("max_iterations", body["iteration"] + 1)
    return [words.format(number=body["iteration"] + 1, most=most, explanation=body["explanation"])]
