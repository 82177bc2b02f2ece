"""``/v1/agents`` (spec A.1)."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import BetaManagedAgentsAgent
from api_fakes import Server, refusal

from agents.errors import Conflict
from agents.store.ports import AgentRecord

KEYS = {
    "id",
    "type",
    "version",
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
    "created_at",
    "updated_at",
    "archived_at",
}


async def test_a_created_agent_has_every_key_and_reads_back_the_same(server: Server) -> None:
    made = await server.agent(tools=[{"type": "agent_toolset_20260401", "configs": [{"name": "bash"}]}])
    assert set(made) == KEYS
    assert (made["type"], made["version"], made["archived_at"]) == ("agent", 1, None)
    BetaManagedAgentsAgent.model_validate(made, strict=False)
    assert (await server.client.get(f"/v1/agents/{made['id']}")).json() == made


async def test_an_update_makes_a_version_only_when_something_changed(server: Server) -> None:
    made = await server.agent()
    path = f"/v1/agents/{made['id']}"
    assert (await server.client.post(path, json={"name": "a"})).json() == made
    assert (await server.client.post(path)).json() == made
    changed = (await server.client.post(path, json={"name": "b", "version": 1})).json()
    assert (changed["version"], changed["name"], changed["created_at"]) == (2, "b", made["created_at"])
    assert (await server.client.get(path)).json() == changed
    assert (await server.client.get(f"{path}?version=1")).json() == made
    refusal(await server.client.get(f"{path}?version=3"), 404, "not_found_error")
    assert "version" in refusal(await server.client.get(f"{path}?version=0"), 400)


@pytest.mark.parametrize("change", [{"name": "a"}, {"name": "c"}])
async def test_a_stale_version_is_a_conflict_even_when_nothing_would_change(
    server: Server, change: dict[str, Any]
) -> None:
    made = await server.agent()
    path = f"/v1/agents/{made['id']}"
    await server.client.post(path, json={"description": "d"})
    answer = await server.client.post(path, json={**change, "version": 1})
    refusal(answer, 409, "conflict_error")
    assert answer.headers["x-should-retry"] == "false"


async def test_a_lost_race_without_a_version_is_run_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await server.agent()
    real, races = server.store.agents.update, 1

    async def update(_: object, agent: AgentRecord, *, expected_version: int) -> None:
        nonlocal races
        if races:
            races -= 1
            raise Conflict("someone was faster")
        await real(agent, expected_version=expected_version)

    monkeypatch.setattr(type(server.store.agents), "update", update)
    answer = await server.client.post(f"/v1/agents/{made['id']}", json={"name": "b"})
    assert answer.json()["version"] == 2
    races = 99
    refusal(await server.client.post(f"/v1/agents/{made['id']}", json={"name": "c"}), 409, "conflict_error")


async def test_an_archived_agent_is_read_only_and_stays_archived_since_the_first_time(server: Server) -> None:
    made = await server.agent()
    path = f"/v1/agents/{made['id']}"
    archived = (await server.client.post(f"{path}/archive")).json()
    assert archived["archived_at"] is not None
    assert (await server.client.post(f"{path}/archive", json={})).json()["archived_at"] == archived["archived_at"]
    refusal(await server.client.post(path, json={"name": "b"}), 400)
    assert (await server.client.get(path)).json()["archived_at"] == archived["archived_at"]
    refusal(await server.client.post(f"{path}/archive", json={"force": True}), 400)


async def test_listing_pages_newest_first_without_archived_ones(server: Server) -> None:
    made = [(await server.agent(name=f"a{n}"))["id"] for n in range(5)]
    await server.client.post(f"/v1/agents/{made[2]}/archive")
    expected = [made[4], made[3], made[1], made[0]]
    seen: list[str] = []
    page: str | None = None
    while True:
        query = {"limit": "2"} | ({"page": page} if page else {})
        body = (await server.client.get("/v1/agents", params=query)).json()
        assert set(body) == {"data", "next_page"}
        seen += [agent["id"] for agent in body["data"]]
        page = body["next_page"]
        if page is None:
            break
    assert seen == expected
    every = (await server.client.get("/v1/agents?include_archived=true")).json()["data"]
    assert [agent["id"] for agent in every] == made[::-1]


async def test_listing_is_bounded_by_creation_time(server: Server) -> None:
    first, second = await server.agent(), await server.agent()
    at = second["created_at"]
    late = (await server.client.get("/v1/agents", params={"created_at[gte]": at})).json()["data"]
    early = (await server.client.get("/v1/agents", params={"created_at[lt]": at})).json()["data"]
    assert ([a["id"] for a in late], [a["id"] for a in early]) == ([second["id"]], [first["id"]])


async def test_versions_are_listed_newest_first_and_paged(server: Server) -> None:
    made = await server.agent()
    path = f"/v1/agents/{made['id']}"
    for name in "bcd":
        await server.client.post(path, json={"name": name})
    first = (await server.client.get(f"{path}/versions?limit=3")).json()
    rest = (await server.client.get(f"{path}/versions", params={"page": first["next_page"]})).json()
    assert [each["version"] for each in first["data"] + rest["data"]] == [4, 3, 2, 1]
    assert rest["next_page"] is None
    other = await server.agent()
    stray = await server.client.get(f"/v1/agents/{other['id']}/versions", params={"page": first["next_page"]})
    assert "page" in refusal(stray, 400)
    refusal(await server.client.get("/v1/agents/agent_none/versions"), 404, "not_found_error")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1&limit=2",
        "limit=",
        "include_archived=1",
        "created_at[gte]=yesterday",
        "created_at[gte]=2026-01-01T00:00:00",
        "created_at%5Blte%5D=0001-01-01T00:00:00%2B14:00",
        "page=garbage",
        "page=",
        "page=%00",
    ],
)
async def test_a_bad_query_parameter_is_named(server: Server, query: str) -> None:
    message = refusal(await server.client.get(f"/v1/agents?{query}"), 400)
    assert message.startswith(query.partition("=")[0].replace("%5B", "[").replace("%5D", "]") + ":")
