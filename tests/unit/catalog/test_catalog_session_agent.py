"""The agent snapshot of a session and its overrides (spec A.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agents.catalog.agent_config import agent_body
from agents.catalog.session_agent import reference, session_agent, updated_session_agent
from agents.errors import InvalidRequest
from agents.store.ports import AgentRecord

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
CRM = {"type": "url", "name": "crm", "url": "https://c/"}
CRM_TOOLS = {"type": "mcp_toolset", "mcp_server_name": "crm"}


@pytest.fixture
def stored() -> AgentRecord:
    body = agent_body(
        {
            "model": {"id": "m", "effort": "low"},
            "name": "a",
            "system": "s",
            "metadata": {"k": "v"},
            "tools": [{"type": "agent_toolset_20260401"}, CRM_TOOLS],  # type: ignore[list-item]
            "mcp_servers": [CRM],  # type: ignore[list-item]
        }
    )
    return AgentRecord("agent_1", 3, body, MOMENT, MOMENT)


def override(**fields: Any) -> dict[str, Any]:
    return {"type": "agent_with_overrides", "id": "agent_1", **fields}


def test_an_agent_is_named_by_id_or_by_object_with_a_version() -> None:
    assert reference("agent_1") == ("agent_1", None)
    assert reference({"type": "agent", "id": "agent_1", "version": 2}) == ("agent_1", 2)
    with pytest.raises(InvalidRequest, match=r"agent\.version"):
        reference({"type": "agent", "id": "agent_1", "version": 0})


def test_a_snapshot_is_the_whole_definition_without_metadata_and_times(stored: AgentRecord) -> None:
    snapshot = session_agent(stored, "agent_1")
    expected = {key: value for key, value in stored.body.items() if key != "metadata"}
    assert snapshot == {"id": "agent_1", "type": "agent", "version": 3, **expected}


def test_omitted_overrides_inherit_and_the_base_is_still_named(stored: AgentRecord) -> None:
    assert session_agent(stored, override()) == session_agent(stored, "agent_1")


@pytest.mark.parametrize("empty", [None, []])
def test_null_or_empty_clears_tools_and_servers(stored: AgentRecord, empty: Any) -> None:
    snapshot = session_agent(stored, override(tools=empty, mcp_servers=empty, skills=empty, system=None))
    assert (snapshot["tools"], snapshot["mcp_servers"], snapshot["system"]) == ([], [], None)
    assert stored.body["tools"]


def test_a_models_override_ignores_effort_and_does_not_carry_the_agents_over(stored: AgentRecord) -> None:
    assert session_agent(stored, override(model={"id": "m", "effort": "max"}))["model"]["effort"] == {"type": "high"}
    assert session_agent(stored, override(model="other"))["model"]["id"] == "other"


def test_a_cleared_model_is_refused_with_its_own_reason(stored: AgentRecord) -> None:
    with pytest.raises(InvalidRequest) as caught:
        session_agent(stored, override(model=None))
    assert caught.value.error_code == "agent_model_required"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mcp_servers": []}, "agent.tools"),
        ({"tools": []}, "agent.mcp_servers"),
        ({"system": "x" * 100_001}, "agent.system"),
        ({"tools": [{"type": "agent_toolset_20260401", "configs": [{"name": "bash"}] * 2}]}, "agent.tools[0]"),
    ],
)
def test_a_bad_override_is_refused_by_name(stored: AgentRecord, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        session_agent(stored, override(**fields))
    assert caught.value.message.startswith(named)


def test_an_update_replaces_tools_in_full_and_still_matches_servers(stored: AgentRecord) -> None:
    snapshot = session_agent(stored, "agent_1")
    changed = updated_session_agent(snapshot, {"tools": [CRM_TOOLS]})
    assert [tool["type"] for tool in changed["tools"]] == ["mcp_toolset"]
    with pytest.raises(InvalidRequest):
        updated_session_agent(snapshot, {"tools": []})
