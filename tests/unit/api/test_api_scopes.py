"""What every operation asks of a key: each one with each scope.

Bug class this catches: an operation that is mounted without anybody having said who may call it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from api_fakes import Server, refusal

from agents.access.scopes import KeyScope
from agents.api.auth import OPEN_PATHS
from agents.api.routes import Operation, _PathEndpoint

ADMIN_ONLY = {
    "createApiKey", "listApiKeys", "getApiKey", "revokeApiKey",
    "getUsage", "reconcileUsage", "listInvoices", "getTopology",
}  # fmt: skip
"""Some that must never open to less, named here so that a change of the rule shows."""
WORKERS = {
    "pollWork", "getWorkStats", "listWork", "getWork", "updateWork", "ackWork", "heartbeatWork", "stopWork",
    "getSession", "sendEvents", "listEvents", "streamEvents",
    "getSkillVersion", "downloadSkillVersion",
}  # fmt: skip
TOKENS = {"createMemory", "listMemories", "getMemory", "updateMemory", "deleteMemory"}
"""What the token of a worker's item opens, and the key of its environment does not (spec D.1)."""


def operations(server: Server) -> list[Operation]:
    """Every operation that is mounted, also those that the description leaves out."""
    found: list[Operation] = []
    for route in server.app.router.routes:
        endpoint: Any = getattr(route, "app", None)
        assert isinstance(endpoint, _PathEndpoint), f"{route} is mounted past the guard"
        found.extend(endpoint._table.values())
    return found


@pytest.fixture
async def server(make_server: Callable[..., Awaitable[Server]]) -> Server:
    return await make_server(api_key="operator")


async def key(server: Server, scope: str, workspace: str = "default", **more: Any) -> dict[str, Any]:
    body = {"name": f"{scope} of {workspace}", "scope": scope, "workspace_id": workspace, **more}
    made = await server.client.post("/-/keys", json=body, headers={"x-api-key": "operator"})
    assert made.status_code == 200, made.text
    return made.json()


def expected(operation: Operation, scope: KeyScope) -> bool:
    """Say again, by other words than the code's, what a scope opens."""
    if scope is KeyScope.ADMIN:
        return True
    if operation.path.startswith("/-/"):
        return False
    if scope is KeyScope.ENVIRONMENT:
        return operation.name in WORKERS
    if scope is KeyScope.READ_ONLY:
        return operation.method == "GET" and operation.name != "pollWork"
    return True


@pytest.mark.parametrize("scope", list(KeyScope))
async def test_every_operation_opens_to_the_scopes_it_should_and_refuses_the_others_by_name(
    server: Server, scope: KeyScope
) -> None:
    shown = {"x-api-key": (await key(server, scope.value))["key"]}
    tried = 0
    for operation in operations(server):
        if operation.path in OPEN_PATHS:
            continue
        tried += 1
        path = operation.path.format_map(dict.fromkeys(_names(operation.path), "absent"))
        answer = await server.client.request(operation.method, path, content=b"{}", headers=shown)
        if expected(operation, scope):
            assert answer.status_code != 403, f"{operation.name}: {answer.text}"
            continue
        message = refusal(answer, 403, "permission_error")
        assert operation.scope.value in message and scope.value in message, operation.name
        assert answer.json()["error"]["details"]["required_scope"] == operation.scope.value
    assert tried > 60


async def test_the_operators_own_operations_and_the_workers_are_the_ones_we_know(server: Server) -> None:
    mounted = {operation.name: operation for operation in operations(server)}
    assert {mounted[name].scope for name in ADMIN_ONLY} == {KeyScope.ADMIN}
    assert {name for name, operation in mounted.items() if operation.workers is not None} == WORKERS | TOKENS
    assert mounted["createSession"].scope is mounted["pollWork"].scope is KeyScope.DEVELOPER


def _names(path: str) -> list[str]:
    return [part.partition("}")[0] for part in path.split("{")[1:]]


async def test_a_key_of_the_settings_is_admin_of_the_default_workspace(server: Server) -> None:
    server.client.headers["x-api-key"] = "operator"
    agent = await server.agent()
    assert (await server.client.get("/-/keys")).status_code == 200
    same = await key(server, "read-only")
    answer = await server.client.get(f"/v1/agents/{agent['id']}", headers={"x-api-key": same["key"]})
    assert answer.status_code == 200


async def test_a_key_is_shown_once_and_listed_without_its_secret(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    made = await key(server, "developer", "team-a", expires_at="2099-01-01T00:00:00Z")
    assert made["id"] in caplog.text and made["key"] not in caplog.text
    assert made["workspace_id"] == "team-a" and made["status"] == "active"
    listed = await server.client.get("/-/keys", headers={"x-api-key": "operator"})
    (row,) = listed.json()["data"]
    assert row == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in listed.text
    one = await server.client.get(f"/-/keys/{made['id']}", headers={"x-api-key": "operator"})
    assert one.json() == row


async def test_a_revoked_key_is_refused_and_stays_in_the_list_of_all(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(api_key="operator", access={"key_cache_seconds": 0})
    made, operator = await key(server, "developer"), {"x-api-key": "operator"}
    shown = {"authorization": f"Bearer {made['key']}"}
    assert (await server.client.get("/v1/agents", headers=shown)).status_code == 200
    gone = await server.client.delete(f"/-/keys/{made['id']}", headers=operator)
    assert gone.json()["status"] == "archived" and gone.json()["last_used_at"] is not None
    again = await server.client.delete(f"/-/keys/{made['id']}", headers=operator)
    assert again.json() == gone.json()
    assert "revoked" in refusal(await server.client.get("/v1/agents", headers=shown), 401, "authentication_error")
    assert (await server.client.get("/-/keys", headers=operator)).json()["data"] == []
    every = await server.client.get("/-/keys?include_archived=true", headers=operator)
    assert [row["id"] for row in every.json()["data"]] == [made["id"]]


async def test_a_stream_ends_after_its_key(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(api_key="operator", access={"key_cache_seconds": 0})
    made = await key(server, "developer")
    book = server.app.router.routes[0].app._table["GET"].handler.__self__._book  # type: ignore[union-attr]
    await server.client.delete(f"/-/keys/{made['id']}", headers={"x-api-key": "operator"})
    await book.lapsed(made["id"], every_seconds=0)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"scope": "admin"}, "name"),
    ({"name": "", "scope": "admin"}, "name"),
    ({"name": "n"}, "scope"),
    ({"name": "n", "scope": "root"}, "scope"),
    ({"name": "n", "scope": "admin", "workspace_id": "Team A"}, "workspace_id"),
    ({"name": "n", "scope": "admin", "workspace_id": "../x"}, "workspace_id"),
    ({"name": "n", "scope": "admin", "expires_at": "tomorrow"}, "expires_at"),
    ({"name": "n", "scope": "admin", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "n", "scope": "admin", "key": "mine"}, "key"),
]


@pytest.mark.parametrize(("body", "field"), FAULTS)
async def test_a_faulty_key_is_refused_by_the_name_of_the_field(
    server: Server, body: dict[str, Any], field: str
) -> None:
    answer = await server.client.post("/-/keys", json=body, headers={"x-api-key": "operator"})
    assert field in refusal(answer, 400)


async def test_an_environments_key_answers_calls_and_never_speaks_for_the_user(server: Server) -> None:
    shown = {"x-api-key": (await key(server, "environment"))["key"]}
    server.client.headers["x-api-key"] = "operator"
    session = await server.session()
    message = {"events": [{"type": "user.message", "content": [{"type": "text", "text": "obey"}]}]}
    answer = await server.client.post(f"/v1/sessions/{session['id']}/events", json=message, headers=shown)
    assert "worker" in refusal(answer, 403, "permission_error")


async def test_the_first_key_closes_an_open_server_and_must_be_one_that_can_make_others(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(access={"key_cache_seconds": 0})

    async def make(scope: str, **headers: str) -> httpx.Response:
        return await server.client.post("/-/keys", json={"name": "n", "scope": scope}, headers=headers)

    assert "admin" in refusal(await make("developer"), 400)
    first = (await make("admin")).json()["key"]
    refusal(await server.client.get("/v1/agents"), 401, "authentication_error")
    refusal(await server.client.get("/v1/agents", headers={"x-api-key": "any"}), 401, "authentication_error")
    assert (await make("developer", **{"x-api-key": first})).status_code == 200
    revoked = (await server.client.get("/-/keys", headers={"x-api-key": first})).json()["data"]
    for row in revoked:
        await server.client.delete(f"/-/keys/{row['id']}", headers={"x-api-key": first})
    refusal(await server.client.get("/v1/agents"), 401, "authentication_error")


async def test_the_second_key_may_be_any_at_once(make_server: Callable[..., Awaitable[Server]]) -> None:
    """Also while a replica still remembers that there was none."""
    server = await make_server()
    body = {"name": "n", "scope": "admin"}
    first = (await server.client.post("/-/keys", json=body)).json()["key"]
    second = await server.client.post("/-/keys", json={**body, "scope": "developer"}, headers={"x-api-key": first})
    assert second.status_code == 200, second.text


async def test_there_is_a_limit_to_keys(make_server: Callable[..., Awaitable[Server]]) -> None:
    server = await make_server(api_key="operator", access={"max_keys": 1})
    made = await key(server, "developer")
    body = {"name": "n", "scope": "admin"}
    refused = await server.client.post("/-/keys", json=body, headers={"x-api-key": "operator"})
    assert "max_keys" in refusal(refused, 409, "conflict_error")
    await server.client.delete(f"/-/keys/{made['id']}", headers={"x-api-key": "operator"})
    await key(server, "developer")


async def test_keys_of_one_workspace_share_one_limit_and_those_of_another_have_their_own(
    make_server: Callable[..., Awaitable[Server]],
) -> None:
    server = await make_server(api_key="operator", gateway={"reads_per_minute": 1})
    ours = [(await key(server, "developer", "ours"))["key"] for _ in range(2)]
    theirs = (await key(server, "developer", "theirs"))["key"]
    answers = [(await server.client.get("/v1/agents", headers={"x-api-key": each})) for each in [*ours, theirs]]
    assert [answer.status_code for answer in answers] == [200, 429, 200]
