"""Creating and changing an agent's body (spec A.1, A.12)."""

from __future__ import annotations

from typing import Any

import pytest

from agents.catalog.agent_config import agent_body, updated_body
from agents.errors import InvalidRequest

KEYS = {
    "name",
    "description",
    "system",
    "model",
    "tools",
    "mcp_servers",
    "skills",
    "multiagent",
    "metadata",
    "execution_identity",
}


def create(**fields: Any) -> dict[str, Any]:
    return agent_body({"model": "claude-opus-5-5", "name": "a", **fields})  # type: ignore[typeddict-item]


def update(stored: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return updated_body(stored, fields)  # type: ignore[arg-type]


def test_a_minimal_agent_has_every_field_with_defaults_resolved() -> None:
    assert create() == {
        "name": "a",
        "description": None,
        "system": None,
        "model": {"id": "claude-opus-5-5", "effort": {"type": "high"}, "inference_geo": None, "speed": "standard"},
        "tools": [],
        "mcp_servers": [],
        "skills": [],
        "multiagent": None,
        "metadata": {},
        "execution_identity": {"type": "service_account"},
    }


@pytest.mark.parametrize("effort", ["low", {"type": "low"}])
def test_effort_is_taken_as_a_level_or_as_an_object(effort: Any) -> None:
    model = create(model={"id": "m", "effort": effort, "speed": "fast", "inference_geo": "us"})["model"]
    assert model == {"id": "m", "effort": {"type": "low"}, "inference_geo": "us", "speed": "fast"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 257}, "name"),
        ({"system": "x" * 100_001}, "system"),
        ({"model": ""}, "model"),
        ({"model": {"id": "m", "inference_geo": "moon"}}, "model.inference_geo"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"execution_identity": {"type": "aws_role", "role_arn": "arn"}}, "execution_identity"),
    ],
)
def test_a_bad_or_unavailable_field_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        create(**fields)
    assert caught.value.message.startswith(f"{named}:")


def test_limits_themselves_are_allowed() -> None:
    body = create(name="x" * 256, system="x" * 100_000, metadata={"k" * 64: "v" * 512})
    assert len(body["system"]) == 100_000


def test_omitted_fields_are_kept_by_an_update() -> None:
    stored = create(description="d", system="s", metadata={"a": "1"})
    assert update(stored) == stored
    assert update(stored, name="b") == {**stored, "name": "b"}


@pytest.mark.parametrize("empty", [None, ""])
def test_description_and_system_are_cleared_by_null_or_empty(empty: Any) -> None:
    changed = update(create(description="d", system="s"), description=empty, system=empty)
    assert (changed["description"], changed["system"]) == (None, None)


@pytest.mark.parametrize("empty", [None, []])
def test_arrays_are_cleared_by_null_or_empty(empty: Any) -> None:
    stored = create(tools=[{"type": "agent_toolset_20260401"}])
    assert update(stored, tools=empty, mcp_servers=empty, skills=empty)["tools"] == []


def test_metadata_merges_per_key_and_null_deletes() -> None:
    stored = create(metadata={"a": "1", "b": "2"})
    assert update(stored, metadata={"a": None, "c": "3", "gone": None})["metadata"] == {"b": "2", "c": "3"}
    assert update(stored, metadata=None)["metadata"] == {}


def test_a_merge_may_not_grow_past_the_limit() -> None:
    stored = create(metadata={str(n): "" for n in range(16)})
    with pytest.raises(InvalidRequest) as caught:
        update(stored, metadata={"one more": ""})
    assert caught.value.error_code == "invalid_metadata"


def test_effort_stays_while_the_model_id_does_and_other_fields_are_replaced() -> None:
    stored = create(model={"id": "m", "effort": "low", "inference_geo": "us", "speed": "fast"})
    same = update(stored, model={"id": "m"})["model"]
    assert same == {"id": "m", "effort": {"type": "low"}, "inference_geo": None, "speed": "standard"}
    assert update(stored, model="n")["model"]["effort"] == {"type": "high"}
    assert update(stored, model="m")["model"]["effort"] == {"type": "low"}


def test_tools_and_servers_are_matched_in_their_resulting_state() -> None:
    server, toolset = (
        {"type": "url", "name": "crm", "url": "https://c/"},
        {"type": "mcp_toolset", "mcp_server_name": "crm"},
    )
    stored = create(tools=[toolset], mcp_servers=[server])
    with pytest.raises(InvalidRequest):
        update(stored, tools=[])
    assert update(stored, tools=[], mcp_servers=[])["mcp_servers"] == []
