"""The replay brain: which step it plays, what templates know, how it paces, and that it owns up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.brains.assembly import Answer, TokenUsage
from agents.brains.grading import SYSTEM, Verdict, grading_message, verdict_in
from agents.brains.plan import PlanBook, parse_plans
from agents.brains.port import BrainFailure, BrainRequest
from agents.brains.replay import NOTICE, ReplayBrain
from agents.clock import ManualClock
from tests.unit.brains.answers import answer_of, user


def brain_of(*steps: dict[str, Any], **given: Any) -> ReplayBrain:
    return ReplayBrain(PlanBook(parse_plans({"plans": [{"name": "p", "steps": list(steps), **given}]}, "test")))


def results(answer: Answer, *texts: str, is_error: bool = False) -> list[dict[str, Any]]:
    """The answer and the results of its calls, as they stand in the next request."""
    calls = [block for block in answer.blocks if block.kind == "tool_use"]
    blocks = [
        {"type": "tool_result", "tool_use_id": call.tool_use_id, "is_error": is_error,
         "content": [{"type": "text", "text": text}]}
        for call, text in zip(calls, texts, strict=True)
    ]  # fmt: skip
    return [
        {"role": "assistant", "content": [block.raw for block in answer.blocks]},
        {"role": "user", "content": blocks},
    ]


def said(answer: Answer) -> dict[str, Any]:
    return {"role": "assistant", "content": [block.raw for block in answer.blocks]}


async def ask(brain: ReplayBrain, *messages: dict[str, Any]) -> Answer:
    return await answer_of(brain, BrainRequest("sesn_7", "claude-x", list(messages)))


def text_of(answer: Answer) -> str:
    return answer.blocks[0].text.split("]\n\n", 1)[-1]


BASH = {"name": "bash", "as": "size", "input": {"command": "du -s ."}}


async def test_the_first_text_of_a_conversation_says_that_no_model_was_called() -> None:
    brain = brain_of({"text": "One."}, {"text": "Two."})
    first = await ask(brain, user("go"))
    assert first.blocks[0].text.startswith(NOTICE)
    assert "'p'" in first.blocks[0].text
    assert first.blocks[0].text.endswith("One.")
    second = await ask(brain, user("go"), said(first), user("on"))
    assert second.blocks[0].text == "Two."


async def test_a_first_step_without_text_still_owns_up() -> None:
    answer = await ask(brain_of({"tools": [BASH]}), user("go"))
    assert [block.kind for block in answer.blocks] == ["text", "tool_use"]
    assert answer.blocks[0].text.startswith(NOTICE)
    assert answer.stop_reason == "tool_use"


async def test_a_plan_that_is_over_says_so_every_time() -> None:
    brain = brain_of({"text": "One."})
    history = [user("go"), said(await ask(brain, user("go"))), user("more")]
    for _ in range(2):
        answer = await ask(brain, *history)
        assert answer.blocks[0].text.startswith(NOTICE)
        assert "over" in answer.blocks[0].text
        assert answer.stop_reason == "end_turn"
        history += [said(answer), user("more")]


async def test_no_fitting_plan_is_told_too() -> None:
    answer = await ask(ReplayBrain(PlanBook([])), user("go"))
    assert "no plan fits" in answer.blocks[0].text


async def test_the_same_request_has_the_same_answer_from_any_replica() -> None:
    steps = ({"text": "{{ prompt }}", "tools": [BASH, BASH]},)
    first, second = [await ask(brain_of(*steps), user("go")) for _ in range(2)]
    assert first == second


async def test_templates_know_the_earlier_results() -> None:
    brain = brain_of(
        {"tools": [BASH, {"name": "read", "input": {}}]},
        {"text": "{{ named.size | trim }}|{{ results[1] }}|{{ last.name }}|{{ results | length }}", "tools": [BASH]},
        {"text": "{{ named.size | trim }}|{{ last }}|{{ last.is_error }}"},
    )
    first = await ask(brain, user("go"))
    history = [user("go"), *results(first, "42\n", "text of a file")]
    second = await ask(brain, *history)
    assert second.blocks[0].text == "42|text of a file|read|2"
    third = await ask(brain, *history, *results(second, "43", is_error=True))
    assert third.blocks[0].text == "43|43|True"


@pytest.mark.parametrize("label", ["count", "items", "index", "values", "get", "keys"])
async def test_any_label_can_be_used(label: str) -> None:
    brain = brain_of({"tools": [{"name": "bash", "as": label}]}, {"text": f"{{{{ named.{label} }}}}"})
    first = await ask(brain, user("go"))
    assert (await ask(brain, user("go"), *results(first, "7"))).blocks[0].text == "7"


async def test_templates_know_prompt_message_and_session() -> None:
    brain = brain_of({"text": "x"}, {"text": "{{ prompt }}|{{ message }}|{{ session_id }}"})
    first = await ask(brain, user("go"))
    second = await ask(brain, {"role": "user", "content": "go"}, said(first), user("and now?"))
    assert second.blocks[0].text == "go|and now?|sesn_7"


async def test_filters_read_results() -> None:
    brain = brain_of(
        {"tools": [BASH]},
        {"text": "{{ (last | fromjson).lines + 1 }} {{ last | find('\"name\": \"(.*?)\"') }} {{ 'a b' | quote }}"},
    )
    first = await ask(brain, user("go"))
    second = await ask(brain, user("go"), *results(first, '{"lines": 9, "name": "x.py"}'))
    assert second.blocks[0].text == "10 x.py 'a b'"


async def test_tool_inputs_are_rendered_at_any_depth() -> None:
    given = {"path": "{{ prompt }}.py", "n": 3, "deep": [{"text": "a\n{% if true %}\nb\n{% endif %}\n"}], "raw": None}
    answer = await ask(brain_of({"tools": [{"name": "write", "input": given}]}), user("go"))
    assert answer.blocks[1].input == {"path": "go.py", "n": 3, "deep": [{"text": "a\nb\n"}], "raw": None}


async def test_a_tool_result_is_never_read_as_a_template() -> None:
    brain = brain_of({"tools": [BASH]}, {"text": "{{ last }}"})
    first = await ask(brain, user("go"))
    second = await ask(brain, user("go"), *results(first, "{{ 7 * 7 }}"))
    assert second.blocks[0].text == "{{ 7 * 7 }}"


@pytest.mark.parametrize(
    "template",
    [
        "{{ nothing_such }}",
        "{{ last }}",
        "{{ results[3] }}",
        "{{ named.nothing }}",
        "{{ prompt | find('zzz') }}",
        "{{ prompt | fromjson }}",
        "{{ 1 / 0 }}",
        "{{ prompt.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ results.append(1) }}",
    ],
)
async def test_a_template_that_fails_is_a_failed_request_and_not_an_empty_word(template: str) -> None:
    with pytest.raises(BrainFailure) as caught:
        await ask(brain_of({"text": template}), user("go"))
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)
    assert "step 0" in caught.value.message
    assert "'p'" in caught.value.message


async def test_a_step_that_says_nothing_fails() -> None:
    brain = brain_of({"text": "One."}, {"text": "{% if false %}x{% endif %}"})
    first = await ask(brain, user("go"))
    with pytest.raises(BrainFailure, match="nothing is left to say"):
        await ask(brain, user("go"), said(first), user("on"))


async def test_a_call_is_made_if_its_condition_is_true_and_labels_keep_to_their_calls() -> None:
    looks = [
        {"name": "read", "as": "first", "if": "'a' in named.size"},
        {"name": "bash", "as": "second", "if": "named.size | length > 3"},
        {"name": "bash", "as": "third"},
    ]
    brain = brain_of(
        {"tools": [BASH]}, {"text": "Looks.", "tools": looks}, {"text": "{{ named.second }}{{ named.third }}"}
    )
    first = await ask(brain, user("go"))
    history = [user("go"), *results(first, "long")]
    second = await ask(brain, *history)
    assert [block.name for block in second.blocks if block.kind == "tool_use"] == ["bash", "bash"]
    assert (await ask(brain, *history, *results(second, "2", "3"))).blocks[0].text == "23"


async def test_a_step_whose_calls_are_all_left_out_ends_the_turn() -> None:
    brain = brain_of({"tools": [BASH]}, {"text": "Done.", "tools": [{"name": "bash", "if": "last.is_error"}]})
    first = await ask(brain, user("go"))
    good = await ask(brain, user("go"), *results(first, "1"))
    assert ([block.kind for block in good.blocks], good.stop_reason) == (["text"], "end_turn")
    bad = await ask(brain, user("go"), *results(first, "1", is_error=True))
    assert ([block.kind for block in bad.blocks], bad.stop_reason) == (["text", "tool_use"], "tool_use")


@pytest.mark.parametrize("condition", ["nothing_such", "named.nothing", "1 / 0", "prompt.__class__"])
async def test_a_condition_that_fails_is_a_failed_request_and_not_a_no(condition: str) -> None:
    brain = brain_of({"text": "Hm.", "tools": [{"name": "bash", "if": condition}]})
    with pytest.raises(BrainFailure, match="step 0") as caught:
        await ask(brain, user("go"))
    assert (caught.value.kind, caught.value.transient) == ("request_failed", False)


async def test_a_plan_for_each_turn_starts_anew_with_every_message() -> None:
    brain = brain_of({"text": "a", "tools": [BASH]}, {"text": "b {{ named.size }}"}, each_turn=True)
    history = [user("go")]
    for size in ("1", "2"):
        first = await ask(brain, *history)
        assert text_of(first) == "a"
        history += results(first, size)
        second = await ask(brain, *history)
        assert second.blocks[0].text == f"b {size}"
        history += [said(second), user("again")]
    assert not (await ask(brain, *history)).blocks[0].text.startswith(NOTICE)


async def test_more_tokens_than_anybody_counts_fail_the_request() -> None:
    brain = brain_of({"text": "x", "simulate": {"output_tokens": "{{ message }}"}})
    assert (await ask(brain, user("9" * 9))).usage.output_tokens > 999_999_999
    for digits in (10, 30, 5000):
        with pytest.raises(BrainFailure, match="is no number of tokens: '999"):
            await ask(brain, user("9" * digits))


async def test_usage_is_simulated_or_zero() -> None:
    short = (await ask(brain_of({"text": "x"}), user("go"))).usage
    long = (await ask(brain_of({"text": "x" * 4000}), user("go" * 4000))).usage
    assert long.input_tokens > short.input_tokens + 1500
    assert long.output_tokens > short.output_tokens + 900
    zero = await ask(brain_of({"text": "x"}, simulate_usage=False), user("go"))
    assert zero.usage == TokenUsage()


async def test_pace_waits_before_the_step_and_between_letters() -> None:
    raw = {"plans": [{"name": "p", "pace": {"step_seconds": 2, "characters_per_second": 10}, "steps": [{"text": "y"}]}]}
    clock = ManualClock()
    brain = ReplayBrain(PlanBook(parse_plans(raw, "test")), clock=clock)
    asked = asyncio.create_task(ask(brain, user("go")))
    while not asked.done():
        await asyncio.sleep(0)
        clock.advance(0.5)
    characters = len((await asked).blocks[0].text)
    assert clock.monotonic() >= 2 + characters / 10


async def test_pace_zero_never_waits() -> None:
    raw = {"plans": [{"name": "p", "pace": {"step_seconds": 60}, "steps": [{"text": "y"}]}]}
    brain = ReplayBrain(PlanBook(parse_plans(raw, "test")), pace=0, clock=ManualClock())
    assert (await ask(brain, user("go"))).blocks


async def test_the_built_in_default_plan_works_for_any_prompt() -> None:
    brain = ReplayBrain(PlanBook.load(), pace=0)
    first = await ask(brain, user("Please translate this."))
    assert first.blocks[0].text.startswith(NOTICE)
    assert "uname" in str(first.blocks[1].input)
    second = await ask(brain, user("Please translate this."), *results(first, "Linux x86_64\n/workspace\n"))
    assert "Linux x86_64" in second.blocks[0].text
    assert second.stop_reason == "end_turn"


async def verdict_of(brain: ReplayBrain, description: str, iteration: int) -> Verdict | None:
    asked = grading_message(description, "rubric", ["work"], iteration=iteration, most=3, characters=1000)
    return verdict_in((await answer_of(brain, BrainRequest("sesn_7", "claude-x", [asked], SYSTEM))).blocks[0].text)


async def test_an_outcome_is_graded_by_the_plan_for_it_and_never_by_the_agents() -> None:
    grade = {"name": "g", "when": "^Grade this outcome. Evaluation 1 ", "steps": [
        {"text": "<result>needs_revision</result><explanation>not {{ session_id }}</explanation>"}
    ]}  # fmt: skip
    agents = {"name": "a", "steps": [{"text": "<result>satisfied</result>"}]}
    poems = {**agents, "name": "p", "when": "poem"}
    brain = ReplayBrain(PlanBook(parse_plans({"plans": [poems, grade, agents]}, "test")))
    assert await verdict_of(brain, "A poem.", 0) == Verdict("needs_revision", "not sesn_7")
    unplanned = await verdict_of(brain, "A poem.", 1)
    assert unplanned is not None and unplanned.result == "failed" and unplanned.explanation.startswith(NOTICE)


async def test_the_count_of_tokens_is_what_the_usage_says() -> None:
    brain = brain_of({"text": "One."})
    request = BrainRequest("sesn_7", "claude-x", [user("go")], tools=[{"name": "bash"}])
    first = await anext(aiter(brain.think(request)))
    assert await brain.count_tokens(request) == first["message"]["usage"]["input_tokens"]
