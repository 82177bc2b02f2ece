"""``/v1/agents`` (spec A.1)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic

from tests.conformance.requirements import requirement
from tests.conformance.scene import CUSTOM, MODEL, toolset


def create(http: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = http.post("/v1/agents", json={"name": "a", "model": MODEL, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


def update(http: httpx.Client, agent: dict[str, Any], **params: Any) -> dict[str, Any]:
    answer = http.post(f"/v1/agents/{agent['id']}", json=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http: httpx.Client, path: str = "/v1/agents", status: int = 400, **params: Any) -> str:
    body = {"name": "a", "model": MODEL, **params} if path == "/v1/agents" else params
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()["error"]["message"]


@requirement("agents:create:minimal")
def test_a_name_and_a_model_make_a_resolved_agent(http: httpx.Client) -> None:
    agent = create(http)
    moments = {key: agent.pop(key) for key in ("created_at", "updated_at")}
    assert moments["created_at"] == moments["updated_at"]
    assert agent.pop("id").startswith("agent_")
    assert agent == {
        "type": "agent",
        "version": 1,
        "name": "a",
        "description": None,
        "system": None,
        "model": {"id": MODEL, "effort": {"type": "high"}, "inference_geo": None, "speed": "standard"},
        "tools": [],
        "mcp_servers": [],
        "skills": [],
        "multiagent": None,
        "metadata": {},
        "execution_identity": {"type": "service_account"},
        "archived_at": None,
    }


@requirement("agents:create:model")
@pytest.mark.parametrize(
    "given, effort, speed",
    [
        ({"id": "claude-opus-5", "effort": "low"}, "low", "standard"),
        ({"id": "claude-opus-5", "effort": {"type": "max"}, "speed": "fast"}, "max", "fast"),
        ({"id": "claude-any-id-at-all-20991231"}, "high", "standard"),
    ],
)
def test_a_model_is_an_object_with_effort_in_either_form(
    http: httpx.Client, given: dict[str, Any], effort: str, speed: str
) -> None:
    model = create(http, model=given)["model"]
    assert model == {"id": given["id"], "effort": {"type": effort}, "inference_geo": None, "speed": speed}


@requirement("agents:create:model")
@pytest.mark.parametrize(
    "model", ["", {"id": ""}, {"id": "m", "effort": "huge"}, {"id": "m", "speed": "slow"}, None, 3]
)
def test_a_bad_model_is_refused_by_name(http: httpx.Client, model: Any) -> None:
    assert refused(http, model=model).startswith("model")


@requirement("agents:create:full", "agents:toolset:resolved", "agents:policies")
def test_every_field_comes_back_as_sent_or_resolved(client: Anthropic) -> None:
    agent = client.beta.agents.create(
        name="full",
        description="All of it.",
        system="Be kind.",
        model={"id": MODEL, "effort": "medium", "inference_geo": "us", "speed": "fast"},
        tools=[
            {
                "type": "agent_toolset_20260401",
                "default_config": {"enabled": False},
                "configs": [{"name": "bash", "enabled": True, "permission_policy": {"type": "always_ask"}}],
            },
            CUSTOM,  # type: ignore[list-item]
            {"type": "mcp_toolset", "mcp_server_name": "crm", "configs": [{"name": "find", "enabled": False}]},
        ],
        mcp_servers=[{"type": "url", "name": "crm", "url": "https://crm.example.com/mcp"}],
        metadata={"team": "blue"},
    ).to_dict()
    allow, ask = {"type": "always_allow"}, {"type": "always_ask"}
    assert agent["tools"] == [
        {
            "type": "agent_toolset_20260401",
            "default_config": {"enabled": False, "permission_policy": allow},
            "configs": [{"name": "bash", "type": "bash", "enabled": True, "permission_policy": ask}],
        },
        CUSTOM,
        {
            "type": "mcp_toolset",
            "mcp_server_name": "crm",
            "default_config": {"enabled": True, "permission_policy": ask},
            "configs": [{"name": "find", "enabled": False, "permission_policy": ask}],
        },
    ]
    assert agent["mcp_servers"] == [{"type": "url", "name": "crm", "url": "https://crm.example.com/mcp"}]
    assert agent["model"] == {"id": MODEL, "effort": {"type": "medium"}, "inference_geo": "us", "speed": "fast"}
    assert (agent["description"], agent["system"], agent["metadata"]) == ("All of it.", "Be kind.", {"team": "blue"})


@requirement("agents:retrieve:version", "agents:update:version")
def test_versions_stay_readable_by_number(client: Anthropic) -> None:
    agent = client.beta.agents.create(name="one", model=MODEL)
    second = client.beta.agents.update(agent.id, name="two")
    assert (second.version, second.name) == (2, "two") and second.updated_at > agent.updated_at
    assert second.created_at == agent.created_at
    assert client.beta.agents.retrieve(agent.id).name == "two"
    assert client.beta.agents.retrieve(agent.id, version=1).name == "one"
    with pytest.raises(anthropic.NotFoundError):
        client.beta.agents.retrieve(agent.id, version=3)
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.retrieve(agent.id, version=0)


@requirement("agents:update:no-op")
def test_an_update_without_effect_makes_no_version(http: httpx.Client) -> None:
    agent = create(http, system="x", tools=[toolset()], metadata={"a": "1"})
    same = update(http, agent, name="a", model=MODEL, system="x", tools=[toolset()], metadata={"a": "1", "b": None})
    assert same == agent
    assert update(http, agent) == agent


@requirement("agents:update:lock")
def test_a_stale_version_is_a_conflict_even_for_a_no_op(http: httpx.Client) -> None:
    agent = create(http)
    path = f"/v1/agents/{agent['id']}"
    assert update(http, agent, name="b", version=1)["version"] == 2
    assert "version" in refused(http, path, 409, name="c", version=1)
    refused(http, path, 409, name="b", version=1)
    refused(http, path, 409, version=3)
    assert update(http, agent, name="b", version=2)["version"] == 2
    assert update(http, agent, name="c")["version"] == 3


@requirement("agents:update:clearing")
def test_omitted_keeps_and_null_clears(http: httpx.Client) -> None:
    servers = [{"type": "url", "name": "s", "url": "https://s.example.com"}]
    tools = [CUSTOM, {"type": "mcp_toolset", "mcp_server_name": "s"}]
    agent = create(http, description="d", system="s", tools=tools, mcp_servers=servers, metadata={"k": "v"})
    kept = update(http, agent, name="renamed")
    assert {**kept, "name": "a", "version": 1, "updated_at": agent["updated_at"]} == agent
    cleared = update(http, agent, description=None, system="", tools=None, mcp_servers=[], metadata=None)
    assert [cleared[key] for key in ("description", "system", "tools", "mcp_servers", "metadata")] == [
        None,
        None,
        [],
        [],
        {},
    ]
    for body in ({"name": None}, {"name": ""}, {"model": None}, {"model": ""}):
        field = next(iter(body))
        assert refused(http, f"/v1/agents/{agent['id']}", **body).startswith(field)


@requirement("agents:update:arrays", "agents:update:metadata")
def test_arrays_replace_and_metadata_merges(http: httpx.Client) -> None:
    agent = create(http, tools=[toolset(bash={"enabled": False}), CUSTOM], metadata={"a": "1", "b": "2"})
    changed = update(http, agent, tools=[CUSTOM], metadata={"b": None, "c": "3", "a": "x"})
    assert changed["tools"] == [CUSTOM]
    assert changed["metadata"] == {"a": "x", "c": "3"}
    full = {f"k{n}": "v" for n in range(15)}
    assert "metadata" in refused(http, f"/v1/agents/{agent['id']}", metadata=full)


@requirement("agents:update:model")
def test_a_model_object_replaces_but_keeps_the_effort_of_the_same_id(http: httpx.Client) -> None:
    agent = create(http, model={"id": MODEL, "effort": "low", "inference_geo": "us", "speed": "fast"})
    same = update(http, agent, model={"id": MODEL})["model"]
    assert same == {"id": MODEL, "effort": {"type": "low"}, "inference_geo": None, "speed": "standard"}
    other = update(http, agent, model={"id": "claude-opus-5"})["model"]
    assert other["effort"] == {"type": "high"}


@requirement("agents:archive")
def test_an_archived_agent_takes_no_update_and_no_session(client: Anthropic, environment_id: str) -> None:
    agent = client.beta.agents.create(name="old", model=MODEL)
    archived = client.beta.agents.archive(agent.id)
    assert archived.archived_at and archived.version == 1
    assert client.beta.agents.archive(agent.id).archived_at == archived.archived_at
    assert client.beta.agents.retrieve(agent.id).archived_at == archived.archived_at
    with pytest.raises(anthropic.BadRequestError):
        client.beta.agents.update(agent.id, name="new")
    with pytest.raises(anthropic.BadRequestError):
        client.beta.sessions.create(agent=agent.id, environment_id=environment_id)


@requirement("agents:list", "agents:list:archived", "agents:list:times")
def test_agents_are_listed_newest_first_within_bounds(client: Anthropic) -> None:
    start = datetime.now(UTC)
    made = [client.beta.agents.create(name=f"l{n}", model=MODEL) for n in range(22)]
    client.beta.agents.archive(made[5].id)
    live = [agent.id for agent in made if agent is not made[5]][::-1]
    page = client.beta.agents.list(created_at_gte=start)
    assert [agent.id for agent in page.data] == live[:20] and page.next_page
    assert [agent.id for agent in page.get_next_page().data] == live[20:]
    everything = client.beta.agents.list(created_at_gte=start, include_archived=True, limit=100)
    assert [agent.id for agent in everything.data] == [agent.id for agent in made][::-1]
    assert everything.next_page is None
    some = client.beta.agents.list(created_at_gte=made[1].created_at, created_at_lte=made[3].created_at)
    assert [agent.id for agent in some.data] == [made[3].id, made[2].id, made[1].id]
    assert client.beta.agents.list(created_at_gte=start + timedelta(days=1)).data == []


@requirement("agents:versions")
def test_the_list_of_versions_has_each_once(client: Anthropic) -> None:
    agent = client.beta.agents.create(name="v", model=MODEL)
    for number in range(2, 6):
        client.beta.agents.update(agent.id, name=f"v{number}")
    first = client.beta.agents.versions.list(agent.id, limit=2)
    assert len(first.data) == 2
    listed = [(each.version, each.id) for each in client.beta.agents.versions.list(agent.id, limit=2)]
    assert listed == [(number, agent.id) for number in range(5, 0, -1)]


@requirement("agents:limits")
def test_systems_and_tools_are_bounded(http: httpx.Client) -> None:
    assert len(create(http, system="s" * 100_000)["system"]) == 100_000
    assert refused(http, system="s" * 100_001).startswith("system")
    customs = [{**CUSTOM, "name": f"tool{n}"} for n in range(256)]
    assert len(create(http, tools=customs)["tools"]) == 256
    assert refused(http, tools=[*customs, CUSTOM]).startswith("tools")
    assert refused(http, tools=[*customs[:249], toolset()]).startswith("tools")


@requirement("agents:refused-parts")
@pytest.mark.parametrize(
    "field, value",
    [
        ("skills", [{"type": "anthropic", "skill_id": "xlsx"}]),
        ("execution_identity", {"type": "aws_role", "role_arn": "arn:aws:iam::1:role/x"}),
    ],
)
def test_parts_to_come_are_refused_by_name(http: httpx.Client, field: str, value: Any) -> None:
    assert field in refused(http, **{field: value})


def coordinator(*agents: Any) -> dict[str, Any]:
    return {"type": "coordinator", "agents": list(agents)}


@requirement("agents:multiagent")
def test_a_roster_is_pinned_to_versions_and_echoed_with_the_advisor_last(http: httpx.Client) -> None:
    one, two = create(http, name="one"), create(http, name="two")
    update(http, one, version=1, description="newer")
    given = [{"type": "advisor", "model": MODEL}, {"type": "self"}, one["id"], {**reference(two), "version": 1}]
    made = create(http, multiagent=coordinator(*given))
    pinned = [{**reference(made), "version": 1}, {**reference(one), "version": 2}, {**reference(two), "version": 1}]
    assert made["multiagent"] == coordinator(*pinned, {"type": "advisor", "model": MODEL})
    update(http, two, version=1, description="newer, too")
    assert http.get(f"/v1/agents/{made['id']}").json()["multiagent"] == made["multiagent"]
    assert update(http, made, version=1, multiagent=None)["multiagent"] is None


def reference(agent: dict[str, Any]) -> dict[str, Any]:
    return {"type": "agent", "id": agent["id"]}


@requirement("agents:multiagent")
def test_a_roster_that_makes_no_sense_is_refused_and_the_entry_named(http: httpx.Client) -> None:
    one = create(http, name="one")
    boss = create(http, name="boss", multiagent=coordinator(one["id"]))
    advisor = {"type": "advisor", "model": MODEL}
    wrong: list[tuple[list[Any], str]] = [
        ([], "multiagent.agents"),
        ([{"type": "self"}, {"type": "self"}], "distinct"),
        ([one["id"], reference(one)], "distinct"),
        ([one["id"], "agent_of_nobody"], "multiagent.agents[1]"),
        ([{**reference(one), "version": 9}], "multiagent.agents[0]"),
        ([boss["id"]], "one level deep"),
        ([advisor, advisor], "advisor"),
        ([one["id"], {**advisor, "model": ""}], "multiagent.agents[1].model"),
        ([create(http, name=f"n{n}")["id"] for n in range(21)], "1 to 20"),
    ]
    for agents, word in wrong:
        assert word in refused(http, multiagent=coordinator(*agents)), agents
    archived = create(http, name="archived")
    assert http.post(f"/v1/agents/{archived['id']}/archive").status_code == 200
    assert "archived" in refused(http, multiagent=coordinator(archived["id"]))
    newer = {"type": "multiagent_20261001", "subagents": {"type": "enabled", "predefined_agents": [one["id"]]}}
    assert "multiagent" in refused(http, multiagent=newer)
