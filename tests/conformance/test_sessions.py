"""Creating sessions (spec A.4): the forms of ``agent``, overrides, initial events."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, END, MODEL, REQUEST, START, Scene, message, of_type, says, text_of, toolset

SERVER = {"type": "url", "name": "crm", "url": "https://crm.example.com/mcp"}
CRM = {"type": "mcp_toolset", "mcp_server_name": "crm"}


async def create(scene: Scene, status: int = 200, **params: Any) -> dict[str, Any]:
    body = {"environment_id": scene.environment_id, **params}
    answer = await scene.http.post("/v1/sessions", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def overridden(agent: str, **fields: Any) -> dict[str, Any]:
    return {"type": "agent_with_overrides", "id": agent, **fields}


@requirement("sessions:create:shape", "sessions:create:forms")
async def test_a_new_session_is_idle_and_shows_its_resolved_agent(scene: Scene) -> None:
    agent = await scene.agent(toolset(), CUSTOM, description="d", metadata={"not": "in the snapshot"})
    session = await create(scene, agent=agent, title="t", metadata={"k": "v"})
    stored = await scene.get(f"/v1/agents/{agent}")
    left_out = {"metadata", "created_at", "updated_at", "archived_at"}
    assert session.pop("agent") == {key: value for key, value in stored.items() if key not in left_out}
    for key in ("id", "created_at", "updated_at", "stats"):
        session.pop(key)
    assert session == {
        "type": "session",
        "status": "idle",
        "title": "t",
        "environment_id": scene.environment_id,
        "vault_ids": [],
        "resources": [],
        "metadata": {"k": "v"},
        "budget": None,
        "deployment_id": None,
        "outcome_evaluations": [],
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "list_cost": {"amount": "0", "currency": "USD"},
            "active_seconds": 0.0,
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        },
        "archived_at": None,
    }


@requirement("sessions:create:forms", "sessions:snapshot")
async def test_a_reference_may_pin_a_version_and_a_snapshot_never_moves(scene: Scene) -> None:
    agent = await scene.agent(name="one")
    by_id = await create(scene, agent=agent)
    await scene.client.beta.agents.update(agent, name="two")
    newest = await create(scene, agent={"type": "agent", "id": agent})
    pinned = await create(scene, agent={"type": "agent", "id": agent, "version": 1})
    names = [(each["agent"]["name"], each["agent"]["version"]) for each in (by_id, newest, pinned)]
    assert names == [("one", 1), ("two", 2), ("one", 1)]
    assert (await scene.retrieve(by_id["id"]))["agent"]["name"] == "one"


@requirement("sessions:create:unknown")
async def test_unknown_agents_versions_and_environments_are_refused(scene: Scene) -> None:
    agent = await scene.agent()
    await create(scene, 404, agent="agent_none")
    await create(scene, 404, agent={"type": "agent", "id": agent, "version": 9})
    await create(scene, 404, agent=agent, environment_id="env_none")
    await create(scene, 400, agent={"type": "agent", "id": agent, "version": 0})
    await create(scene, 400, agent={"type": "robot", "id": agent})
    await create(scene, 400, agent=7)


@requirement("sessions:create:forms", "sessions:overrides:inherit")
async def test_overrides_change_the_session_and_not_the_agent(scene: Scene) -> None:
    agent = await scene.agent(toolset(), description="base")
    before = await scene.get(f"/v1/agents/{agent}")
    system = f"Other. {scene.mark}"
    session = await create(scene, agent=overridden(agent, system=system, tools=[CUSTOM]))
    snapshot = session["agent"]
    assert (snapshot["id"], snapshot["version"], snapshot["type"]) == (agent, 1, "agent")
    assert (snapshot["system"], snapshot["tools"]) == (system, [CUSTOM])
    assert (snapshot["description"], snapshot["model"]) == ("base", before["model"])
    assert await scene.get(f"/v1/agents/{agent}") == before
    await scene.answers(says("hi"))
    await scene.turn(session["id"])
    [shown] = await scene.shown(1)
    assert shown["system"][0]["text"] == system and [tool["name"] for tool in shown["tools"]] == ["weather"]


@requirement("sessions:overrides:clear")
@pytest.mark.parametrize("nothing", [None, []])
async def test_null_and_empty_overrides_clear(scene: Scene, nothing: Any) -> None:
    agent = await scene.agent(toolset(), CRM, mcp_servers=[SERVER])
    fields = {"tools": nothing, "mcp_servers": nothing, "skills": nothing, "system": None}
    snapshot = (await create(scene, agent=overridden(agent, **fields)))["agent"]
    assert [snapshot[key] for key in fields] == [[], [], [], None]


@requirement("sessions:overrides:servers")
async def test_an_override_keeps_servers_and_toolsets_matched(scene: Scene) -> None:
    agent = await scene.agent(CRM, mcp_servers=[SERVER])
    await create(scene, 400, agent=overridden(agent, mcp_servers=[]))
    await create(scene, 400, agent=overridden(agent, tools=None))
    refused = await create(scene, 400, agent=overridden(agent, tools=[{**CUSTOM, "name": "bash"}]))
    assert "agent.tools[0].name" in refused["error"]["message"]


@requirement("sessions:overrides:model")
async def test_a_model_override_drops_the_effort_and_cannot_be_null(scene: Scene) -> None:
    agent = await scene.agent(model={"id": MODEL, "effort": "low", "speed": "fast"})
    refused = await create(scene, 400, agent=overridden(agent, model=None))
    assert refused["error"]["details"]["error_code"] == "agent_model_required"
    inherited = await create(scene, agent=overridden(agent))
    assert inherited["agent"]["model"]["effort"] == {"type": "low"}
    for given in ("claude-opus-5", {"id": "claude-opus-5", "effort": "max"}):
        model = (await create(scene, agent=overridden(agent, model=given)))["agent"]["model"]
        assert model == {
            "id": "claude-opus-5",
            "effort": {"type": "high"},
            "inference_geo": None,
            "speed": "standard",
        }


@requirement("sessions:initial-events:run")
async def test_initial_events_start_the_first_turn(scene: Scene) -> None:
    agent = await scene.agent()
    await scene.answers(says([scene.gate("hold"), "hello"]))
    session = await create(scene, agent=agent, initial_events=[message("one"), message("two")])
    assert session["status"] == "running"
    assert "initial_events" not in session and "events" not in session
    await scene.shown(1)
    await scene.release("hold")
    log = await scene.idle(session["id"])
    assert [event["type"] for event in log] == [*START, "user.message", "user.message", *REQUEST, *END]
    assert [text_of(event) for event in of_type(log, "user.message")] == ["one", "two"]
    assert all(event["id"].startswith("sevt_") for event in log)


@requirement("sessions:initial-events:rules")
@pytest.mark.parametrize(
    "events, named",
    [
        ([message()] * 51, "initial_events"),
        ([message(), {"type": "user.interrupt"}], "initial_events[1]"),
        ([{"type": "user.tool_confirmation", "tool_use_id": "sevt_1", "result": "allow"}], "initial_events[0]"),
        ([{"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_1"}], "initial_events[0]"),
        ([message(), {"type": "user.message", "content": []}], "initial_events[1].content"),
        ([message(), message(" ")], "initial_events[1].content[0].text"),
        ([{"type": "system.message", "content": [{"type": "text", "text": "x"}]}], "initial_events[0]"),
    ],
    ids=["51", "interrupt", "confirmation", "result", "empty", "blank", "system"],
)
async def test_faulty_initial_events_make_no_session(scene: Scene, events: list[Any], named: str) -> None:
    agent = await scene.agent()
    refused = await create(scene, 400, agent=agent, initial_events=events)
    assert named in refused["error"]["message"]
    assert (await scene.get("/v1/sessions", {"agent_id": agent}))["data"] == []


@requirement("sessions:initial-events:rules")
async def test_fifty_initial_events_are_taken(scene: Scene) -> None:
    session = await create(scene, agent=await scene.agent(), initial_events=[message(f"{n}") for n in range(50)])
    log = await scene.idle(session["id"])
    assert [text_of(event) for event in of_type(log, "user.message")] == [f"{n}" for n in range(50)]


@requirement("sessions:create:forms")
async def test_the_sdk_makes_a_session_in_each_form(scene: Scene) -> None:
    agent = await scene.agent()
    sessions = scene.client.beta.sessions
    forms: list[Any] = [agent, {"type": "agent", "id": agent, "version": 1}, overridden(agent, system="x")]
    for form in forms:
        made = await sessions.create(agent=form, environment_id=scene.environment_id)
        assert (made.agent.id, made.status) == (agent, "idle")
    with pytest.raises(anthropic.BadRequestError):
        await sessions.create(agent=agent, environment_id=scene.environment_id, extra_body={"budgets": 1})
