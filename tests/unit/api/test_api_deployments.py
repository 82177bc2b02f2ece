"""``/v1/deployments`` and ``/v1/deployment_runs`` (spec A.11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from anthropic.types.beta import BetaManagedAgentsDeployment, BetaManagedAgentsDeploymentRun
from api_fakes import Server, refusal

from agents.api.deployed_sessions import scheduler_of
from agents.deployments.records import DeploymentRecord
from agents.errors import Overloaded

HELLO = {"type": "user.message", "content": [{"type": "text", "text": "hi"}]}
CRON = {"type": "cron", "expression": "0 9 * * 1-5", "timezone": "America/Los_Angeles"}
KEYS = {
    "id",
    "type",
    "name",
    "description",
    "agent",
    "environment_id",
    "initial_events",
    "resources",
    "vault_ids",
    "metadata",
    "schedule",
    "status",
    "paused_reason",
    "created_at",
    "updated_at",
    "archived_at",
}


async def parts(server: Server) -> dict[str, Any]:
    agent, environment = await server.agent(), await server.environment()
    return {"name": "d", "agent": agent["id"], "environment_id": environment["id"], "initial_events": [HELLO]}


async def deploy(server: Server, **fields: Any) -> dict[str, Any]:
    body = await parts(server) if "environment_id" not in fields else {}
    answer = await server.client.post("/v1/deployments", json={**body, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(server: Server, made: dict[str, Any], action: str = "", **body: Any) -> dict[str, Any]:
    path = f"/v1/deployments/{made['id']}" + (f"/{action}" if action else "")
    answer = await (server.client.post(path, json=body) if body else server.client.post(path))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def runs(server: Server, **query: Any) -> list[dict[str, Any]]:
    return (await server.client.get("/v1/deployment_runs", params=query)).json()["data"]


async def fire(server: Server, made: dict[str, Any]) -> datetime:
    """Let the deployment's next occurrence be a minute ago, and everything happen that is due; return that instant."""
    now = server.platform.clock.now()
    moment = now.replace(second=0, microsecond=0) - timedelta(minutes=1)

    def due(stored: DeploymentRecord) -> DeploymentRecord:
        body = {**stored.body, "schedule": {"type": "cron", "expression": "* * * * *", "timezone": "UTC"}}
        return replace(stored, body=body, next_at=moment, due_at=moment)

    await server.store.deployments.change(made["id"], due)
    scheduler = scheduler_of(server.platform)
    await scheduler.look()
    await scheduler.finished()
    return moment


async def test_a_deployment_has_every_key_and_reads_back_the_same(server: Server) -> None:
    made = await deploy(server, schedule=CRON, description="what for", metadata={"a": "b"})
    assert set(made) == KEYS
    assert (made["type"], made["status"], made["paused_reason"], made["agent"]["version"]) == (
        "deployment",
        "active",
        None,
        1,
    )
    schedule = made["schedule"]
    assert {key: schedule[key] for key in CRON} == CRON
    assert schedule["last_run_at"] is None
    assert len(schedule["upcoming_runs_at"]) == 5
    BetaManagedAgentsDeployment.model_validate(made)
    assert (await server.client.get(f"/v1/deployments/{made['id']}")).json() == made


async def test_without_a_schedule_it_is_run_by_hand_only(server: Server) -> None:
    made = await deploy(server)
    assert (made["schedule"], made["status"]) == (None, "active")
    stored = await server.store.deployments.get(made["id"])
    assert (stored.next_at, stored.due_at) == (None, None)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"initial_events": []}, "initial_events"),
        ({"initial_events": [HELLO] * 51}, "initial_events"),
        ({"initial_events": [{"type": "user.interrupt"}]}, "initial_events"),
        ({"initial_events": [{"type": "user.message", "content": []}]}, "initial_events[0].content"),
        ({"schedule": {**CRON, "expression": "@daily"}}, "schedule.expression"),
        ({"schedule": {**CRON, "timezone": "Mars/Base"}}, "schedule.timezone"),
        ({"schedule": {"type": "cron", "expression": "0 9 * * *"}}, "schedule.timezone"),
        ({"resources": [{"type": "file", "file_id": "file_1", "mount_path": "../x"}]}, "resources[0].mount_path"),
        ({"resources": [{"type": "file", "file_id": "file_1"}] * 501}, "resources"),
        ({"resources": [{"type": "file"}]}, "resources[0]"),
        ({"vault_ids": [f"vlt_{number}" for number in range(51)]}, "vault_ids"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"budget": {"type": "limit", "max_list_cost": {"amount": "0", "currency": "USD"}}}, "budget"),
        ({"cron": "0 9 * * *"}, "cron"),
    ],
)
async def test_a_fault_is_answered_by_the_fields_name(server: Server, change: dict[str, Any], field: str) -> None:
    body = await parts(server)
    message = refusal(await server.client.post("/v1/deployments", json={**body, **change}), 400)
    assert message.startswith(field)
    made = await deploy(server, **body)
    message = refusal(await server.client.post(f"/v1/deployments/{made['id']}", json=change), 400)
    assert message.startswith(field)


async def test_what_it_refers_to_must_be_there_and_not_archived(server: Server) -> None:
    body = await parts(server)
    create = server.client.post
    gone = [{"type": "file", "file_id": "file_x"}]
    for field, name in (
        ("agent", "agent_x"),
        ("environment_id", "env_x"),
        ("vault_ids", ["vlt_x"]),
        ("resources", gone),
    ):
        refusal(await create("/v1/deployments", json={**body, field: name}), 404, "not_found_error")
    await create(f"/v1/environments/{body['environment_id']}/archive")
    assert "archived" in refusal(await create("/v1/deployments", json=body), 400)
    await create(f"/v1/agents/{body['agent']}/archive")
    assert "archived" in refusal(await create("/v1/deployments", json=body), 400)


async def test_the_agent_is_pinned_until_it_is_given_again(server: Server) -> None:
    made = await deploy(server)
    agent = made["agent"]["id"]
    await server.client.post(f"/v1/agents/{agent}", json={"system": "two"})
    assert (await post(server, made, name="n"))["agent"]["version"] == 1
    assert (await post(server, made, agent=agent))["agent"]["version"] == 2
    assert (await post(server, made, agent={"type": "agent", "id": agent, "version": 1}))["agent"]["version"] == 1


async def test_a_budget_needs_a_price_for_every_agent_of_the_roster(server: Server) -> None:
    unpriced = await server.agent(name="own", model="my-own")
    boss = await server.agent(name="boss", multiagent={"type": "coordinator", "agents": [unpriced["id"]]})
    budget = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    body = {**await parts(server), "agent": boss["id"]}
    answer = await server.client.post("/v1/deployments", json={**body, "budget": budget})
    assert refusal(answer, 400) == "budget: 'my-own' has no price, so that its cost cannot be capped"
    assert (await server.client.post("/v1/deployments", json=body)).status_code == 200


async def test_an_update_keeps_what_it_omits_and_null_clears(server: Server) -> None:
    budget = {"type": "limit", "max_list_cost": {"amount": "500", "currency": "USD"}}
    made = await deploy(server, schedule=CRON, description="x", metadata={"a": "1", "b": "2"}, budget=budget)
    assert made["budget"] == budget
    same = await post(server, made, name="d")
    assert same == made
    changed = await post(server, made, metadata={"a": None, "c": "3"})
    assert changed["metadata"] == {"b": "2", "c": "3"}
    assert changed["updated_at"] > made["updated_at"]
    cleared = await post(
        server, made, schedule=None, description=None, metadata=None, budget=None, vault_ids=None, resources=None
    )
    assert "budget" not in cleared
    assert (cleared["schedule"], cleared["description"], cleared["metadata"]) == (None, None, {})
    assert (cleared["vault_ids"], cleared["resources"], cleared["name"]) == ([], [], "d")


async def test_a_change_of_something_else_loses_no_occurrence_that_waits(server: Server) -> None:
    made = await deploy(server, schedule=CRON)
    now = server.platform.clock.now()

    def waiting(stored: DeploymentRecord) -> DeploymentRecord:
        return replace(stored, next_at=now - timedelta(seconds=1), due_at=now + timedelta(seconds=60))

    before = await server.store.deployments.change(made["id"], waiting)
    await post(server, made, name="other")
    assert (await server.store.deployments.get(made["id"])).next_at == before.next_at
    await post(server, made, schedule={**CRON, "expression": "0 10 * * *"})
    after = (await server.store.deployments.get(made["id"])).next_at
    assert after is not None
    assert after > now


async def test_pausing_and_going_on_make_up_for_nothing(server: Server) -> None:
    made = await deploy(server, schedule=CRON)
    paused = await post(server, made, "pause")
    assert (paused["status"], paused["paused_reason"]) == ("paused", {"type": "manual"})
    assert paused["schedule"]["upcoming_runs_at"] == made["schedule"]["upcoming_runs_at"]
    assert await post(server, made, "pause") == paused
    assert (await server.store.deployments.get(made["id"])).due_at is None
    active = await post(server, made, "unpause")
    assert (active["status"], active["paused_reason"]) == ("active", None)
    now = server.platform.clock.now()
    following = (await server.store.deployments.get(made["id"])).next_at
    assert following is not None
    assert following > now
    assert await runs(server) == []


async def test_an_archived_deployment_is_over(server: Server) -> None:
    made = await deploy(server, schedule=CRON)
    await post(server, made, "pause")
    archived = await post(server, made, "archive")
    assert (archived["status"], archived["paused_reason"]) == ("active", None)
    assert archived["archived_at"] is not None
    assert archived["schedule"]["upcoming_runs_at"] == []
    assert await post(server, made, "archive") == archived
    for action in ("", "/pause", "/unpause", "/run"):
        answer = await server.client.post(f"/v1/deployments/{made['id']}{action}")
        refusal(answer, 400)
        assert answer.json()["error"]["details"]["error_code"] == "deployment_archived"


async def test_lists_are_filtered(server: Server) -> None:
    body = await parts(server)
    first, second, third = [await deploy(server, **body) for _ in range(3)]
    await post(server, second, "pause")
    await post(server, third, "archive")

    async def listed(**query: Any) -> list[str]:
        answer = await server.client.get("/v1/deployments", params=query)
        return [each["id"] for each in answer.json()["data"]]

    assert await listed() == [second["id"], first["id"]]
    assert await listed(status="paused") == [second["id"]]
    assert await listed(status="active") == [first["id"]]
    assert await listed(include_archived="true") == [third["id"], second["id"], first["id"]]
    assert await listed(agent_id="agent_other") == []
    both = {"status": "active", "include_archived": "true"}
    assert refusal(await server.client.get("/v1/deployments", params=both), 400).startswith("status")


async def test_a_run_by_hand_makes_a_session_of_the_deployment(server: Server) -> None:
    made = await deploy(server)
    run = await post(server, await post(server, made, "pause"), "run")
    BetaManagedAgentsDeploymentRun.model_validate(run)
    assert (run["type"], run["deployment_id"], run["agent"]) == ("deployment_run", made["id"], made["agent"])
    assert (run["trigger_context"], run["error"]) == ({"type": "manual"}, None)
    session = (await server.client.get(f"/v1/sessions/{run['session_id']}")).json()
    assert (session["deployment_id"], session["environment_id"]) == (made["id"], made["environment_id"])
    (event,) = (await server.client.get(f"/v1/sessions/{run['session_id']}/events")).json()["data"]
    assert event["content"] == HELLO["content"]
    of_it = (await server.client.get("/v1/sessions", params={"deployment_id": made["id"]})).json()["data"]
    assert [each["id"] for each in of_it] == [run["session_id"]]
    assert (await server.client.get(f"/v1/deployment_runs/{run['id']}")).json() == run
    assert await runs(server) == [run]


async def test_a_schedule_that_is_due_makes_one_session(server: Server) -> None:
    made = await deploy(server, schedule=CRON)
    moment = await fire(server, made)
    (run,) = await runs(server, trigger_type="schedule")
    scheduled = datetime.fromisoformat(run["trigger_context"]["scheduled_at"])
    assert (run["trigger_context"]["type"], scheduled >= moment) == ("schedule", True)
    assert run["session_id"] is not None
    found = (await server.client.get(f"/v1/deployments/{made['id']}")).json()
    assert found["schedule"]["last_run_at"] is not None


async def test_a_run_that_cannot_make_its_session_says_why(server: Server) -> None:
    made = await deploy(server, schedule=CRON)
    await server.client.post(f"/v1/environments/{made['environment_id']}/archive")
    by_hand = await post(server, made, "run")
    assert (by_hand["session_id"], by_hand["error"]["type"]) == (None, "environment_archived_error")
    assert (await server.client.get(f"/v1/deployments/{made['id']}")).json()["status"] == "active"
    await fire(server, made)
    found = (await server.client.get(f"/v1/deployments/{made['id']}")).json()
    reason = {"type": "error", "error": {"type": "environment_archived_error"}}
    assert (found["status"], found["paused_reason"]) == ("paused", reason)
    BetaManagedAgentsDeployment.model_validate(found)
    assert len(await runs(server, has_error="true")) == 2
    assert await runs(server, has_error="false") == []
    assert (await post(server, made, "unpause"))["paused_reason"] is None


async def test_gone_environments_and_vaults_are_told_apart(server: Server) -> None:
    vault = (await server.client.post("/v1/vaults", json={"display_name": "v"})).json()["id"]
    made = await deploy(server, vault_ids=[vault])
    await server.client.delete(f"/v1/vaults/{vault}")
    assert (await post(server, made, "run"))["error"]["type"] == "vault_not_found_error"
    await server.client.delete(f"/v1/environments/{made['environment_id']}")
    assert (await post(server, made, "run"))["error"]["type"] == "environment_not_found_error"


async def test_vaults_are_those_of_whoever_made_the_deployment_whoever_names_them(make_server: Any) -> None:
    server: Server = await make_server(api_keys={"ann": "k-ann", "bob": "k-bob"})
    ann, bob = {"x-api-key": "k-ann"}, {"x-api-key": "k-bob"}
    server.client.headers.update(ann)
    made = await deploy(server)
    path = f"/v1/deployments/{made['id']}"
    anns = (await server.client.post("/v1/vaults", json={"display_name": "a"})).json()["id"]
    bobs = (await server.client.post("/v1/vaults", json={"display_name": "b"}, headers=bob)).json()["id"]
    for vault in (anns, bobs):
        refused = await server.client.post(path, json={"vault_ids": [vault]}, headers=bob)
        assert vault in refusal(refused, 404, "not_found_error")
    assert (await server.client.post(path, json={"vault_ids": [anns]})).json()["vault_ids"] == [anns]
    assert (await server.client.post(path, json={"description": "bob's"}, headers=bob)).status_code == 200
    # As if it had been named when nobody looked whose it is.
    await server.store.deployments.change(
        made["id"], lambda stored: replace(stored, body={**stored.body, "vault_ids": [bobs]})
    )
    assert (await post(server, made, "run"))["error"]["type"] == "vault_not_found_error"


async def test_a_full_platform_is_a_run_error_that_pauses_nothing(server: Server, monkeypatch: Any) -> None:
    made = await deploy(server, schedule=CRON)

    async def full(*_: object) -> None:
        raise Overloaded("no room")

    monkeypatch.setattr(server.host, "create", full)
    await fire(server, made)
    (run,) = await runs(server)
    assert run["error"]["type"] == "session_rate_limited_error"
    assert (await server.client.get(f"/v1/deployments/{made['id']}")).json()["status"] == "active"


async def test_runs_of_an_unknown_deployment_are_none(server: Server) -> None:
    assert await runs(server, deployment_id="depl_none") == []
    refusal(await server.client.get("/v1/deployment_runs", params={"page": "x"}), 400)
    refusal(await server.client.get("/v1/deployment_runs/drun_none"), 404, "not_found_error")
    refusal(await server.client.get("/v1/deployments/depl_none"), 404, "not_found_error")
