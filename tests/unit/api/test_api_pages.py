"""Web pages at a server without keys: none gets in, by whatever name, and who is no page is not disturbed.

Bug class this catches: a page that the operator happens to look at adds a hand, which is code, to the server on the
same machine, or reads its sessions under a name that it has given this machine's address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from api_fakes import Server

HERE = "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        (HERE, None),
        (HERE, f"http://{HERE}"),
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("hecaton.localhost", None),
        ("[::1]:8000", "http://[::1]:8000"),
        ("192.168.7.7:8000", None),
        ("hecaton:8000", None),
    ],
)
async def test_who_is_no_page_is_let_in(server: Server, host: str, origin: str | None) -> None:
    headers = {"host": host} | ({"origin": origin} if origin else {})
    assert (await server.client.get("/v1/agents", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("evil.example", None),
        ("evil.example:8000", "http://evil.example:8000"),
        ("localhost.evil.example:8000", None),
        ("127.0.0.1.evil.example:8000", None),
        ("127.0.0.1:8000.evil.example", None),
        ("127.0.0.1@evil.example", None),
        ("[::1].evil.example", None),
        ("evil.localhost.", None),
        (HERE, "https://evil.example"),
        (HERE, "http://127.0.0.1:9000"),
        (HERE, "http://localhost:8000"),
        (HERE, "null"),
        (HERE, "file://"),
        (HERE, "http://[bad"),
    ],
)
async def test_a_page_adds_no_hand_and_reads_nothing(server: Server, host: str, origin: str | None) -> None:
    headers = {"host": host, "content-type": "text/plain"} | ({"origin": origin} if origin else {})
    for method, path in (
        ("POST", "/-/hands"),
        ("GET", "/v1/sessions"),
        ("POST", "/hands/crm/mcp"),
        ("GET", "/-/usage"),
    ):
        answer = await server.client.request(method, path, content=b"{}", headers=headers)
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error"), path
    assert (await server.client.get("/-/healthz", headers=headers)).status_code == 200


async def test_with_keys_a_server_goes_by_any_name(make_server: Callable[..., Any]) -> None:
    server = await make_server(api_key="k")
    headers = {"host": "agents.example.com", "origin": "https://app.example.com"}
    assert (await server.client.get("/v1/agents", headers=headers)).status_code == 401
    assert (await server.client.get("/v1/agents", headers={**headers, "x-api-key": "k"})).status_code == 200
