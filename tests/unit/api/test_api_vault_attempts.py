"""Attempts at somebody else's vault, each by its name: all are refused as if it was not there, and change nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from api_fakes import Server

from agents.listing import Listing

STATIC = {"type": "static_bearer", "mcp_server_url": "https://mcp.example.com", "token": "canary-ann"}
OAUTH = {"type": "mcp_oauth", "mcp_server_url": "https://oauth.example.com", "access_token": "canary-ann"}


@dataclass
class Stage:
    """Ann's vault with two credentials, her archived one, and Bob, who has a vault with a credential of his own."""

    server: Server
    vault: str
    credential: str
    oauth: str
    archived: str
    bobs: str
    bobs_credential: str
    agent: str
    environment: str

    async def bob(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.server.client.request(method, path, json=body, headers={"x-api-key": "k-bob"})


Attempt = Callable[[Stage], Awaitable[httpx.Response]]


def on(method: str, path: str, body: Any = None) -> Attempt:
    """One request of Bob's; the path's braces are fields of the stage."""
    return lambda stage: stage.bob(method, path.format(**vars(stage)), body)


def session_with(*vaults: str) -> Attempt:
    def attempt(stage: Stage) -> Awaitable[httpx.Response]:
        ids = [each.format(**vars(stage)) for each in vaults]
        body = {"agent": stage.agent, "environment_id": stage.environment, "vault_ids": ids}
        return stage.bob("POST", "/v1/sessions", body)

    return attempt


HERS, MINE = "/v1/vaults/{vault}", "/v1/vaults/{bobs}"
ATTEMPTS: dict[str, Attempt] = {
    "read her vault": on("GET", HERS),
    "rename her vault": on("POST", HERS, {"display_name": "Bob's"}),
    "mark her vault": on("POST", HERS, {"metadata": {"owner": "bob"}}),
    "archive her vault": on("POST", HERS + "/archive"),
    "delete her vault": on("DELETE", HERS),
    "read her archived vault": on("GET", "/v1/vaults/{archived}"),
    "delete her archived vault": on("DELETE", "/v1/vaults/{archived}"),
    "list her credentials": on("GET", HERS + "/credentials"),
    "list her credentials, archived too": on("GET", HERS + "/credentials?include_archived=true"),
    "put a credential into her vault": on(
        "POST", HERS + "/credentials", {"auth": {**STATIC, "mcp_server_url": "https://evil.example.com"}}
    ),
    "learn by a conflict which URLs she has": on("POST", HERS + "/credentials", {"auth": STATIC}),
    "read her credential": on("GET", HERS + "/credentials/{credential}"),
    "rename her credential": on("POST", HERS + "/credentials/{credential}", {"display_name": "x"}),
    "replace her token": on(
        "POST", HERS + "/credentials/{credential}", {"auth": {"type": "static_bearer", "token": "bobs"}}
    ),
    "archive her credential": on("POST", HERS + "/credentials/{credential}/archive"),
    "delete her credential": on("DELETE", HERS + "/credentials/{credential}"),
    "have her credential tried": on("POST", HERS + "/credentials/{oauth}/mcp_oauth_validate"),
    "read her credential in my vault": on("GET", MINE + "/credentials/{credential}"),
    "replace her token in my vault": on(
        "POST", MINE + "/credentials/{credential}", {"auth": {"type": "static_bearer", "token": "bobs"}}
    ),
    "archive her credential in my vault": on("POST", MINE + "/credentials/{credential}/archive"),
    "delete her credential in my vault": on("DELETE", MINE + "/credentials/{credential}"),
    "have her credential tried in my vault": on("POST", MINE + "/credentials/{oauth}/mcp_oauth_validate"),
    "reach my credential through her vault": on("GET", HERS + "/credentials/{bobs_credential}"),
    "a credential's id as a vault": on("GET", "/v1/vaults/{credential}"),
    "a vault's id as a credential": on("GET", MINE + "/credentials/{vault}"),
    "her vault's id with other letters": on("GET", "/v1/vaults/{vault}%20"),
    "a path out of my vault": on("GET", "/v1/vaults/{bobs}%2f..%2f{vault}"),
    "a pattern for her vault": on("GET", "/v1/vaults/vlt_%25"),
    "name her vault in a session": session_with("{vault}"),
    "name it behind my own": session_with("{bobs}", "{vault}"),
    "name her archived vault in a session": session_with("{archived}"),
    "name her credential in a session": session_with("{credential}"),
}


@pytest.fixture
async def stage(make_server: Any) -> Stage:
    server: Server = await make_server(api_keys={"ann": "k-ann", "bob": "k-bob"})

    async def make(key: str, path: str, body: Any) -> str:
        answer = await server.client.post(path, json=body, headers={"x-api-key": key})
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    vault = await make("k-ann", "/v1/vaults", {"display_name": "Ann"})
    archived = await make("k-ann", "/v1/vaults", {"display_name": "Ann's old one"})
    bobs = await make("k-bob", "/v1/vaults", {"display_name": "Bob"})
    made = Stage(
        server=server,
        vault=vault,
        credential=await make("k-ann", f"/v1/vaults/{vault}/credentials", {"auth": STATIC}),
        oauth=await make("k-ann", f"/v1/vaults/{vault}/credentials", {"auth": OAUTH}),
        archived=archived,
        bobs=bobs,
        bobs_credential=await make("k-bob", f"/v1/vaults/{bobs}/credentials", {"auth": STATIC}),
        agent=await make("k-ann", "/v1/agents", {"model": "claude-opus-5-5", "name": "a"}),
        environment=await make("k-ann", "/v1/environments", {"name": "e"}),
    )
    await make("k-ann", f"/v1/vaults/{archived}/archive", None)
    return made


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_what_is_somebody_elses_is_not_there(stage: Stage, name: str) -> None:
    vaults = stage.server.store.vaults

    async def everything() -> Any:
        listing = Listing(include_archived=True)
        listed = await vaults.list(listing, "")
        return listed, [await vaults.list_credentials(vault.id, listing) for vault in listed]

    before = await everything()
    answer = await ATTEMPTS[name](stage)
    assert answer.status_code == 404, answer.text
    assert "canary" not in answer.text and "Ann" not in answer.text and "mcp.example.com" not in answer.text
    assert await everything() == before
    assert (await stage.bob("GET", "/v1/sessions")).json()["data"] == []


async def test_a_listing_shows_ones_own_vaults(stage: Stage) -> None:
    listed = (await stage.bob("GET", "/v1/vaults?include_archived=true")).json()["data"]
    assert [each["id"] for each in listed] == [stage.bobs]
    page = await stage.server.client.get("/v1/vaults?limit=1&include_archived=true", headers={"x-api-key": "k-ann"})
    cursor = page.json()["next_page"]
    assert cursor and page.json()["data"][0]["id"] == stage.archived
    theirs = await stage.bob("GET", f"/v1/vaults?include_archived=true&page={cursor}")
    assert theirs.json()["data"] == []


async def test_vaults_made_without_keys_are_everyones(make_server: Any) -> None:
    open_server: Server = await make_server()
    made = (await open_server.client.post("/v1/vaults", json={"display_name": "early"})).json()
    keyed: Server = await make_server(api_keys={"ann": "k-ann"})
    await keyed.store.vaults.insert(await open_server.store.vaults.get(made["id"]))
    got = await keyed.client.get(f"/v1/vaults/{made['id']}", headers={"x-api-key": "k-ann"})
    assert got.json() == made
