"""The model request that makes a session's context shorter: what it asks, and what its answer does to the log.

It is a model request like any other (``span.model_request_start`` and ``_end``, usage, price, meter, deadlines,
attempts, interrupts); only its answer is no word of the agent's but ``agent.thread_context_compacted``, whose
hidden part has the summary.
"""

from __future__ import annotations

from agents.brains.assembly import Answer
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.summarizing import SYSTEM, summary_messages
from agents.sessions.compaction import CompactionCounts
from agents.sessions.draft import Draft
from agents.sessions.events import EventType
from agents.sessions.lifecycle import TurnRules
from agents.sessions.model_requests import Spent, close_request
from agents.sessions.owner import ThreadOwner
from agents.sessions.transitions import follow_up


def summary_request(owner: ThreadOwner, model: str) -> BrainRequest:
    """Return the request for a summary of what the log says is to go, to whoever *model* names."""
    state, compaction = owner.state, owner.rules.compaction
    going = state.conversation.messages[: -state.keeps if state.keeps else None]
    entries = compaction.entries(state.conversation, going)
    return BrainRequest(
        session_id=state.record.id,
        model=model,
        messages=summary_messages(entries, characters=compaction.transcript_characters(state, model)),
        system=SYSTEM,
        max_tokens=compaction.summary_tokens(state),
        speed=state.speed_of(model),
        inference_geo=state.agent["model"]["inference_geo"],
        attempt=state.failures + 1,
        principal=state.record.principal,
        versions=dict(state.session.versions),
        live=False,
    )


def summary_of(answer: Answer) -> str:
    """Return the text of an answer. Raises BrainFailure (transient) when it is no summary."""
    text = "".join(block.text for block in answer.blocks if block.kind == "text").strip()
    if not text or answer.stop_reason == "refusal":
        raise BrainFailure("request_failed", "The model wrote no summary of the conversation.", transient=True)
    return text


def record_summary(draft: Draft, rules: TurnRules, summary: str, spent: Spent, counts: CompactionCounts) -> None:
    """Log that the context was compacted, and what follows."""
    before = draft.state.conversation.size
    draft.emit(EventType.CONTEXT_COMPACTED, hidden={"summary": summary, "keeps": draft.state.keeps})
    counts.add(before, draft.state.conversation)
    close_request(draft, spent, is_error=False)
    follow_up(draft, rules)
