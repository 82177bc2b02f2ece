"""What becomes of a task: its row, as the journal keeps it and the results tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["ok", "error", "invalid"]
"""``invalid`` is a line that is no task: it was not run."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a session used; money in micro-USD."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cost_micro_usd: int = 0
    active_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one session of a row."""

    outcome: Outcome
    stop_reason: str | None = None
    """Why the session stopped: ``end_turn``, ``retries_exhausted``, ``budget_reached``, ``refusal``, ``interrupted``,
    ``terminated``, ``deleted``; None when it never got so far."""
    error_type: str | None = None
    error: str | None = None
    answer: str | None = None
    """The agent's last message."""
    evaluation: str | None = None
    """What the task's outcome was judged to be."""
    model_requests: int = 0
    tool_calls: int = 0
    spent: Spent = field(default_factory=Spent)
    again: bool = False
    """Whether another session might do better."""


@dataclass(frozen=True, slots=True)
class OpenRow:
    """A row that has no result yet."""

    line: int
    offset: int
    length: int
    attempts: int
    """Sessions that were begun for it."""
    session: str | None
    """The last of them, when it is known and not over."""
    attempt_began: float | None
    """When the last of them was begun, in seconds since 1970; None when the next one is still to be."""

    @property
    def attempt(self) -> int:
        """The number of the session that it needs now, from 1 on."""
        return self.attempts + (self.attempt_began is None)
