"""A request as a simulated GPU reads it: tokens, beginnings that stay, and what a message says it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from agents.brains.counting import estimate
from agents.brains.port import BrainRequest
from agents.brains.simulated_prompt import marker, prompt_parts, simulated_output
from agents.brains.summarizing import SYSTEM
from tests.unit.brains.answers import user

MESSAGES: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello, how big is it?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "17\n" * 50}]},
    {"role": "assistant", "content": [{"type": "text", "text": "Größe: 17"}]},
]


def request(*messages: dict[str, Any], system: str | None = "be brief") -> BrainRequest:
    return BrainRequest("sesn_1", "m", list(messages), system=system, tools=[{"name": "bash"}])


def tokens(asked: BrainRequest) -> int:
    return sum(part.tokens for part in prompt_parts(asked))


@pytest.mark.parametrize("count", range(len(MESSAGES) + 1))
def test_without_markers_the_tokens_are_those_of_the_estimate(count: int) -> None:
    asked = request(*MESSAGES[:count])
    assert tokens(asked) == estimate(asked)


def test_a_longer_conversation_begins_with_the_same_parts() -> None:
    whole = prompt_parts(request(*MESSAGES))
    for count in range(len(MESSAGES)):
        assert prompt_parts(request(*MESSAGES[:count])) == whole[: count + 1]


def test_what_comes_after_a_difference_is_another_beginning() -> None:
    one, other = prompt_parts(request(*MESSAGES)), prompt_parts(request(user("Hi."), *MESSAGES[1:]))
    assert one[0] == other[0]
    assert not {part.key for part in one[1:]} & {part.key for part in other[1:]}
    assert prompt_parts(request(system="another"))[0].key != one[0].key


def test_a_message_may_stand_for_a_longer_one() -> None:
    text = f"Hello. {marker(input_tokens=4000, output_tokens=250)}"
    asked = request(user(text), *MESSAGES[1:])
    assert tokens(asked) == estimate(asked) + 4000
    assert prompt_parts(asked)[1].tokens > 4000
    assert simulated_output(asked) == 250


@pytest.mark.parametrize(
    ("text", "more"),
    [("[simulate input_tokens=7]", (7, 0)), ("a [simulate output_tokens=7] b", (0, 7)), ("[simulate]", (0, 0))],
)
def test_either_of_both_may_be_left_out(text: str, more: tuple[int, int]) -> None:
    asked = request(user(text))
    assert (tokens(asked) - estimate(asked), simulated_output(asked)) == more


def test_every_message_adds_to_what_is_read_and_the_newest_says_what_is_written() -> None:
    asked = request(user(marker(input_tokens=10, output_tokens=1)), MESSAGES[3], user(marker(input_tokens=5)))
    assert tokens(asked) == estimate(asked) + 15
    assert simulated_output(asked) == 0


def test_results_and_answers_say_nothing_of_tokens() -> None:
    asked = request(
        user("go"),
        {"role": "assistant", "content": [{"type": "text", "text": marker(input_tokens=9, output_tokens=9)}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": marker(input_tokens=9)}]},
    )
    assert tokens(asked) == estimate(asked)
    assert simulated_output(asked) == 0


def test_a_summary_is_as_long_as_it_is() -> None:
    asked = request(user(marker(input_tokens=100, output_tokens=9)), system=SYSTEM)
    assert simulated_output(asked) == 0
    assert tokens(asked) == estimate(asked) + 100
