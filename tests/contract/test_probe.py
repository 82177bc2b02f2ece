"""``mcp_oauth_validate`` against real MCP servers and a real token endpoint: every verdict, and what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents.errors import InvalidRequest
from agents.net.guard import Guard
from agents.ports import free_port
from agents.vaults.probe import Prober, Validation
from agents.vaults.records import CredentialRecord
from tests.mcp_servers import Kind, live_mcp
from tests.unit.vaults.stage import LOOPBACK, Stage, stage
from tests.unit.vaults.token_server import TokenServer, as_json, token_server


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    with token_server() as serving:
        yield serving


async def validated(on: Stage, record: CredentialRecord, guard: Guard = LOOPBACK, seconds: float = 5) -> Validation:
    return await Prober(guard, on.envelope, on.renewals, seconds=seconds).validate(await on.read(record))


async def oauth(on: Stage, url: str, token: str = "access-0", **more: Any) -> CredentialRecord:
    return await on.put(await on.vault(), type="mcp_oauth", mcp_server_url=url, access_token=token, **more)


@pytest.mark.parametrize("kind", ["new", "json", "handshake", "sse"])
async def test_a_token_that_the_server_takes_is_valid(kind: Kind) -> None:
    on = stage()
    async with live_mcp(kind) as live:
        live.token = "access-0"
        assert await validated(on, await oauth(on, live.url)) == Validation("valid", False)


@pytest.mark.parametrize("kind", ["new", "sse"])
async def test_a_token_that_it_refuses_is_invalid(kind: Kind) -> None:
    on = stage()
    async with live_mcp(kind) as live:
        live.token = "another"
        found = await validated(on, await oauth(on, live.url))
    assert (found.status, found.refresh) == ("invalid", {"status": "no_refresh_token", "http_response": None})
    assert found.failed is not None and found.failed.method == "initialize"
    assert found.failed.answer is not None and found.failed.answer.status_code == 401
    assert (found.failed.answer.body, found.failed.answer.body_truncated) == ("no", False)


async def test_a_refused_token_is_renewed_kept_and_tried_again(tokens: TokenServer) -> None:
    on = stage()
    async with live_mcp() as live:
        live.token = "access-1"
        record = await on.oauth(await on.vault(), tokens.url, mcp_server_url=live.url)
        found = await validated(on, record)
        assert found == Validation("valid", True, None, {"status": "succeeded", "http_response": None})
        assert await on.secrets(record) == {"access_token": "access-1", "refresh_token": "refresh-1"}
        assert await validated(on, record) == Validation("valid", True)
        live.token = "never"
        again = await validated(on, record)  # a fresh token that is refused is not renewed again
    assert (again.status, again.refresh, len(tokens.asked)) == ("invalid", None, 1)


@pytest.mark.parametrize(
    ("answer", "verdict", "shown"),
    [
        (as_json(400, {"error": "invalid_grant", "echo": "refresh-0"}), "invalid", '{"error": "invalid_grant"'),
        ((500, b"x" * 5000, "text/plain"), "unknown", "x" * 2048),
    ],
)
async def test_a_failing_renewal_shows_what_the_endpoint_said_less_the_secrets(
    tokens: TokenServer, answer: tuple[int, bytes, str], verdict: str, shown: str
) -> None:
    on = stage()
    async with live_mcp() as live:
        live.token = "never"
        record = await on.oauth(await on.vault(), tokens.url, mcp_server_url=live.url)
        tokens.answers = [answer]
        found = await validated(on, record)
        again = await validated(on, record)
    assert found.refresh is not None and found.status == verdict
    told = found.refresh["http_response"]
    assert (found.refresh["status"], told["status_code"], told["content_type"]) == ("failed", answer[0], answer[2])
    assert told["body"].startswith(shown) and "refresh-0" not in told["body"]
    assert told["body_truncated"] == (verdict == "unknown")
    # Asked again at once the endpoint is spared.
    assert (again.status, again.refresh, len(tokens.asked)) == (verdict, {"status": "failed", "http_response": None}, 1)


async def test_an_endpoint_that_is_away_and_a_server_that_is_away_are_unknown() -> None:
    on, away = stage(), f"http://127.0.0.1:{free_port()}/x"
    found = await validated(on, await oauth(on, away))
    assert (found.status, found.refresh) == ("unknown", None)
    assert found.failed is not None and (found.failed.method, found.failed.answer) == ("initialize", None)
    async with live_mcp() as live:
        live.token = "never"
        record = await on.oauth(await on.vault(), away, mcp_server_url=live.url)
        found = await validated(on, record)
    assert (found.status, found.refresh) == ("unknown", {"status": "connect_error", "http_response": None})


async def test_a_server_in_the_operators_network_is_not_connected_to() -> None:
    on = stage()
    async with live_mcp() as live:
        found = await validated(on, await oauth(on, live.url), Guard())
        assert (found.status, live.connections) == ("unknown", 0)


async def test_a_server_that_does_not_answer_in_time_is_unknown(tokens: TokenServer) -> None:
    on = stage()
    tokens.gate.clear()
    found = await validated(on, await oauth(on, tokens.url), seconds=0.1)
    assert found.status == "unknown" and found.failed is not None and found.failed.answer is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((403, b"no", "text/plain"), "invalid"),
        ((500, b"access-0 is bad", "text/plain"), "unknown"),
        ((200, b"no json", "application/json"), "unknown"),
        (as_json(200, {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}), "unknown"),
        ((200, b"data: {}\n\n" * 9, "text/event-stream"), "unknown"),
        ((302, b"", "text/plain"), "unknown"),
    ],
)
async def test_what_is_no_mcp_server_gets_a_verdict_too(
    tokens: TokenServer, answer: tuple[int, bytes, str], verdict: str
) -> None:
    on = stage()
    tokens.answers = [answer]
    found = await validated(on, await oauth(on, tokens.url))
    assert found.status == verdict and found.failed is not None
    assert found.failed.answer is None or "access-0" not in found.failed.answer.body


async def test_only_active_oauth_credentials_are_validated() -> None:
    on = stage()
    vault = await on.vault()
    static = await on.put(vault, type="static_bearer", mcp_server_url="https://h.example.com", token="t")
    with pytest.raises(InvalidRequest, match="static_bearer"):
        await validated(on, static)
    record = await oauth(on, "https://mcp.example.com")
    await on.store.vaults.archive(record.vault_id, on.clock.now())
    with pytest.raises(InvalidRequest, match="archived"):
        await validated(on, record)
