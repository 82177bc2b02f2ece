"""How much whoever answers can be told, and who writes summaries.

Bug class this catches: a session that is compacted for a context that its brain does not have.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.brain_settings import BrainDefinition
from agents.brains.answering import summarizer_of
from agents.brains.registry import Registry, registry_of
from agents.brains.window import Window, window_of
from agents.config import Settings


def brain(context: int, **given: Any) -> BrainDefinition:
    able = {"context_tokens": context, "max_output_tokens": 100, **given.pop("capabilities", {})}
    return BrainDefinition(**{"engine": "replay", "capabilities": able, **given})


REGISTRY = Registry(
    {
        "big": brain(9000, roles=["reasoning"]),
        "bigger": brain(10_000, roles=["reasoning"], capabilities={"tools": False}),
        "small": brain(1000, roles=["generation"], aliases=["gpt-"]),
        "hidden": BrainDefinition(engine="claude"),
    }
)


@pytest.mark.parametrize(
    ("model", "tools", "context"),
    [
        ("big", True, 9000),
        ("small@1", True, 1000),
        ("gpt-5", False, 1000),
        ("auto", True, 9000),
        ("auto", False, 1000),
        ("auto:reasoning", False, 10_000),
        ("auto:reasoning", True, 9000),
        ("auto:summarization", False, 10_000),
        ("claude-opus", True, 200_000),
        ("unknown", True, None),
        ("auto:magic", True, None),
    ],
)
def test_the_window_is_that_of_whoever_may_answer(model: str, tools: bool, context: int | None) -> None:
    window = window_of(REGISTRY, model, tools=tools)
    assert (window and window.context_tokens) == context


def test_a_brain_that_is_named_without_a_version_is_as_small_as_its_smallest_version() -> None:
    versions = {"2": {"capabilities": {"context_tokens": 500}}}
    registry = Registry({"brain": brain(1000, versions=versions)})
    windows = [window_of(registry, name, tools=False) for name in ("brain", "brain@1", "brain@2")]
    assert [window and window.context_tokens for window in windows] == [500, 1000, 500]


def test_room_is_left_for_the_answer_but_never_more_than_a_quarter() -> None:
    assert Window(1000, 100).room(32_000) == 900
    assert Window(1000, 100).room(50) == 950
    assert Window(1000, 900).room(32_000) == 750


def test_without_declared_brains_there_is_the_one_and_it_writes_its_own_summaries() -> None:
    registry = registry_of(Settings())
    assert window_of(registry, "auto", tools=True) == Window(200_000, 32_000)
    assert summarizer_of(registry, "claude-opus") == "claude-opus"


def test_the_role_decides_who_writes_summaries() -> None:
    assert summarizer_of(REGISTRY, "big") == "big"
    declared = Registry({"big": brain(9000), "digester": brain(1000, roles=["summarization"])})
    assert summarizer_of(declared, "big") == "auto:summarization"
