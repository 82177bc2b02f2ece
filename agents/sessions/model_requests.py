"""Model requests in a session's log: whether one may be made, how it opens and ends, what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from agents.brains.assembly import TokenUsage
from agents.sessions.draft import Draft
from agents.sessions.events import EventType
from agents.sessions.lifecycle import TurnRules, give_up, go_idle
from agents.sessions.thread_state import BUDGET_REACHED


@dataclass(frozen=True, slots=True)
class Spent:
    """What one model request consumed so far; also meaningful for one that failed or was interrupted."""

    usage: TokenUsage = field(default_factory=TokenUsage)
    micro_usd: int = 0
    brain: dict[str, Any] | None = None
    """Which brain it went to and why, as the log tells it; None when brains are not declared."""

    def __add__(self, later: Spent) -> Spent:
        return Spent(self.usage + later.usage, self.micro_usd + later.micro_usd, later.brain or self.brain)


def pause(draft: Draft, rules: TurnRules) -> bool:
    """Go idle when the budget is used up, before the next model request; says whether it is. Input goes on waiting."""
    # A pending interrupt ends the turn in its own way, and must not be left behind.
    used_up = not draft.state.interrupted and rules.budgets.used_up(draft.state.record, draft.now)
    if used_up:
        close_request(draft, Spent(), is_error=True)
        go_idle(draft, rules, BUDGET_REACHED)
    return used_up


def start_request(draft: Draft, rules: TurnRules) -> None:
    """Open the next model request: one for a summary when the context has become too long for any other."""
    keeps = rules.compaction.due(draft.state)
    if keeps is None:
        draft.emit(EventType.MODEL_REQUEST_START)
    elif (futile := draft.state.conversation.futile) >= rules.compaction.max_futile:
        words = f"The conversation is too long for the model, and {futile} summaries in a row made it no shorter."
        give_up(draft, rules, "compaction_limit_reached_error", words)
    else:
        draft.emit(EventType.MODEL_REQUEST_START, hidden={"keeps": keeps})


def close_request(draft: Draft, spent: Spent, *, is_error: bool, hidden: dict[str, Any] | None = None) -> None:
    """End the open model request and count what it cost; it always ends, also on error and interrupt.

    *hidden* tells later owners how long the context is: ``tokens`` by the model's count, ``too_long`` if refused.
    """
    start_id = draft.state.open_request
    if start_id is None:
        return
    add_usage(draft, spent)
    body: dict[str, Any] = {
        "model_request_start_id": start_id,
        "is_error": is_error,
        "model_usage": spent.usage.wire(),
    }
    if spent.brain is not None:
        body["brain"] = spent.brain
    draft.emit(EventType.MODEL_REQUEST_END, body, hidden=hidden)


def add_usage(draft: Draft, spent: Spent) -> None:
    """Count what was consumed, for the session and for the draft's thread."""
    usage = spent.usage
    draft.state.use(
        lambda total: replace(
            total,
            input_tokens=total.input_tokens + usage.input_tokens,
            output_tokens=total.output_tokens + usage.output_tokens,
            cache_read_input_tokens=total.cache_read_input_tokens + usage.cache_read_input_tokens,
            cache_creation_5m_input_tokens=total.cache_creation_5m_input_tokens + usage.cache_creation_5m,
            cache_creation_1h_input_tokens=total.cache_creation_1h_input_tokens + usage.cache_creation_1h,
            token_cost_micro_usd=total.token_cost_micro_usd + spent.micro_usd,
        )
    )
