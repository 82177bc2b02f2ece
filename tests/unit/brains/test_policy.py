"""The rules by which ``auto`` chooses, one by one.

Bug class this catches: a request that goes to a brain that cannot answer it, or to a dear or busy one without need.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.policy import (
    CHARACTERS_PER_TOKEN,
    IMAGE_TOKENS,
    Candidate,
    RulePolicy,
    Task,
    estimated_tokens,
    task_of,
)
from agents.brains.port import BrainRequest, Standing
from agents.brains.registry import RegisteredBrain
from agents.economics.price_book import PriceBook

FREE, FULL, DOWN = Standing(1, 4, 0, 0), Standing(1, 4, 4, 0), Standing(0, 0, 0, 0)
POLICY = RulePolicy(PriceBook.load())


def candidate(name: str, standing: Standing = FREE, **given: Any) -> Candidate:
    return Candidate(RegisteredBrain(name, BrainDefinition(**{"engine": "replay", **given})), standing)


def order(task: Task, *candidates: Candidate) -> str:
    return " ".join(brain.name for brain in POLICY.choose(task, candidates).order)


ROLES = [
    candidate("thinker", roles=["reasoning"]),
    candidate("writer", roles=["generation"]),
    candidate("digester", roles=["summarization", "generation"]),
]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Task(role="reasoning"), "thinker"),
        (Task(role="generation"), "writer digester"),
        (Task(role="summarization"), "digester"),
        (Task(), "writer digester"),
        (Task(tools=True), "thinker"),
        (Task(role="summarization", tools=True), "digester"),
    ],
)
def test_the_role_decides_first(task: Task, expected: str) -> None:
    assert order(task, *ROLES) == expected


def test_without_a_brain_of_the_role_all_are_candidates() -> None:
    decision = POLICY.choose(Task(role="reasoning"), ROLES[1:])
    assert [brain.name for brain in decision.order] == ["writer", "digester"]
    assert decision.reason == "no brain is declared for reasoning: first of 2, a place is free"


CHEAP: dict[str, Any] = {"price": {"input_mtok": 1, "output_mtok": 2}}
DEAR: dict[str, Any] = {"price": {"input_mtok": 5, "output_mtok": 20}}


@pytest.mark.parametrize(
    ("task", "candidates", "expected"),
    [
        (Task(tools=True), [candidate("mute", capabilities={"tools": False}), candidate("able")], "able"),
        (Task(images=True), [candidate("blind"), candidate("able", capabilities={"vision": True})], "able"),
        (
            Task(prompt_tokens=900),
            [candidate("short", capabilities={"context_tokens": 1000}), candidate("long")],
            "long",
        ),
        # What the answer takes counts too, up to a quarter of the context.
        (Task(prompt_tokens=750), [candidate("short", capabilities={"context_tokens": 1000})], "short"),
        (
            Task(prompt_tokens=751, max_tokens=9),
            [candidate("s", capabilities={"context_tokens": 760}), candidate("l")],
            "s l",
        ),
        (Task(), [candidate("dear", **DEAR), candidate("cheap", **CHEAP)], "cheap dear"),
        (Task(), [candidate("cheap", FULL, **CHEAP), candidate("dear", **DEAR)], "dear cheap"),
        (Task(), [candidate("cheap", DOWN), candidate("full", FULL, **DEAR)], "full cheap"),
        (Task(), [candidate("busy", Standing(2, 8, 5, 0)), candidate("idle", Standing(1, 4, 1, 0))], "idle busy"),
        (Task(), [candidate("line", Standing(1, 4, 4, 9)), candidate("full", FULL)], "full line"),
        (Task(), [candidate("first"), candidate("second")], "first second"),
        # Claude has a list price, a model of one's own has none.
        (Task(), [candidate("cloud", engine="claude", model="claude-opus-4-8"), candidate("own")], "own cloud"),
        # What the engine is told has the price, not what the agent names.
        (
            Task(model="claude-opus-4-8"),
            [candidate("big", engine="claude"), candidate("small", engine="claude", model="claude-haiku-4-5")],
            "small big",
        ),
    ],
)
def test_ability_then_readiness_then_cost_then_load(task: Task, candidates: list[Candidate], expected: str) -> None:
    assert order(task, *candidates) == expected


def test_what_is_too_long_for_all_goes_to_the_longest_context() -> None:
    short = candidate("short", capabilities={"context_tokens": 1000})
    longer = candidate("longer", capabilities={"context_tokens": 2000})
    mute = candidate("mute", capabilities={"tools": False, "context_tokens": 5000})
    decision = POLICY.choose(Task(prompt_tokens=9000, tools=True), [short, mute, longer])
    assert [brain.name for brain in decision.order] == ["longer", "short"]
    assert [(each.brain, each.reason) for each in decision.passed_over] == [("mute@1", "it cannot call tools")]


def test_the_decision_says_who_was_unable_and_why() -> None:
    short = candidate("short", capabilities={"context_tokens": 1000})
    decision = POLICY.choose(Task(prompt_tokens=1500, images=True), [short, candidate("blind")])
    assert decision.order == []
    assert decision.reason.endswith("none is able")
    assert {each.brain: each.reason for each in decision.passed_over} == {
        "short@1": "it cannot see images",
        "blind@1": "it cannot see images",
    }


def test_the_same_question_has_the_same_answer() -> None:
    task = Task(tools=True, prompt_tokens=100)
    assert POLICY.choose(task, ROLES) == POLICY.choose(task, ROLES)


def test_a_request_is_measured_by_its_texts_and_its_images() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 90_000}}
    result = {"type": "tool_result", "tool_use_id": "", "content": [image]}
    messages = [{"role": "", "content": "x" * 300}, {"role": "", "content": [result]}]
    task = task_of(BrainRequest("s", "auto", messages, system="y" * 30, max_tokens=77), "generation")
    texts = 300 + 30 + len("tool_result")
    assert task == Task("generation", texts // CHARACTERS_PER_TOKEN + IMAGE_TOKENS, 77, images=True)


def test_an_encoded_document_is_not_measured_as_text() -> None:
    document = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "A" * 60_000}}
    assert 2000 <= estimated_tokens([document]) < 2100, "one page, more or less"


def test_a_tool_input_may_be_nested_beyond_what_the_interpreter_calls() -> None:
    nested: Any = "deep"
    for _ in range(5000):
        nested = [nested]
    task = task_of(BrainRequest("s", "auto", [{"role": "user", "content": nested}], tools=[{"name": "t"}]))
    assert task.tools and task.prompt_tokens == len("user" + "deep" + "t") // CHARACTERS_PER_TOKEN
