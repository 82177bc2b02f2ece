"""``/v1/sessions`` (spec A.4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from anthropic.types.beta import BetaManagedAgentsSession
from api_fakes import Server, refusal

from agents.sessions.events import SessionStatus
from agents.sessions.partition import partition_of
from agents.sessions.wire import session_wire, usd_wire


def budget(amount: Any, currency: str = "USD") -> dict[str, Any]:
    return {"budget": {"type": "limit", "max_list_cost": {"amount": amount, "currency": currency}}}


KEYS = {
    "id",
    "type",
    "status",
    "title",
    "agent",
    "environment_id",
    "vault_ids",
    "resources",
    "metadata",
    "budget",
    "deployment_id",
    "outcome_evaluations",
    "stats",
    "usage",
    "created_at",
    "updated_at",
    "archived_at",
}
AGENT_KEYS = {
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
    "execution_identity",
}
HELLO = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}


async def test_a_created_session_has_every_key_and_reads_back_the_same(server: Server) -> None:
    made = await server.session(title="t", metadata={"a": "b"})
    assert set(made) == KEYS
    assert set(made["agent"]) == AGENT_KEYS
    assert made["usage"] == {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "list_cost": {"amount": "0", "currency": "USD"},
        "active_seconds": 0.0,
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
    }
    BetaManagedAgentsSession.model_validate(made)
    again = (await server.client.get(f"/v1/sessions/{made['id']}")).json()
    assert again | {"stats": None} == made | {"stats": None}


async def test_the_stored_row_knows_its_partition_and_the_environments_config(server: Server) -> None:
    made = await server.session()
    record = await server.store.sessions.get(made["id"])
    assert record.partition == partition_of(made["id"], server.platform.settings.harness.partitions)
    assert record.environment["networking"] == {"type": "unrestricted"}
    assert record.thread_id.startswith("sthr_")


async def test_all_three_forms_of_agent_are_taken(server: Server) -> None:
    agent = await server.agent(system="one")
    await server.client.post(f"/v1/agents/{agent['id']}", json={"system": "two"})
    newest = await server.session(agent=agent["id"])
    pinned = await server.session(agent={"type": "agent", "id": agent["id"], "version": 1})
    override = {"type": "agent_with_overrides", "id": agent["id"], "version": 1, "system": None, "tools": None}
    overridden = await server.session(agent=override)
    assert [(each["agent"]["version"], each["agent"]["system"]) for each in (newest, pinned, overridden)] == [
        (2, "two"),
        (1, "one"),
        (1, None),
    ]


async def test_archived_and_unknown_parts_are_refused(server: Server) -> None:
    agent, environment = await server.agent(), await server.environment()
    body = {"agent": agent["id"], "environment_id": environment["id"]}
    post = server.client.post
    refusal(await post("/v1/sessions", json=body | {"agent": "agent_none"}), 404, "not_found_error")
    refusal(await post("/v1/sessions", json=body | {"environment_id": "env_none"}), 404, "not_found_error")
    await post(f"/v1/environments/{environment['id']}/archive")
    answer = await post("/v1/sessions", json=body)
    refusal(answer, 400)
    assert answer.json()["error"]["details"]["error_code"] == "environment_archived"
    await post(f"/v1/agents/{agent['id']}/archive")
    other = await server.environment("other")
    assert "archived" in refusal(await post("/v1/sessions", json=body | {"environment_id": other["id"]}), 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budgt", 1),
        (
            "initial_events",
            [{"type": "user.define_outcome", "description": "d", "rubric": {"type": "text", "content": "c"}}] * 2,
        ),
    ],
)
async def test_what_is_not_available_yet_is_refused_by_name_and_nothing_is_stored(
    server: Server, field: str, value: Any
) -> None:
    agent, environment = await server.agent(), await server.environment()
    if field == "agent":
        value["id"] = agent["id"]
    body = {"agent": agent["id"], "environment_id": environment["id"], field: value}
    assert refusal(await server.client.post("/v1/sessions", json=body), 400).startswith(field)
    assert (await server.client.get("/v1/sessions")).json()["data"] == []


async def test_empty_lists_of_what_is_not_available_are_fine(server: Server) -> None:
    assert await server.session(resources=[], vault_ids=[], initial_events=[])


async def test_initial_events_are_all_or_nothing_and_not_echoed(server: Server) -> None:
    made = await server.session(initial_events=[HELLO, HELLO])
    assert set(made) == KEYS
    listed = (await server.client.get(f"/v1/sessions/{made['id']}/events")).json()["data"]
    assert [event["type"] for event in listed] == ["user.message"] * 2
    body = {"agent": made["agent"]["id"], "environment_id": made["environment_id"]}
    bad = {"type": "user.message", "content": []}
    message = refusal(await server.client.post("/v1/sessions", json=body | {"initial_events": [HELLO, bad]}), 400)
    assert message.startswith("initial_events[1].content")
    many = await server.client.post("/v1/sessions", json=body | {"initial_events": [HELLO] * 51})
    assert "at most 50" in refusal(many, 400)
    interrupt = await server.client.post("/v1/sessions", json=body | {"initial_events": [{"type": "user.interrupt"}]})
    assert refusal(interrupt, 400).startswith("initial_events[0].type")
    assert len((await server.client.get("/v1/sessions")).json()["data"]) == 1


async def test_an_update_hands_the_owner_checked_changes(server: Server) -> None:
    made = await server.session(metadata={"a": "1", "b": "2"})
    path = f"/v1/sessions/{made['id']}"
    changed = (await server.client.post(path, json={"title": "t", "metadata": {"a": None, "c": "3"}})).json()
    assert (changed["title"], changed["metadata"]) == ("t", {"b": "2", "c": "3"})
    changed = (await server.client.post(path, json={"title": None, "metadata": None})).json()
    assert (changed["title"], changed["metadata"]) == (None, {})
    await server.client.post(path, json={"agent": {"tools": [{"type": "agent_toolset_20260401"}]}})
    assert list(server.host.changes[-1]["agent"]) == ["tools"]
    await server.client.post(path, json={})
    assert server.host.changes[-1] == {}


@pytest.mark.parametrize(
    ("change", "named", "code"),
    [
        ({"vault_ids": []}, "vault_ids", None),
        (budget("0"), "budget.max_list_cost.amount", None),
        ({"agent": {"system": "s"}}, "agent.system", None),
        ({"agent": {"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}}, "agent.tools", None),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "invalid_metadata"),
    ],
)
async def test_a_bad_update_is_refused_by_name(server: Server, change: Any, named: str, code: str | None) -> None:
    made = await server.session()
    answer = await server.client.post(f"/v1/sessions/{made['id']}", json=change)
    assert refusal(answer, 400).startswith(named)
    assert answer.json()["error"].get("details", {}).get("error_code") == code
    assert server.host.changes == []


async def test_a_budget_is_stored_and_shown_as_it_was_given_and_its_change_handed_to_the_owner(server: Server) -> None:
    made = await server.session(**budget("2500"))
    path = f"/v1/sessions/{made['id']}"
    assert made["budget"] == (await server.client.get(path)).json()["budget"] == budget("2500")["budget"]
    for change in (budget("999999999999"), {"budget": None}):
        assert (await server.client.post(path, json=change)).json()["budget"] == change["budget"]
        assert server.host.changes[-1] == change
    await server.client.post(path, json={"title": "t"})
    assert "budget" not in server.host.changes[-1]


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        *(
            (budget(amount), "budget.max_list_cost.amount")
            for amount in ("0", "-1", "+1", "01", "1.5", "1e3", " 1", "1\n", "", "x", "\u0663", "1" * 13, 100)
        ),
        (budget("100", "EUR"), "budget.max_list_cost.currency"),
        ({"budget": {"type": "limit"}}, "budget.max_list_cost"),
        ({"budget": {"type": "soft", "max_list_cost": {"amount": "1", "currency": "USD"}}}, "budget.type"),
        ({"budget": {**budget("1")["budget"], "per": "day"}}, "budget.per"),
        ({"budget": "100"}, "budget"),
        ({"budget": None}, "budget"),
    ],
)
async def test_a_budget_that_is_none_is_refused_by_name(server: Server, fault: dict[str, Any], named: str) -> None:
    agent, environment = await server.agent(), await server.environment()
    body = {"agent": agent["id"], "environment_id": environment["id"], **fault}
    assert refusal(await server.client.post("/v1/sessions", json=body), 400).startswith(named + ":")
    assert (await server.client.get("/v1/sessions")).json()["data"] == []


async def test_a_model_without_a_price_takes_no_budget_and_nothing_is_stored(server: Server) -> None:
    environment = await server.environment()
    agent = await server.agent(model="my-own")
    body = {"agent": agent["id"], "environment_id": environment["id"], **budget("100")}
    answer = await server.client.post("/v1/sessions", json=body)
    assert refusal(answer, 400) == "budget: 'my-own' has no price, so that its cost cannot be capped"
    assert answer.json()["error"]["details"]["error_code"] == "model_not_budgetable"
    priced = {"type": "agent_with_overrides", "id": agent["id"], "model": "claude-opus-5-5"}
    assert (await server.client.post("/v1/sessions", json=body | {"agent": priced})).status_code == 200
    assert len((await server.client.get("/v1/sessions")).json()["data"]) == 1


async def test_archive_and_delete(server: Server) -> None:
    made = await server.session()
    path = f"/v1/sessions/{made['id']}"
    archived = (await server.client.post(f"{path}/archive")).json()
    assert (archived["status"], archived["archived_at"] is not None) == ("terminated", True)
    assert (await server.client.delete(path)).json() == {"id": made["id"], "type": "session_deleted"}
    for answer in (
        await server.client.get(path),
        await server.client.delete(path),
        await server.client.post(f"{path}/archive"),
        await server.client.post(path, json={}),
    ):
        refusal(answer, 404, "not_found_error")


@pytest.mark.parametrize("order", ["desc", "asc"])
async def test_listing_pages_both_ways(server: Server, order: str) -> None:
    made = [(await server.session())["id"] for _ in range(5)]
    expected = made if order == "asc" else made[::-1]

    async def page(cursor: str | None = None) -> tuple[list[str], str | None, str | None]:
        query = {"limit": "2", "order": order} | ({"page": cursor} if cursor else {})
        body = (await server.client.get("/v1/sessions", params=query)).json()
        assert set(body) == {"data", "next_page", "prev_page"}
        return [each["id"] for each in body["data"]], body["next_page"], body["prev_page"]

    first, after_first, before_first = await page()
    second, after_second, before_second = await page(after_first)
    third, after_third, before_third = await page(after_second)
    assert first + second + third == expected
    assert (before_first, after_third) == (None, None)
    back, after_back, _ = await page(before_third)
    assert back == second
    start, after_start, before_start = await page(before_second)
    assert (start, before_start) == (first, None)
    assert (await page(after_start))[0] == second
    assert (await page(after_back))[0] == third


async def test_filters_select_sessions(server: Server) -> None:
    agent = await server.agent()
    first = await server.session(agent=agent["id"])
    await server.client.post(f"/v1/agents/{agent['id']}", json={"name": "b"})
    second = await server.session(agent=agent["id"])
    other = await server.session()
    await server.client.post(f"/v1/sessions/{other['id']}/archive")

    async def ids(**query: Any) -> list[str]:
        return [each["id"] for each in (await server.client.get("/v1/sessions", params=query)).json()["data"]]

    assert await ids() == [second["id"], first["id"]]
    assert await ids(agent_id=agent["id"], agent_version="1") == [first["id"]]
    assert await ids(**{"statuses[]": ["terminated", "running"], "include_archived": "true"}) == [other["id"]]
    assert await ids(statuses="idle") == [second["id"], first["id"]]
    assert await ids(**{"created_at[gt]": first["created_at"]}) == [second["id"]]
    assert await ids(deployment_id="depl_1") == await ids(memory_store_id="memstore_1") == []


async def test_cursors_are_refused_where_they_do_not_belong(server: Server) -> None:
    for _ in range(2):
        await server.session()
    listed = (await server.client.get("/v1/sessions?limit=1")).json()

    async def with_cursor(path: str, **query: str) -> str:
        return refusal(await server.client.get(path, params={"page": listed["next_page"], **query}), 400)

    assert "order=asc" in await with_cursor("/v1/sessions", order="asc")
    assert (await with_cursor("/v1/agents")).startswith("page:")
    bounded = await with_cursor("/v1/sessions", **{"created_at[lt]": listed["data"][0]["created_at"]})
    assert bounded.startswith("page:")
    assert (
        await server.client.get("/v1/sessions", params={"page": listed["next_page"], "limit": "5"})
    ).status_code == 200


@pytest.mark.parametrize("query", ["agent_version=1", "statuses[]=asleep", "order=up", "agent_id="])
async def test_a_bad_filter_is_named(server: Server, query: str) -> None:
    assert refusal(await server.client.get(f"/v1/sessions?{query}"), 400).startswith(query.partition("=")[0])


async def test_times_and_cost_of_a_running_session_count_to_now(server: Server) -> None:
    made = await server.session()
    record = await server.store.sessions.get(made["id"])
    running = replace(record, status=SessionStatus.RUNNING, running_since=record.created_at, active_seconds=1800.0)
    shown = session_wire(running, record.created_at + timedelta(hours=0.5), server.platform.prices)
    assert shown["usage"]["active_seconds"] == shown["stats"]["active_seconds"] == 3600.0
    assert shown["usage"]["list_cost"] == {"amount": "8", "currency": "USD"}
    assert usd_wire(14_999)["amount"] == "1"
    assert usd_wire(15_000)["amount"] == "2"


def test_a_partition_is_the_same_in_every_process_and_all_are_used() -> None:
    assert partition_of("sesn_01M7YK19ABZWGTSRN8PX6ZY9JP", 64) == 23
    assert {partition_of(f"sesn_{n}", 64) for n in range(2000)} == set(range(64))
