"""Two workspaces on one server: neither finds anything of the other's, by no operation.

Bug class this catches: an operation, a list or a reference in a body that reaches another tenant's object, and an
answer that tells that such an object exists.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from api_fakes import Server, refusal
from test_api_scopes import key, operations

from agents.access.tenancy import PATH_PARAMETERS
from agents.api.auth import OPEN_PATHS
from agents.api.routes import Operation
from agents.vaults.records import VaultRecord

NOT_OWNED = {
    "api_key_id",
    "webhook_id",
    "key_id",
    "thread_id",
    "credential_id",
    "memory_id",
    "memory_version_id",
    "resource_id",
    "work_id",
    "model_id",
    "name",
    "version",
    "hand",
    "action",
}
"""What other parameters of paths name: things below an object that is owned, or the platform's own."""

STARTED: dict[str, Any] = {
    "name": "d",
    "initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "hi"}]}],
}


@dataclass
class Tenant:
    """A workspace's key, and the ids of what it has."""

    server: Server
    key: str
    ids: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.server.client.request(method, path, json=body, headers={"x-api-key": self.key})

    async def made(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.ask("POST", path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def tenant(server: Server, workspace: str) -> Tenant:
    it = Tenant(server, (await key(server, "developer", workspace))["key"], {})
    agent = await it.made("/v1/agents", model="claude-opus-5-5", name="a")
    environment = await it.made("/v1/environments", name="production")
    vault = await it.made("/v1/vaults", display_name="v")
    memory = await it.made("/v1/memory_stores", name="m")
    wanted = {"agent": agent["id"], "environment_id": environment["id"], "vault_ids": [vault["id"]]}
    session = await it.made("/v1/sessions", **wanted)
    form = {"files[]": ("tidy/SKILL.md", b"---\nname: tidy\ndescription: d\n---\n")}
    skill = await server.client.post("/v1/skills", files=form, headers={"x-api-key": it.key})
    gone = await it.made("/v1/environments", name="gone")
    deployment = await it.made("/v1/deployments", agent=agent["id"], environment_id=gone["id"], **STARTED)
    await it.made(f"/v1/environments/{gone['id']}/archive")  # so that its run makes no session
    run = await it.made(f"/v1/deployments/{deployment['id']}/run")
    it.ids |= {
        "skill_id": skill.json()["id"],
        "agent_id": agent["id"],
        "environment_id": environment["id"],
        "vault_id": vault["id"],
        "memory_store_id": memory["id"],
        "session_id": session["id"],
        "deployment_id": deployment["id"],
        "deployment_run_id": run["id"],
    }
    files = {"file": ("a.txt", b"a")}
    uploaded = await server.client.post("/v1/files", files=files, headers={"x-api-key": it.key})
    it.ids["file_id"] = uploaded.json()["id"]
    return it


@pytest.fixture
async def server(make_server: Callable[..., Awaitable[Server]]) -> Server:
    return await make_server(api_key="operator")


@pytest.fixture
async def mine(server: Server) -> Tenant:
    return await tenant(server, "mine")


@pytest.fixture
async def theirs(server: Server) -> Tenant:
    return await tenant(server, "theirs")


def parameters(operation: Operation) -> list[str]:
    return [part.partition("}")[0] for part in operation.path.split("{")[1:]]


async def test_every_parameter_of_a_path_is_known_to_be_owned_or_not(server: Server) -> None:
    found = {name for operation in operations(server) for name in parameters(operation)}
    assert found - NOT_OWNED == set(PATH_PARAMETERS), "say in agents.access.tenancy whose what it names is"


async def test_no_operation_reaches_or_tells_of_another_workspaces_object(
    server: Server, mine: Tenant, theirs: Tenant
) -> None:
    absent = {name: f"{value[:-6]}000000" for name, value in theirs.ids.items()}
    tried = 0
    for operation in operations(server):
        owned = [name for name in parameters(operation) if name in PATH_PARAMETERS]
        if operation.of_operators or not owned:
            continue
        tried += 1
        told: list[tuple[int, str]] = []
        for ids in (theirs.ids, absent):
            path = operation.path.format_map({**dict.fromkeys(parameters(operation), "x"), **ids})
            answer = await mine.ask(operation.method, path, {})
            assert answer.status_code == 404, f"{operation.name}: {answer.status_code} {answer.text}"
            text = answer.json()["error"]["message"]
            told.append((answer.status_code, text.replace(ids[owned[0]], "ID")))
        assert told[0] == told[1], operation.name
    assert tried >= 40


async def test_every_object_is_its_own_workspaces_to_read(server: Server, mine: Tenant) -> None:
    for path in ("/v1/agents/{agent_id}", "/v1/environments/{environment_id}", "/v1/vaults/{vault_id}",
                 "/v1/memory_stores/{memory_store_id}",
                 "/v1/skills/{skill_id}", "/v1/sessions/{session_id}", "/v1/sessions/{session_id}/events",
                 "/v1/sessions/{session_id}/resources", "/v1/files/{file_id}",
                 "/v1/deployments/{deployment_id}", "/v1/deployment_runs/{deployment_run_id}"):  # fmt: skip
        assert (await mine.ask("GET", path.format_map(mine.ids))).status_code == 200, path


@pytest.mark.parametrize(
    "kind",
    [
        "agents",
        "environments",
        "vaults",
        "memory_stores",
        "sessions",
        "files",
        "skills",
        "deployments",
        "deployment_runs",
    ],
)
async def test_a_list_has_the_objects_of_its_own_workspace_only(
    server: Server, mine: Tenant, theirs: Tenant, kind: str
) -> None:
    (row,) = (await mine.ask("GET", f"/v1/{kind}")).json()["data"]
    assert row["id"] in mine.ids.values()
    nobodys = await server.client.get(f"/v1/{kind}", headers={"x-api-key": "operator"})
    assert nobodys.json()["data"] == []


async def test_a_filter_by_another_workspaces_object_finds_nothing(
    server: Server, mine: Tenant, theirs: Tenant
) -> None:
    found = await mine.ask("GET", f"/v1/sessions?agent_id={theirs.ids['agent_id']}")
    assert found.json()["data"] == []


@pytest.mark.parametrize("stolen", ["agent", "environment_id", "vault_ids", "resources"])
async def test_a_session_is_not_made_of_another_workspaces_parts(
    server: Server, mine: Tenant, theirs: Tenant, stolen: str
) -> None:
    def body(of: Tenant) -> dict[str, Any]:
        ids = of.ids
        return {
            "agent": ids["agent_id"],
            "environment_id": ids["environment_id"],
            "vault_ids": [ids["vault_id"]],
            "resources": [{"type": "memory_store", "memory_store_id": ids["memory_store_id"]}],
        }

    answer = await mine.ask("POST", "/v1/sessions", {**body(mine), stolen: body(theirs)[stolen]})
    assert refusal(answer, 404, "not_found_error").endswith("not found")


@pytest.mark.parametrize("stolen", ["agent", "environment_id", "vault_ids", "resources"])
async def test_a_deployment_is_not_made_of_another_workspaces_parts(
    server: Server, mine: Tenant, theirs: Tenant, stolen: str
) -> None:
    def body(of: Tenant) -> dict[str, Any]:
        ids = of.ids
        parts = {"agent": ids["agent_id"], "environment_id": ids["environment_id"], "vault_ids": [ids["vault_id"]]}
        return {**parts, "resources": [{"type": "file", "file_id": ids["file_id"]}]}

    fields = {**body(mine), stolen: body(theirs)[stolen]}
    for path, more in ((f"/v1/deployments/{mine.ids['deployment_id']}", {}), ("/v1/deployments", STARTED)):
        answer = await mine.ask("POST", path, {**fields, **more})
        assert refusal(answer, 404, "not_found_error").endswith("not found")


async def test_an_agent_and_a_session_do_not_get_another_workspaces_skill(mine: Tenant, theirs: Tenant) -> None:
    skills = [{"type": "custom", "skill_id": theirs.ids["skill_id"]}]
    tools = [{"type": "agent_toolset_20260401"}]
    agent = mine.ids["agent_id"]
    overridden = {"type": "agent_with_overrides", "id": agent, "skills": skills, "tools": tools}
    for path, body in (
        ("/v1/agents", {"name": "a", "model": "m", "tools": tools, "skills": skills}),
        (f"/v1/agents/{agent}", {"version": 1, "tools": tools, "skills": skills}),
        ("/v1/sessions", {"agent": overridden, "environment_id": mine.ids["environment_id"]}),
    ):
        message = refusal(await mine.ask("POST", path, body), 404, "not_found_error")
        assert message.endswith("not found") and "skills[0]" in message


async def test_a_vault_of_nobody_is_for_its_own_workspace_only(server: Server, mine: Tenant) -> None:
    """Such as were made before the server had keys: they are for everyone, but of the workspace ``default``."""
    now = datetime.now(UTC)
    await server.store.vaults.insert(VaultRecord("vlt_open", "", {"display_name": "v", "metadata": {}}, now, now))
    body = {"agent": mine.ids["agent_id"], "environment_id": mine.ids["environment_id"], "vault_ids": ["vlt_open"]}
    refusal(await mine.ask("POST", "/v1/sessions", body), 404, "not_found_error")
    assert "vlt_open" not in (await mine.ask("GET", "/v1/vaults")).text


async def test_two_workspaces_may_use_one_name_and_one_may_not_use_it_twice(mine: Tenant, theirs: Tenant) -> None:
    again = await mine.ask("POST", "/v1/environments", {"name": "production"})
    assert "production" in refusal(again, 409, "conflict_error")


async def test_a_new_key_opens_what_an_old_one_of_its_workspace_made(server: Server, mine: Tenant) -> None:
    new = (await key(server, "developer", "mine"))["key"]
    for kind in ("vaults", "sessions"):
        (row,) = (await server.client.get(f"/v1/{kind}", headers={"x-api-key": new})).json()["data"]
        assert row["id"] in mine.ids.values()
    credential = {
        "display_name": "c",
        "auth": {"type": "environment_variable", "secret_name": "T", "secret_value": "s"},
    }
    answer = await server.client.post(
        f"/v1/vaults/{mine.ids['vault_id']}/credentials", json=credential, headers={"x-api-key": new}
    )
    assert answer.status_code in (200, 400) and "not found" not in answer.text


async def test_an_idempotency_key_of_one_workspace_means_nothing_in_another(mine: Tenant, theirs: Tenant) -> None:
    """The memory of repeated requests is per session and key: the same words elsewhere are another request."""
    message = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "hello"}]}]}
    made: list[str] = []
    for each in (mine, theirs):
        answer = await each.server.client.post(
            f"/v1/sessions/{each.ids['session_id']}/events",
            json=message,
            headers={"x-api-key": each.key, "idempotency-key": "same"},
        )
        made.append(answer.json()["data"][0]["id"])
    assert made[0] != made[1]


async def test_what_a_workspaces_keys_do_is_counted_as_one_principals(server: Server, mine: Tenant) -> None:
    record = await server.store.sessions.get(mine.ids["session_id"])  # type: ignore[arg-type]
    assert (record.principal, record.workspace_id) == ("workspace:mine", "mine")


async def test_a_key_of_the_settings_with_the_name_of_a_workspace_is_not_that_workspace(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(api_key="operator", api_keys={"mine": "k1"})
    it = await tenant(server, "mine")
    for method, kind in (("GET", "vaults"), ("GET", "sessions")):
        assert (await server.client.request(method, f"/v1/{kind}", headers={"x-api-key": "k1"})).json()["data"] == []
    path = f"/v1/sessions/{it.ids['session_id']}"
    refusal(await server.client.get(path, headers={"x-api-key": "k1"}), 404, "not_found_error")


@pytest.mark.parametrize("path", sorted(OPEN_PATHS))
async def test_open_paths_stay_open(server: Server, path: str) -> None:
    assert (await server.client.get(path)).status_code == 200
