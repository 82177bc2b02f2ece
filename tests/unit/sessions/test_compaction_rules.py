"""When a context is compacted, by whom, and where it is cut.

Bug class this catches: a tool's result without its call, a conversation that no model server takes, a summary that is
made without need or not when there is one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.brains.port import BrainFailure
from agents.brains.summarizing import summary_in
from agents.config import Settings
from agents.ids import EventId
from agents.sessions.compaction import too_long
from agents.sessions.events import Event, EventType, text_content
from agents.sessions.log import SessionSnapshot
from agents.sessions.state import SessionState
from agents.sessions.thread_state import ThreadState

from .compacting import (
    DIGESTER,
    LONG,
    RECORD,
    TINY,
    judged_by,
    refusal,
)
from .test_conversation import logs


@pytest.mark.parametrize(
    ("status", "words", "expected"),
    [
        (400, LONG, True),
        (413, "no", True),
        (400, "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens", True),
        (400, "the request exceeds the available context size, try increasing it", True),
        (400, "The input (9000 tokens) is longer than the model's context length (8192 tokens).", True),
        (400, "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000", True),
        (400, "messages.1.content.0: unexpected value", False),
        (400, "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens", False),
        (400, "metadata.user_id: too long", False),
        (400, "messages.0.content.1.image: image exceeds 5 MB maximum", False),
        (400, "The decoder prompt (length 9000) is longer than the maximum model length of 8192.", True),
        (404, LONG, False),
    ],
)
def test_a_refusal_for_length_is_known_by_its_words(status: int, words: str, expected: bool) -> None:
    assert too_long(refusal(status, words).failure) is expected


def test_a_failure_that_is_no_refusal_is_none_for_length() -> None:
    assert not too_long(BrainFailure("request_failed", LONG, transient=True))


@pytest.mark.parametrize(
    ("budget", "priced", "expected"),
    [
        (None, False, ["auto:summarization", "claude-test"]),
        ("100", False, ["claude-test"]),
        ("100", True, ["auto:summarization", "claude-test"]),
    ],
)
def test_a_session_with_a_budget_is_summarized_by_what_has_a_price(
    budget: str | None, priced: bool, expected: list[str]
) -> None:
    digester = {**DIGESTER, "price": {"input_mtok": 1}} if priced else DIGESTER
    compaction = judged_by(brains={"tiny": TINY, "digester": digester})
    limit = {"max_list_cost": {"amount": budget, "currency": "USD"}} if budget else None
    assert compaction.models(SessionState(replace(RECORD, budget=limit)).primary) == expected


def talk(*texts: str) -> ThreadState:
    """A thread whose context was refused as too long; user and agent took turns."""
    session = SessionState(RECORD)
    for number, text in enumerate(texts):
        type_ = EventType.AGENT_MESSAGE if number % 2 else EventType.USER_MESSAGE
        session.apply(Event(EventId(f"{number}"), type_, {"content": [{"type": "text", "text": text}]}, None))
    session.primary.overlong = True
    return session.primary


def test_a_summary_reaches_beyond_the_first_message_however_long_that_is() -> None:
    small = {**DIGESTER, "capabilities": {"context_tokens": 1200}}
    compaction = judged_by(brains={"tiny": TINY, "digester": small}, compaction={"keep_messages": 0})
    assert compaction.due(talk("x" * 2000, "a", "b", "c", "d")) == 3
    assert compaction.due(talk("x", "a", "b" * 2000, "c", "d")) == 3
    assert compaction.due(talk("x", "a", "b", "c", "d")) == 0


OUTCOME = {
    "outcome_id": "outc_1",
    "description": "A poem.",
    "rubric": {"type": "text", "content": "It rhymes. " + "r" * 3000},
    "max_iterations": 3,
}


class Told:
    """A session whose log is told event by event."""

    def __init__(self) -> None:
        self.session = SessionState(RECORD)
        self.conversation = self.session.primary.conversation

    def tell(self, type_: EventType, body: dict[str, Any] | None = None, **hidden: Any) -> None:
        number = EventId(str(self.session.record.seq))
        self.session.set(seq=self.session.record.seq + 1)
        self.session.apply(Event(number, type_, body or {}, None, hidden=hidden or None))

    def ask(self, answer: str = "well") -> None:
        self.tell(EventType.MODEL_REQUEST_START)
        self.tell(EventType.AGENT_MESSAGE, {"content": text_content(answer)})
        self.tell(EventType.MODEL_REQUEST_END, {"is_error": False})

    def compact(self) -> None:
        self.tell(EventType.MODEL_REQUEST_START, keeps=0)
        self.tell(EventType.CONTEXT_COMPACTED, keeps=0, summary="S")
        self.tell(EventType.MODEL_REQUEST_END, {"is_error": False})

    @property
    def knows_rubric(self) -> bool:
        return str(self.conversation.messages).count("It rhymes.") == 1


def test_what_an_outcome_asks_for_stays_word_for_word_while_it_is_worked_on() -> None:
    told = Told()
    told.tell(EventType.USER_DEFINE_OUTCOME, OUTCOME)
    told.ask()
    for _ in range(2):
        told.compact()
        assert told.knows_rubric
        told.ask()
    again = {"outcome_id": "outc_1", "iteration": 0, "result": "needs_revision", "explanation": "why"}
    told.tell(EventType.OUTCOME_EVALUATION_END, again)
    told.ask()
    told.compact()
    assert told.knows_rubric
    check_messages(told.conversation.messages)
    told.tell(EventType.OUTCOME_EVALUATION_END, {**again, "result": "satisfied"})
    told.ask()
    told.compact()
    assert not told.knows_rubric, "it is over"


def test_where_nothing_else_is_left_to_cut_the_summary_stands_for_the_outcome_too() -> None:
    told = Told()
    told.tell(EventType.USER_DEFINE_OUTCOME, OUTCOME)
    told.ask()
    told.compact()
    long = told.conversation.size
    told.compact()
    assert not told.knows_rubric and told.conversation.size < long / 2


def test_what_the_next_request_begins_with_is_counted_before_it_is_made() -> None:
    told = Told()
    told.tell(EventType.USER_MESSAGE, {"content": text_content("hi")})
    told.ask()
    before = told.conversation.size
    told.tell(EventType.USER_DEFINE_OUTCOME, OUTCOME)
    pending = told.conversation.size
    assert pending > before + 900
    told.tell(EventType.MODEL_REQUEST_START)
    assert told.conversation.size == pending


def test_each_further_summary_in_a_row_keeps_half_as_much() -> None:
    compaction = judged_by(compaction={"keep_messages": 8})
    state, kept = talk(*["words"] * 20), list[int | None]()
    for state.conversation.compactions in range(5):
        kept.append(compaction.due(state))
    assert kept == [8, 4, 2, 1, 0]


def test_the_defaults_leave_the_contexts_of_ordinary_sessions_alone() -> None:
    given_nothing = Settings().compaction
    assert (given_nothing.share, given_nothing.max_futile) == (0.85, 2)


def remarks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [block for each in messages if each["role"] == "system" for block in each["content"]]


def check_messages(messages: list[dict[str, Any]]) -> None:
    """What the Messages API demands of a conversation."""
    for place, each in enumerate(messages):
        assert each["role"] != "system" or messages[place - 1]["role"] == "user"
    messages = [each for each in messages if each["role"] != "system"]
    assert [each["role"] for each in messages] == (["user", "assistant"] * len(messages))[: len(messages)]
    expected: list[str] = []
    for each in messages:
        assert each["content"]
        results = [block["tool_use_id"] for block in each["content"] if block["type"] == "tool_result"]
        assert results == expected
        assert all(block["type"] == "tool_result" for block in each["content"][: len(results)])
        expected = [block["id"] for block in each["content"] if block["type"] == "tool_use"]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_compacted_conversation_is_what_the_messages_api_takes(log: list[Event], data: st.DataObject) -> None:
    limits = {"keep_messages": data.draw(st.integers(0, 8)), "keep_share": data.draw(st.floats(0, 0.9))}
    tiny = {**TINY, "capabilities": {"context_tokens": data.draw(st.integers(256, 1000))}}
    compaction = judged_by(brains={"tiny": tiny}, compaction=limits)
    session, kept = SessionState(RECORD), list[Event]()
    state = session.primary
    for event in log:
        session.apply(event)
        kept.append(event)
        if state.calls or not state.conversation.awaits_model or not data.draw(st.booleans()):
            continue
        before, state.overlong = state.conversation.snapshot(), True
        keeps = compaction.due(state)
        assert keeps is not None and 0 <= keeps < len(before)
        for type_, hidden in (
            (EventType.MODEL_REQUEST_START, {"keeps": keeps}),
            (EventType.CONTEXT_COMPACTED, {"keeps": keeps, "summary": "S"}),
            (EventType.MODEL_REQUEST_END, None),
        ):
            made = Event(EventId(f"{event.id}_{type_}"), type_, {"is_error": False}, None, hidden=hidden)
            session.apply(made)
            kept.append(made)
        after = state.conversation.messages
        check_messages(after)
        assert summary_in(after[0]["content"][0]["text"]) == "S" and state.conversation.awaits_model
        parts = (after, before[len(before) - keeps :])
        said, kept_of = ([each for each in part if each["role"] != "system"] for part in parts)
        stays = max(len(kept_of) - 1, 0)
        assert said[len(said) - stays :] == kept_of[len(kept_of) - stays :], "what stays is not touched"
        assert remarks(after) == remarks(before), "nothing of the author's is lost"
    again = SessionState.restore(SessionSnapshot(session.record, tuple(kept), ()))
    assert vars(again.primary.conversation) == vars(state.conversation)
