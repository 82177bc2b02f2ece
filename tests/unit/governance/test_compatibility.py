"""Whether a version of a hand can take the place of another one.

Bug class this catches: a release that breaks a live agent, or is refused for the sake of one that is not concerned.
"""

from __future__ import annotations

from typing import Any

import pytest

from agents.governance.compatibility import Finding, compare, uses_of, who_name
from agents.governance.contract import Contract

FIND: dict[str, Any] = {
    "input": {"type": "object", "properties": {"name": {"type": "string"}}},
    "output": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    "side_effects": "none",
}
BASE: dict[str, Any] = {
    "hand": "crm",
    "version": "1",
    "tools": {"find": FIND, "delete": {"input": {"type": "object"}}},
    "limits": {"input_bytes": 100, "calls_per_minute": 60},
    "egress": ["a.example.com"],
    "price": {"per_call": "0.1"},
}


def contract(**changes: Any) -> Contract:
    return Contract.of({**BASE, **changes}, "test")


def with_find(**changes: Any) -> Contract:
    return contract(tools={**BASE["tools"], "find": {**FIND, **changes}})


def texts(newer: Contract, uses: Any = None, *, breaking: bool = True) -> list[str]:
    return [each.text for each in compare(contract(), newer, uses) if each.breaking is breaking]


def output(**properties: Any) -> dict[str, Any]:
    return {**FIND["output"], "properties": {**FIND["output"]["properties"], **properties}}


def test_the_same_contract_and_a_larger_one_break_nothing() -> None:
    assert compare(contract(), contract(version="2")) == []
    more = contract(tools={**BASE["tools"], "find": {**FIND, "output": output(name={"type": "string"})}, "add": FIND})
    assert compare(contract(), more) == []


@pytest.mark.parametrize(
    ("newer", "finding"),
    [
        (contract(tools={"find": FIND}), "tools.delete: is no longer there"),
        (
            with_find(input={**FIND["input"], "required": ["name"]}),
            "tools.find.input.name: is required",
        ),
        (
            with_find(output=output(id={"type": ["integer", "null"]})),
            "tools.find.output.id: by the schema that there was, type: null is refused",
        ),
        (
            with_find(output={"type": "object"}),
            "tools.find.output.id: by the schema that there was, is required",
        ),
        (with_find(output=None), "tools.find.output: nothing is promised of the result any more"),
        (
            with_find(side_effects="destructive"),
            "tools.find.side_effects: was none and is destructive; calls were repeated on that word",
        ),
        (contract(limits={"input_bytes": 99, "calls_per_minute": 60}), "limits.input_bytes: was 100 and is 99"),
    ],
)
def test_what_breaks_callers_is_told_with_its_place(newer: Contract, finding: str) -> None:
    assert finding in texts(newer)


def test_worse_terms_are_told_and_break_nothing() -> None:
    newer = contract(
        limits={"input_bytes": 100, "calls_per_minute": 6},
        egress=["a.example.com", "b.example.com"],
        price={"per_call": "0.2"},
        sla={"availability": 0.5},
    )
    assert texts(newer) == []
    assert texts(newer, breaking=False) == [
        "limits.calls_per_minute: was 60 and is 6",
        "sla.availability: was 0.99 and is 0.5",
        "egress: b.example.com is new",
        "price.per_call: was 0.1 and is 0.2",
    ]


def test_only_what_live_agents_can_call_can_be_broken() -> None:
    newer = contract(tools={"find": FIND})
    assert compare(contract(), newer, {"find": ["a1"]}) == [Finding("tools.delete", "is no longer there", False)]
    used = compare(contract(), newer, {"delete": ["a2", "a1"]})
    assert used == [Finding("tools.delete", "is no longer there", True, ("a1", "a2"))]
    assert used[0].text == "tools.delete: is no longer there (used by a1, a2)"


def agent(url: str, *, default: bool = True, **configs: bool) -> dict[str, Any]:
    toolset = {
        "type": "mcp_toolset",
        "mcp_server_name": "x",
        "default_config": {"enabled": default},
        "configs": [{"name": name, "enabled": on} for name, on in configs.items()],
    }
    other = {"type": "agent_toolset_20260401", "default_config": {"enabled": True}, "configs": []}
    return {"mcp_servers": [{"type": "url", "name": "x", "url": url}], "tools": [other, toolset]}


def test_an_agent_uses_the_tools_that_it_has_switched_on_of_the_hand_that_it_names() -> None:
    agents = {
        "all": agent("hand://crm"),
        "less": agent("hand://crm", delete=False),
        "one": agent("hand://crm", default=False, find=True),
        "pinned": agent("hand://crm@1"),
        "other": agent("hand://billing"),
        "remote": agent("https://crm.example.com/mcp"),
        "none": {"mcp_servers": [], "tools": []},
    }
    assert who_name("crm@1", agents.items()) == ["pinned"]
    assert uses_of("crm", ["find", "delete"], agents.items()) == {"find": {"all", "less", "one"}, "delete": {"all"}}


def test_a_url_that_ends_in_a_slash_names_the_same_hand() -> None:
    """Its calls go there, too."""
    agents = {"all": agent("hand://crm/"), "pinned": agent("hand://crm@1/")}
    assert who_name("crm@1", agents.items()) == ["pinned"]
    assert uses_of("crm", ["find"], agents.items()) == {"find": {"all"}}
