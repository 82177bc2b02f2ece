"""``/v1/vaults`` and their credentials (spec A.8): what is refused, what is shown, whose it is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types.beta import BetaManagedAgentsVault
from anthropic.types.beta.vaults import BetaManagedAgentsCredential
from api_fakes import Server, refusal

Json = dict[str, Any]

URL = "https://mcp.example.com/mcp"
FUTURE = "2999-01-01T00:00:00.000000Z"
STATIC: Json = {"type": "static_bearer", "mcp_server_url": URL, "token": "canary-static"}
REFRESH: Json = {
    "client_id": "client",
    "refresh_token": "canary-refresh",
    "token_endpoint": "https://auth.example.com/token",
    "token_endpoint_auth": {"type": "client_secret_post", "client_secret": "canary-client"},
    "scope": "read",
    "resource": URL,
}
OAUTH: Json = {
    "type": "mcp_oauth",
    "mcp_server_url": URL,
    "access_token": "canary-access",
    "expires_at": FUTURE,
    "refresh": REFRESH,
}
VARIABLE: Json = {
    "type": "environment_variable",
    "secret_name": "API_TOKEN",
    "secret_value": "canary-variable",
    "networking": {"type": "limited", "allowed_hosts": ["api.example.com", "*.example.org", "192.0.2.1"]},
    "injection_location": {"header": True, "body": True},
}


async def new_vault(server: Server, **fields: Any) -> str:
    answer = await server.client.post("/v1/vaults", json={"display_name": "Alice", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def put(server: Server, vault: str, auth: Json, **fields: Any) -> Json:
    answer = await server.client.post(f"/v1/vaults/{vault}/credentials", json={"auth": auth, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_vault_reads_back_changes_and_keeps(server: Server) -> None:
    path = f"/v1/vaults/{await new_vault(server, metadata={'a': '1', 'b': '2'})}"
    made = (await server.client.get(path)).json()
    BetaManagedAgentsVault.model_validate(made)
    assert (made["type"], made["display_name"], made["archived_at"]) == ("vault", "Alice", None)
    changed = (await server.client.post(path, json={"metadata": {"a": None, "c": "3"}})).json()
    assert (changed["display_name"], changed["metadata"]) == ("Alice", {"b": "2", "c": "3"})
    assert (await server.client.post(path, json={"display_name": None})).json() == changed
    renamed = (await server.client.post(path, json={"display_name": "Bob", "metadata": None})).json()
    assert (renamed["display_name"], renamed["metadata"]) == ("Bob", {})
    assert (await server.client.delete(path)).json() == {"id": made["id"], "type": "vault_deleted"}
    refusal(await server.client.get(path), 404, "not_found_error")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "display_name"),
        ({"display_name": ""}, "display_name"),
        ({"display_name": "x" * 256}, "display_name"),
        ({"display_name": None}, "display_name"),
        ({"display_name": "a", "metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"display_name": "a", "name": "b"}, "name"),
    ],
)
async def test_a_bad_vault_is_refused_by_name(server: Server, body: Json, named: str) -> None:
    assert refusal(await server.client.post("/v1/vaults", json=body), 400).startswith(named)


async def test_a_credential_shows_everything_but_its_secrets(server: Server) -> None:
    vault = await new_vault(server)
    oauth = await put(server, vault, OAUTH, display_name="n", metadata={"k": "v"})
    variable = await put(server, vault, VARIABLE)
    static = await put(server, vault, STATIC | {"mcp_server_url": "HTTPS://Other.example.com/"})
    shown_refresh = {**REFRESH, "token_endpoint_auth": {"type": "client_secret_post"}}
    del shown_refresh["refresh_token"]
    assert oauth["auth"] == {"type": "mcp_oauth", "mcp_server_url": URL, "expires_at": FUTURE, "refresh": shown_refresh}
    assert variable["auth"] == {key: value for key, value in VARIABLE.items() if key != "secret_value"}
    assert static["auth"] == {"type": "static_bearer", "mcp_server_url": "HTTPS://Other.example.com/"}
    assert (oauth["display_name"], oauth["metadata"], oauth["vault_id"]) == ("n", {"k": "v"}, vault)
    path = f"/v1/vaults/{vault}/credentials"
    listed = await server.client.get(path)
    assert listed.json()["data"] == [static, variable, oauth]
    for made in (oauth, variable, static):
        BetaManagedAgentsCredential.model_validate(made)
        assert (await server.client.get(f"{path}/{made['id']}")).json() == made
    assert b"canary" not in listed.content + orjson.dumps([oauth, variable, static])


async def test_what_may_be_left_out_has_its_defaults(server: Server) -> None:
    vault = await new_vault(server)
    bare = {key: OAUTH[key] for key in ("type", "mcp_server_url", "access_token")}
    assert (await put(server, vault, bare))["auth"] == {
        "type": "mcp_oauth",
        "mcp_server_url": URL,
        "expires_at": None,
        "refresh": None,
    }
    everywhere = {**VARIABLE, "networking": {"type": "unrestricted"}}
    del everywhere["injection_location"]
    assert (await put(server, vault, everywhere))["auth"]["injection_location"] == {"header": True, "body": False}


def oauth_with(**refresh: Any) -> Json:
    return {**OAUTH, "refresh": {**REFRESH, **refresh}}


def hosts(*names: str) -> Json:
    return {**VARIABLE, "networking": {"type": "limited", "allowed_hosts": list(names)}}


@pytest.mark.parametrize(
    ("auth", "named"),
    [
        ({}, "auth.type"),
        ({"type": "basic"}, "auth.type"),
        ({**STATIC, "token": ""}, "auth.token"),
        ({**STATIC, "token": None}, "auth.token"),
        ({**STATIC, "token": "canary with space"}, "auth.token"),
        ({**STATIC, "token": "canary\r\nx-admin: 1"}, "auth.token"),
        ({**STATIC, "token": "canary-é"}, "auth.token"),
        ({**STATIC, "token": "canary" * 6000}, "auth.token"),
        ({**STATIC, "mcp_server_url": "mcp.example.com"}, "auth.mcp_server_url"),
        ({**STATIC, "mcp_server_url": "ftp://mcp.example.com"}, "auth.mcp_server_url"),
        ({**STATIC, "mcp_server_url": "hand://crm"}, "auth.mcp_server_url"),
        ({**STATIC, "mcp_server_url": "https://user:pw@mcp.example.com"}, "auth.mcp_server_url"),
        ({**STATIC, "mcp_server_url": "https://" + "x" * 2048}, "auth.mcp_server_url"),
        ({**STATIC, "secret": "canary"}, "auth.secret"),
        ({**OAUTH, "access_token": "canary\n"}, "auth.access_token"),
        ({**OAUTH, "expires_at": "soon"}, "auth.expires_at"),
        ({**OAUTH, "expires_at": "2020-01-01T00:00:00Z"}, "auth.expires_at"),
        (oauth_with(token_endpoint="auth.example.com"), "auth.refresh.token_endpoint"),
        (oauth_with(refresh_token=""), "auth.refresh.refresh_token"),
        (oauth_with(client_id=""), "auth.refresh.client_id"),
        (oauth_with(scope="x" * 2049), "auth.refresh.scope"),
        (oauth_with(token_endpoint_auth={"type": "none", "client_secret": "canary"}), "auth.refresh.token_endpoint_a"),
        (oauth_with(token_endpoint_auth={"type": "client_secret_basic"}), "auth.refresh.token_endpoint_auth.client_s"),
        (oauth_with(token_endpoint_auth={"type": "private_key_jwt"}), "auth.refresh.token_endpoint_auth.type"),
        ({**VARIABLE, "secret_name": ""}, "auth.secret_name"),
        ({**VARIABLE, "secret_name": "1A"}, "auth.secret_name"),
        ({**VARIABLE, "secret_name": "A B"}, "auth.secret_name"),
        ({**VARIABLE, "secret_name": "PATH"}, "auth.secret_name"),
        ({**VARIABLE, "secret_name": "LD_PRELOAD"}, "auth.secret_name"),
        ({**VARIABLE, "secret_name": "https_proxy"}, "auth.secret_name"),
        ({**VARIABLE, "secret_value": ""}, "auth.secret_value"),
        ({**VARIABLE, "secret_value": "canary\nx"}, "auth.secret_value"),
        ({**VARIABLE, "injection_location": {"header": False, "body": False}}, "auth.injection_location"),
        (hosts(), "auth.networking.allowed_hosts"),
        (hosts(*(f"h{n}.example.com" for n in range(17))), "auth.networking.allowed_hosts"),
        (hosts("api.example.com", "https://x"), "auth.networking.allowed_hosts[1]"),
        (hosts("api.example.com:443"), "auth.networking.allowed_hosts[0]"),
        (hosts("2001:db8::1"), "auth.networking.allowed_hosts[0]"),
        (hosts("a.example.com/x"), "auth.networking.allowed_hosts[0]"),
    ],
)
async def test_a_bad_credential_is_refused_by_name_and_no_secret_is_echoed(
    server: Server, auth: Json, named: str
) -> None:
    vault = await new_vault(server)
    answer = await server.client.post(f"/v1/vaults/{vault}/credentials", json={"auth": auth})
    assert refusal(answer, 400).startswith(named)
    assert "canary" not in answer.text
    assert (await server.client.get(f"/v1/vaults/{vault}/credentials")).json()["data"] == []


async def test_a_key_is_taken_once_and_free_after_archiving(server: Server) -> None:
    vault = await new_vault(server)
    path = f"/v1/vaults/{vault}/credentials"
    first = await put(server, vault, STATIC)
    for again in (STATIC, OAUTH, {**STATIC, "mcp_server_url": "HTTPS://MCP.example.com:443/mcp/"}):
        answer = await server.client.post(path, json={"auth": again})
        assert refusal(answer, 409, "conflict_error").startswith("auth.mcp_server_url")
        assert answer.headers["x-should-retry"] == "false"
    archived = (await server.client.post(f"{path}/{first['id']}/archive")).json()
    assert archived["archived_at"] and archived["auth"] == first["auth"]
    assert (await server.client.post(f"{path}/{first['id']}/archive")).json() == archived
    second = await put(server, vault, STATIC)
    answer = await server.client.post(f"{path}/{first['id']}", json={"display_name": "x"})
    refusal(answer, 400)
    assert answer.json()["error"]["details"]["error_code"] == "vault_credential_archived"
    listed = (await server.client.get(path)).json()["data"]
    assert listed == [second]
    every = (await server.client.get(f"{path}?include_archived=true&limit=1")).json()
    rest = (await server.client.get(path, params={"include_archived": "true", "page": every["next_page"]})).json()
    assert [each["id"] for each in (*every["data"], *rest["data"])] == [second["id"], first["id"]]


async def test_a_vault_takes_twenty_credentials(server: Server) -> None:
    vault = await new_vault(server)
    for number in range(20):
        await put(server, vault, {**VARIABLE, "secret_name": f"V{number}"})
    answer = await server.client.post(f"/v1/vaults/{vault}/credentials", json={"auth": STATIC})
    assert "20 credentials" in refusal(answer, 400)


async def test_a_change_of_auth_keeps_what_it_omits(server: Server) -> None:
    vault = await new_vault(server)
    oauth, variable = await put(server, vault, OAUTH), await put(server, vault, VARIABLE)
    path = f"/v1/vaults/{vault}/credentials"

    async def change(made: Json, **auth: Any) -> Json:
        body = {"auth": {"type": made["auth"]["type"], **auth}}
        answer = await server.client.post(f"{path}/{made['id']}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["auth"]

    assert await change(oauth) == oauth["auth"]
    assert await change(oauth, access_token="canary-2", refresh={"refresh_token": "canary-3"}) == oauth["auth"]
    assert await change(oauth, access_token=None, refresh=None) == oauth["auth"]
    scoped = await change(oauth, refresh={"scope": ""})
    assert scoped["refresh"] == {**oauth["auth"]["refresh"], "scope": None}
    # The kind of client authentication stays, whichever is named beside the new secret.
    secret = {"token_endpoint_auth": {"type": "client_secret_basic", "client_secret": "canary-4"}}
    assert await change(oauth, refresh=secret) == scoped
    assert (await change(oauth, expires_at=None))["expires_at"] is None
    body_only = await change(variable, injection_location={"header": False})
    assert body_only["injection_location"] == {"header": False, "body": True}
    opened = await change(variable, networking={"type": "unrestricted"}, secret_value="canary\nof lines")
    assert opened == {**body_only, "networking": {"type": "unrestricted"}}
    assert await change(variable, networking=None, secret_value=None) == opened


@pytest.mark.parametrize(
    ("auth", "change", "named"),
    [
        (STATIC, {"type": "mcp_oauth"}, "auth.type"),
        (STATIC, {"type": "static_bearer", "mcp_server_url": "https://x.example.com"}, "auth.mcp_server_url"),
        (VARIABLE, {"type": "environment_variable", "secret_name": "B"}, "auth.secret_name"),
        (
            VARIABLE,
            {"type": "environment_variable", "injection_location": {"header": False, "body": False}},
            "auth.inj",
        ),
        (VARIABLE, {"type": "environment_variable", "secret_value": "canary\n"}, "auth.secret_value"),
        (OAUTH, {"type": "mcp_oauth", "expires_at": "2020-01-01T00:00:00Z"}, "auth.expires_at"),
        (OAUTH, {"type": "mcp_oauth", "refresh": {"client_id": "other"}}, "auth.refresh.client_id"),
        ({**OAUTH, "refresh": None}, {"type": "mcp_oauth", "refresh": {"scope": "x"}}, "auth.refresh"),
        (
            oauth_with(token_endpoint_auth={"type": "none"}),
            {
                "type": "mcp_oauth",
                "refresh": {"token_endpoint_auth": {"type": "client_secret_post", "client_secret": "canary"}},
            },
            "auth.refresh.token_endpoint_auth",
        ),
    ],
)
async def test_a_bad_change_of_auth_is_refused_and_changes_nothing(
    server: Server, auth: Json, change: Json, named: str
) -> None:
    vault = await new_vault(server)
    made = await put(server, vault, auth)
    path = f"/v1/vaults/{vault}/credentials/{made['id']}"
    answer = await server.client.post(path, json={"auth": change, "display_name": "n"})
    assert refusal(answer, 400).startswith(named)
    assert "canary" not in answer.text
    assert (await server.client.get(path)).json() == made


async def test_archiving_and_deleting_a_vault_takes_its_credentials_along(server: Server) -> None:
    kept, gone = await new_vault(server), await new_vault(server)
    for vault in (kept, gone):
        await put(server, vault, STATIC)
    archived = (await server.client.post(f"/v1/vaults/{kept}/archive")).json()
    assert archived["archived_at"] and (await server.client.post(f"/v1/vaults/{kept}/archive")).json() == archived
    (credential,) = (await server.client.get(f"/v1/vaults/{kept}/credentials?include_archived=true")).json()["data"]
    assert credential["archived_at"] == archived["archived_at"]
    for call in (
        server.client.post(f"/v1/vaults/{kept}", json={"display_name": "x"}),
        server.client.post(f"/v1/vaults/{kept}/credentials", json={"auth": STATIC}),
    ):
        answer = await call
        refusal(answer, 400)
        assert answer.json()["error"]["details"]["error_code"] == "vault_archived"
    await server.client.delete(f"/v1/vaults/{gone}")
    refusal(await server.client.get(f"/v1/vaults/{gone}/credentials"), 404, "not_found_error")
    assert (await server.client.get("/v1/vaults")).json()["data"] == []
    assert [each["id"] for each in (await server.client.get("/v1/vaults?include_archived=true")).json()["data"]] == [
        kept
    ]


async def test_a_session_names_its_vaults(server: Server) -> None:
    vaults = [await new_vault(server) for _ in range(2)]
    made = await server.session(vault_ids=vaults)
    assert made["vault_ids"] == vaults
    assert (await server.client.get(f"/v1/sessions/{made['id']}")).json()["vault_ids"] == vaults
    body = {"agent": made["agent"]["id"], "environment_id": made["environment_id"]}
    post = server.client.post
    unknown = await post("/v1/sessions", json={**body, "vault_ids": [vaults[0], "vlt_none"]})
    assert "vlt_none" in refusal(unknown, 404, "not_found_error")
    assert "twice" in refusal(await post("/v1/sessions", json={**body, "vault_ids": [vaults[0]] * 2}), 400)
    many = await post("/v1/sessions", json={**body, "vault_ids": [f"vlt_{n}" for n in range(51)]})
    assert "at most 50" in refusal(many, 400)
    await server.client.post(f"/v1/vaults/{vaults[1]}/archive")
    archived = await post("/v1/sessions", json={**body, "vault_ids": vaults})
    refusal(archived, 400)
    assert archived.json()["error"]["details"]["error_code"] == "vault_archived"
    # A session that is there keeps the ids; it just finds nothing in them.
    assert (await server.client.get(f"/v1/sessions/{made['id']}")).json()["vault_ids"] == vaults


async def test_without_a_master_key_on_a_shared_database_secrets_are_refused(make_server: Any) -> None:
    server = await make_server(database_url="postgresql+asyncpg://nobody@127.0.0.1/x")
    vault = await new_vault(server)
    answer = await server.client.post(f"/v1/vaults/{vault}/credentials", json={"auth": STATIC})
    assert "vaults.master_key" in refusal(answer, 400)
    assert answer.json()["error"]["details"]["error_code"] == "not_available"
