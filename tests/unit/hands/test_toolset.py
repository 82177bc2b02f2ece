"""The tools' definitions and the strict reading of their input. Source: spec C.1."""

from __future__ import annotations

from typing import Any

import pytest

from agents.hands.tool_failure import ToolFailure
from agents.hands.toolset import (
    MAX_COMMAND_CHARS,
    TOOL_NAMES,
    BashInput,
    EditInput,
    GlobInput,
    GrepInput,
    ReadInput,
    WriteInput,
    parse_input,
    tool_definitions,
)

MODELS = {
    "bash": BashInput,
    "read": ReadInput,
    "write": WriteInput,
    "edit": EditInput,
    "glob": GlobInput,
    "grep": GrepInput,
}


def test_every_built_in_tool_is_defined_in_a_fixed_order() -> None:
    names = [definition["name"] for definition in tool_definitions(reversed(TOOL_NAMES))]
    assert names == ["bash", "read", "write", "edit", "glob", "grep"]


def test_only_enabled_tools_are_offered() -> None:
    assert [d["name"] for d in tool_definitions({"read", "web_search", "nonsense"})] == ["read"]
    assert tool_definitions([]) == []


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_the_offered_schema_names_exactly_the_fields_that_are_read(name: str) -> None:
    (definition,) = tool_definitions([name])
    schema = definition["input_schema"]
    fields = MODELS[name].model_fields
    assert set(schema["properties"]) == set(fields)
    assert schema["required"] == [field for field, info in fields.items() if info.is_required()]
    assert schema["additionalProperties"] is False
    assert definition["description"]


def test_definitions_are_fresh_so_that_no_caller_can_spoil_them() -> None:
    tool_definitions(["bash"])[0]["description"] = "spoilt"
    assert tool_definitions(["bash"])[0]["description"] != "spoilt"


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("bash", {"command": "x" * (MAX_COMMAND_CHARS + 1)}, "bash: command:"),
        ("bash", {"command": "a\0b"}, "bash: command: must not contain a NUL character"),
        ("bash", {"command": "", "restart": False}, "bash: command: is required"),
        ("bash", {"command": "true", "timeout_ms": 1.5}, "bash: timeout_ms:"),
        ("bash", {"command": "true", "timeout_ms": True}, "bash: timeout_ms:"),
        ("read", {"file_path": ""}, "read: file_path:"),
        ("read", {"file_path": "x" * 5000}, "read: file_path:"),
        ("read", {"file_path": "x", "view_range": [1, 2, 3]}, "read: view_range: must be [start_line, end_line]"),
        ("read", {"file_path": "x", "view_range": ["1", "2"]}, "read: view_range.0:"),
        ("write", {"file_path": "x", "content": None}, "write: content:"),
        ("edit", {"file_path": "x", "old_string": "a"}, "edit: new_string:"),
        ("edit", {"file_path": "x", "old_string": "a", "new_string": "b", "replace_all": 1}, "edit: replace_all:"),
        ("grep", {"pattern": "x", "glob": "*.py"}, "grep: glob:"),
        ("web_search", {"query": "x"}, "unknown tool 'web_search'"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_fields_name(name: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(ToolFailure) as refused:
        parse_input(name, body)
    assert str(refused.value).startswith(message)


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(ToolFailure, match=r"file_path: .*; content: .*; mode: "):
        parse_input("write", {"file_path": 1, "content": 2, "mode": 3})


def test_restart_needs_no_command_and_an_empty_range_means_the_whole_file() -> None:
    assert parse_input("bash", {"restart": True}) == BashInput(restart=True)
    assert parse_input("read", {"file_path": "x", "view_range": []}) == ReadInput(file_path="x")
    assert parse_input("bash", {"command": "true", "timeout_ms": 0}) == BashInput(command="true", timeout_ms=0)
