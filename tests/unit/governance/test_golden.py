"""Golden calls: recorded, and made again on what shall be released.

Bug class this catches: a version that answers otherwise than before and passes.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from agents.errors import InvalidRequest
from agents.governance.contract import Contract
from agents.governance.golden import GoldenCall, parse_golden, recorded, replay, too_slow
from agents.governance.matching import differences
from agents.hands.servers.port import Consumption, ServerResult

CONTRACT = Contract.of(
    {
        "hand": "crm",
        "version": "1",
        "tools": {
            "find": {"input": {"type": "object", "required": ["name"]}, "side_effects": "none"},
            "add": {"input": {"type": "object"}},
        },
        "limits": {"output_bytes": 50},
        "sla": {"p95_seconds": 1},
    },
    "test",
)


def answer(*texts: Any, outcome: Any = "ok", size: int = 0) -> ServerResult:
    content = [{"type": "text", "text": each if isinstance(each, str) else json.dumps(each)} for each in texts]
    return ServerResult("c1", content, outcome != "ok", outcome, Consumption(bytes_out=size))


def test_lines_are_calls_with_what_is_expected_of_them() -> None:
    text = (
        '{"tool": "find", "input": {"name": "a"}, "expect": {"content": [{"id": {"$type": "integer"}}]}}\n\n'
        '{"name": "to be recorded", "tool": "add"}'
    )
    first, second = parse_golden(text, "crm.jsonl")
    assert first == GoldenCall("find", {"name": "a"}, "ok", [{"id": {"$type": "integer"}}])
    assert (second.outcome, second.title) == (None, "to be recorded")
    assert parse_golden(f"{first.line()}\n{second.line()}", "again") == [first, second]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "crm.jsonl, line 2: call: Invalid JSON"),
        ('{"input": {}}', "crm.jsonl, line 2: tool: Field required"),
        ('{"tool": "a", "expects": {}}', "crm.jsonl, line 2: expects: Extra inputs"),
        ('{"tool": "a", "expect": {"outcome": "failed"}}', "crm.jsonl, line 2: expect.outcome: "),
        (
            '{"tool": "a", "expect": {"content": {"$like": 1}}}',
            "expect.content: $like: unknown matcher; there are $any",
        ),
        ('{"tool": "a", "expect": {"content": [{"$type": "text"}]}}', 'expect.content: $type: "text" is none of null'),
        ('{"tool": "a", "expect": {"content": {"x": {"$matches": "("}}}}', '$matches: "(" is no expression'),
        ('{"tool": "a", "expect": {"content": {"$between": [1]}}}', "$between: must be two numbers"),
        ('{"tool": "a", "expect": {"content": {"$includes": {"b": {"$type": 1}}}}}', "$type: 1 is none of"),
    ],
)
def test_a_line_that_is_no_call_is_named(line: str, fault: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_golden(f'{{"tool": "a"}}\n{line}', "crm.jsonl")
    assert fault in refused.value.message


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": [1, "x", None]}, {"a": [1, "x", None]}),
        ({"a": {"$any": True}}, {"a": [1]}),
        ({"$type": "number"}, 1),
        ({"$matches": "^INV-[0-9]+$"}, "INV-17"),
        ({"$between": [1, 2]}, 2),
        ({"$includes": {"a": {"$type": "string"}}}, {"a": "x", "b": 1}),
        ({"$includes": [{"id": 2}]}, [{"id": 1}, {"id": 2}]),
        ({"$unordered": [1, {"$type": "string"}]}, ["x", 1]),
        ({"$unordered": [1, 1.0]}, [1, 1]),
    ],
)
def test_matchers_take_what_they_describe(expected: Any, actual: Any) -> None:
    assert list(differences(expected, actual)) == []


@pytest.mark.parametrize(
    ("expected", "actual", "fault"),
    [
        ({"a": 1}, {"a": 2}, "a: is 2, not 1"),
        ({"a": 1}, {"a": True}, "a: is true, not 1"),
        ({"a": 1}, {"a": 1, "b": 2}, "b: is more than expected"),
        ({"a": {"b": 1}}, {"a": {}}, "a.b: is missing"),
        ([1], [1, 2], "it: has 2 entries, not 1"),
        ([{"a": 1}], [{"a": 2}], "[0].a: is 2, not 1"),
        ({"$type": "integer"}, True, "it: is true, no integer"),
        ({"$matches": "^a"}, "ba", "it: is \"ba\", in which '^a' is not found"),
        ({"$between": [1, 2]}, 3, "it: is 3, not from 1 to 2"),
        ({"$includes": [3]}, [1], "it: has no 3"),
        ({"$includes": {"a": 1}}, {"b": 1}, "a: is missing"),
        ({"$includes": [3]}, "x", 'it: is "x", not [3] and maybe more'),
        ({"$unordered": [1, 1]}, [1, 2], "it: has no 1"),
        ({"$unordered": [1]}, [1, 2], "it: is [1, 2], no list of 1 entries"),
    ],
)
def test_what_is_not_as_expected_is_told_with_its_place(expected: Any, actual: Any, fault: str) -> None:
    assert fault in list(differences(expected, actual))


async def test_calls_are_held_against_what_was_expected_and_against_the_contract() -> None:
    calls = [
        GoldenCall("find", {"name": "a"}, "ok", [{"id": 1}]),
        GoldenCall("find", {"name": "b"}, "ok", [{"id": 1}]),
        GoldenCall("find", {}, "ok"),
        GoldenCall("add", {}, "tool_error", None),
        GoldenCall("add", {"large": True}, "ok", None),
        GoldenCall("add", {"away": True}, "ok", None),
    ]
    answers = [
        answer({"id": 1}),
        answer({"id": 2}),
        answer("no"),
        answer("x", size=51),
        answer("gone", outcome="failed"),
    ]

    async def ask(call: GoldenCall, number: int) -> ServerResult:
        return answers.pop(0)

    replayed = await replay(calls, ask, CONTRACT)
    assert [each.faults for each in replayed] == [
        (),
        ("content[0].id: is 2, not 1",),
        ("find: 'name' is a required property",),
        ('outcome: is ok, not tool_error: ["no"]',),
        ("the result has 51 bytes, and the contract allows 50",),
        ('outcome: is failed, not ok: ["gone"]',),
    ]
    assert replayed[2].seconds == 0.0


def test_golden_calls_may_not_be_slower_than_promised() -> None:
    from agents.governance.golden import Replayed

    call = GoldenCall("find", {})
    fast, slow = Replayed(call, 0.5), Replayed(call, 1.5)
    assert too_slow([fast] * 19 + [slow], CONTRACT) is None
    said = "95 of 100 golden calls took up to 1.5 s, and the contract promises 1 s"
    assert too_slow([fast] * 18 + [slow] * 2, CONTRACT) == said
    assert too_slow([], CONTRACT) is None


async def test_what_changes_from_one_call_to_the_next_is_recorded_by_its_type() -> None:
    numbers = itertools.count(1)

    async def ask(call: GoldenCall, number: int) -> ServerResult:
        count = next(numbers)
        content = {"id": count, "name": "a", "at": f"t{count}", "seen": None if count == 1 else 1}
        return answer(content, "done", outcome="ok" if call.tool == "find" else "tool_error")

    kept = GoldenCall("find", {"name": "k"}, "ok", None)
    calls = [GoldenCall("find", {"name": "a"}), kept, GoldenCall("add", {})]
    found = await recorded(calls, ask, CONTRACT)
    steady = {"id": {"$type": "integer"}, "name": "a", "at": {"$type": "string"}, "seen": {"$any": True}}
    assert found[0] == GoldenCall("find", {"name": "a"}, "ok", [steady, "done"])
    assert found[1] is kept
    exact = {"id": 3, "name": "a", "at": "t3", "seen": 1}
    assert found[2] == GoldenCall("add", {}, "tool_error", [exact, "done"]), "what may not be repeated is called once"
