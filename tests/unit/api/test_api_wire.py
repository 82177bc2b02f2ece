"""Strict parsing of bodies: every fault named in the API's notation."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import AgentCreateParams, SessionCreateParams
from anthropic.types.beta.sessions import EventSendParams

from agents.api.wire import loads, no_fields, parse
from agents.errors import InvalidRequest

AGENT: dict[str, Any] = {"model": "m", "name": "n"}


def fault(body: Any, params: type = AgentCreateParams) -> str:
    with pytest.raises(InvalidRequest) as caught:
        parse(params, body)
    return caught.value.message


def tool(**fields: Any) -> dict[str, Any]:
    return AGENT | {"tools": [{"type": "agent_toolset_20260401", **fields}]}


def test_an_unknown_field_is_named_beside_the_known_ones() -> None:
    message = fault({"agent": "a", "environment_id": "e", "budgt": 1}, SessionCreateParams)
    assert message.startswith("budgt: unknown field; known fields are agent, environment_id, budget,")


def test_an_unknown_field_deep_inside_is_named_with_its_path() -> None:
    assert fault(tool(configs=[{"name": "bash", "on": True}])).startswith(
        "tools[0].configs[0].on: unknown field; known fields are name, enabled, permission_policy, type"
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"name": "n"}, "model: required, but missing"),
        (AGENT | {"name": 5}, "name: must be a string, not a number"),
        (AGENT | {"name": None}, "name: must be a string, not null"),
        (AGENT | {"model": 5}, "model: must be a string or an object, not a number"),
        (AGENT | {"tools": {}}, "tools: must be an array, not an object"),
        (AGENT | {"tools": ["bash"]}, "tools[0]: must be an object, not a string"),
        (AGENT | {"metadata": {"a": 1}}, "metadata.a: must be a string, not a number"),
        ([], "the body: must be an object, not an array"),
        (tool(default_config={"enabled": 1}), "tools[0].default_config.enabled: must be true or false, not a number"),
        (
            tool(configs=[{"name": "bash", "permission_policy": {"type": "no"}}]),
            "tools[0].configs[0].permission_policy.type: must be one of always_allow, always_ask, auto, not 'no'",
        ),
        (
            AGENT | {"tools": [{"name": "x"}]},
            "tools[0].type: required, but missing; it must be one of agent_toolset_20260401, mcp_toolset, custom",
        ),
        (
            AGENT | {"model": {"id": "m", "speed": "warp"}},
            "model.speed: must be 'standard' or 'fast', not 'warp'",
        ),
    ],
)
def test_each_kind_of_fault_says_where_what_and_what_would_be_right(body: Any, message: str) -> None:
    assert fault(body) == message


@pytest.mark.parametrize("number", ["1", 1.5, 1e30, True])
def test_numbers_are_never_converted(number: Any) -> None:
    body = {"agent": {"type": "agent", "id": "a", "version": number}, "environment_id": "e"}
    assert fault(body, SessionCreateParams).startswith("agent.version: must be an integer")


def test_a_tools_type_must_agree_with_its_name() -> None:
    assert fault(tool(configs=[{"name": "bash", "type": "read"}])).startswith(
        "tools[0].configs[0].type: must be 'bash'"
    )


def test_a_field_named_like_a_union_member_is_still_named_in_full() -> None:
    block = {"type": "image", "source": {"type": "url", "url": "https://x/", "extra": 1}}
    body = {"events": [{"type": "user.message", "content": [block]}]}
    assert fault(body, EventSendParams).startswith("events[0].content[0].source.extra: unknown field")


def test_many_faults_are_counted_not_listed_for_ever() -> None:
    message = fault(AGENT | {f"f{n}": 1 for n in range(50)})
    assert message.endswith("; and 45 more faults")


def test_open_schemas_keep_what_they_do_not_know() -> None:
    custom = {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object", "x-y": [1]}}
    assert parse(AgentCreateParams, AGENT | {"tools": [custom]})["tools"] == [custom]


def test_header_parameters_are_not_body_fields() -> None:
    assert fault(AGENT | {"betas": []}).startswith("betas: unknown field")


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b"[" * 500 + b"]" * 500, "nests deeper"),
        (b'{"a": "\\u0000"}', "U+0000"),
        (b'{"a": [{"b\\u0000": 1}]}', "U+0000"),
    ],
)
def test_a_body_that_cannot_be_read_or_stored_is_refused(raw: bytes, word: str) -> None:
    with pytest.raises(InvalidRequest, match="body") as caught:
        loads(raw)
    assert word in caught.value.message


def test_a_wide_body_is_not_a_deep_one() -> None:
    assert len(loads(b"[" + b"[]," * 500 + b"[]]")) == 501


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert loads(b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}


def test_an_action_takes_no_fields() -> None:
    no_fields(loads(b""))
    no_fields({})
    with pytest.raises(InvalidRequest, match="force: unknown field"):
        no_fields({"force": True})
    with pytest.raises(InvalidRequest):
        no_fields([])
