"""Several API keys: each has a name that stays inside (ours)."""

from __future__ import annotations

from typing import Any

import pytest
from api_fakes import Server, refusal

from agents.ids import SessionId

KEYS = {"api_key": "k0", "api_keys": {"team-a": "k1", "team-b": "k2"}}


@pytest.fixture
async def server(make_server: Any) -> Server:
    return await make_server(**KEYS)


@pytest.mark.parametrize("key", ["k0", "k1", "k2"])
async def test_every_configured_key_opens_the_door(server: Server, key: str) -> None:
    assert (await server.client.get("/v1/agents", headers={"x-api-key": key})).status_code == 200
    assert (await server.client.get("/v1/agents", headers={"authorization": f"Bearer {key}"})).status_code == 200


@pytest.mark.parametrize("key", ["k3", "k", "", "team-a", "default"])
async def test_no_other_key_does_and_no_name_of_one(server: Server, key: str) -> None:
    refusal(await server.client.get("/v1/agents", headers={"x-api-key": key}), 401, "authentication_error")


async def test_keys_alone_suffice(make_server: Any) -> None:
    server = await make_server(api_keys={"a": "k1"})
    refusal(await server.client.get("/v1/agents"), 401, "authentication_error")
    assert (await server.client.get("/v1/agents", headers={"x-api-key": "k1"})).status_code == 200


@pytest.mark.parametrize(("key", "principal"), [("k0", "default"), ("k2", "team-b")])
async def test_a_session_remembers_whose_it_is_and_tells_no_one(server: Server, key: str, principal: str) -> None:
    server.client.headers["x-api-key"] = key
    session = await server.session()
    record = await server.store.sessions.get(SessionId(session["id"]))
    assert record.principal == principal
    assert "principal" not in session and principal not in str(session.values())


async def test_without_keys_sessions_are_nobodys(make_server: Any) -> None:
    server = await make_server()
    session = await server.session()
    assert (await server.store.sessions.get(SessionId(session["id"]))).principal == ""


async def test_all_keys_share_one_workspace(server: Server) -> None:
    server.client.headers["x-api-key"] = "k1"
    session = await server.session()
    answer = await server.client.get(f"/v1/sessions/{session['id']}", headers={"x-api-key": "k2"})
    assert answer.status_code == 200
