"""Which credential a session uses, and the renewal of OAuth tokens at a real token endpoint."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from agents.clock import ManualClock
from agents.errors import Unavailable
from agents.net.guard import Guard
from agents.vaults import renewal
from tests.unit.vaults.stage import MCP, Stage, bearer, stage
from tests.unit.vaults.token_server import TokenServer, as_json
from tests.unit.waiting import until


async def static(on: Stage, vault_id: str, url: str = MCP, token: str = "static") -> str:
    return (await on.put(vault_id, type="static_bearer", mcp_server_url=url, token=token)).id


# -- matching


async def test_the_first_vault_that_has_the_url_wins(clock: ManualClock) -> None:
    on = stage(clock=clock)
    first, second = await on.vault(), await on.vault()
    await static(on, second, token="of-second")
    assert bearer(await on.credentials.for_server([first, second], MCP)) == "Bearer of-second"
    await static(on, first, token="of-first")
    assert bearer(await on.credentials.for_server([first, second], MCP)) == "Bearer of-first"
    assert bearer(await on.credentials.for_server([second, first], MCP)) == "Bearer of-second"


@pytest.mark.parametrize(
    "url",
    ["HTTPS://MCP.Example.com:443/mcp", "https://mcp.example.com/mcp/", "https://mcp.example.com/mcp#here"],
)
async def test_urls_are_compared_normalised(clock: ManualClock, url: str) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await static(on, vault, url)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer static"
    assert bearer(await on.credentials.for_server([vault], url)) == "Bearer static"


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example.com/mcp",
        "https://mcp.example.com:8443/mcp",
        "https://mcp.example.com/MCP",
        "https://mcp.example.com/mcp/more",
        "https://mcp.example.com/mcp?tenant=2",
        "https://mcp.example.com.evil.example/mcp",
        "https://evil.example/https://mcp.example.com/mcp",
        "https://mcp.example.com@evil.example/mcp",
        "https://user@mcp.example.com/mcp",
        "https://mcp.example.com\\@evil.example/mcp",
        "https://mcp.example.com/mcp\n",
        "hand://mcp.example.com/mcp",
        "https://mcp.example.com:x/mcp",
        "https://[mcp/mcp",
        "",
    ],
)
async def test_another_url_gets_nothing(clock: ManualClock, url: str) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await static(on, vault)
    assert await on.credentials.for_server([vault], url) is None


async def test_what_is_archived_or_gone_is_not_used(clock: ManualClock) -> None:
    on = stage(clock=clock)
    vaults = [await on.vault() for _ in range(4)]
    held = [await static(on, vault, token=f"t{n}") for n, vault in enumerate(vaults)]
    await on.store.vaults.change_credential(vaults[0], held[0], lambda c: replace(c, archived_at=clock.now()))
    await on.store.vaults.archive(vaults[1], clock.now())
    await on.store.vaults.delete(vaults[2])
    assert bearer(await on.credentials.for_server(vaults, MCP)) == "Bearer t3"
    await on.store.vaults.delete_credential(vaults[3], held[3])
    assert await on.credentials.for_server(vaults, MCP) is None
    assert await on.credentials.for_server([], MCP) is None


async def test_a_refused_static_token_has_no_other_until_it_is_replaced(clock: ManualClock) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await static(on, vault)
    found = await on.credentials.for_server([vault], MCP)
    assert found is not None and await on.credentials.refused(found, [vault], MCP) is None
    await on.store.vaults.delete(vault)
    vault = await on.vault()
    await static(on, vault, token="other")
    assert bearer(await on.credentials.refused(found, [vault], MCP)) == "Bearer other"


async def test_variables_come_from_the_first_vault_that_has_the_name(clock: ManualClock) -> None:
    on = stage(clock=clock)
    first, second = await on.vault(), await on.vault()
    limited = {"type": "limited", "allowed_hosts": ["api.example.com", "*.example.org"]}
    variable = {"type": "environment_variable", "networking": {"type": "unrestricted"}}
    await on.put(first, **variable, secret_name="A", secret_value="1")
    await on.put(second, **variable, secret_name="A", secret_value="2")
    limits = {**variable, "networking": limited, "injection_location": {"header": False, "body": True}}
    await on.put(second, **limits, secret_name="B", secret_value="3")
    await static(on, second)
    found = await on.credentials.for_environment([first, second])
    shown = [(c.vault_id, c.secret_name, c.value.get_secret_value(), c.allowed_hosts) for c in found]
    assert shown == [(first, "A", "1", None), (second, "B", "3", ("api.example.com", "*.example.org"))]
    assert [(c.in_header, c.in_body) for c in found] == [(True, False), (False, True)]


# -- renewal


async def test_an_expired_token_is_renewed_and_the_rotated_refresh_token_kept(
    clock: ManualClock, tokens: TokenServer
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url, refresh={"scope": "a b", "resource": "https://mcp.example.com"})
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-1"
    assert tokens.asked == [
        {
            "grant_type": "refresh_token",
            "refresh_token": "refresh-0",
            "client_id": "client",
            "scope": "a b",
            "resource": "https://mcp.example.com",
        }
    ]
    assert await on.secrets(record) == {"access_token": "access-1", "refresh_token": "refresh-1"}
    assert (await on.read(record)).expires_at == clock.now() + timedelta(seconds=3600)
    # It is good until shortly before it expires; then the rotated token is spent.
    clock.advance(3600 - 31)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-1"
    clock.advance(2)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-2"
    assert len(tokens.asked) == 2


async def test_a_refresh_token_that_is_not_rotated_goes_on(clock: ManualClock, tokens: TokenServer) -> None:
    tokens.rotates, tokens.expires_in = False, "60"
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    for number in (1, 2):
        assert bearer(await on.credentials.for_server([vault], MCP)) == f"Bearer access-{number}"
        clock.advance(60)
    assert (await on.secrets(record))["refresh_token"] == "refresh-0"


@pytest.mark.parametrize(
    ("kind", "authorization", "in_form"),
    [
        ("client_secret_basic", f"Basic {base64.b64encode(b'client+1:s%2F+%26').decode()}", set[str]()),
        ("client_secret_post", None, {("client_id", "client 1"), ("client_secret", "s/ &")}),
        ("none", None, {("client_id", "client 1")}),
    ],
)
async def test_the_client_authenticates_as_it_is_said(
    clock: ManualClock, tokens: TokenServer, kind: str, authorization: str | None, in_form: set[tuple[str, str]]
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    secret = {} if kind == "none" else {"client_secret": "s/ &"}
    client = {"client_id": "client 1", "token_endpoint_auth": {"type": kind, **secret}}
    await on.oauth(vault, tokens.url, refresh=client)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-1"
    form = {item for item in tokens.asked[0].items() if item[0].startswith("client")}
    assert (tokens.headers[0].get("authorization"), form) == (authorization, in_form)


async def test_a_token_without_known_expiry_is_renewed_only_when_the_server_refuses_it(
    clock: ManualClock, tokens: TokenServer
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await on.oauth(vault, tokens.url, expires_in=None)
    tokens.expires_in = None
    found = await on.credentials.for_server([vault], MCP)
    assert found is not None and bearer(found) == "Bearer access-0" and tokens.asked == []
    renewed = await on.credentials.refused(found, [vault], MCP)
    assert renewed is not None and bearer(renewed) == "Bearer access-1"
    # Who comes later with the old token gets what is there, and nothing is spent.
    assert bearer(await on.credentials.refused(found, [vault], MCP)) == "Bearer access-1"
    # A token that is refused as soon as it is there is not renewed again and again.
    assert await on.credentials.refused(renewed, [vault], MCP) is None
    assert len(tokens.asked) == 1
    clock.advance(renewal.FRESH_SECONDS)
    assert bearer(await on.credentials.refused(renewed, [vault], MCP)) == "Bearer access-2"


async def test_a_refusal_is_remembered_with_its_reason_and_forgotten_later(
    clock: ManualClock, tokens: TokenServer
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url, refresh={"refresh_token": "spent"})
    for _ in range(3):
        assert await on.credentials.for_server([vault], MCP) is None
    assert len(tokens.asked) == 1
    reason = await on.credentials.reason([vault], MCP)
    assert reason == (
        f"vault credential {record.id} could not be renewed: the token endpoint at 127.0.0.1 answered 400 invalid_grant"
    )
    tokens.refresh_token = "spent"
    clock.advance(renewal.REFUSED_SECONDS)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-2"


@pytest.mark.parametrize("answer", [(500, b"oops", "text/plain"), (503, b"{}", "application/json"), as_json(429, {})])
async def test_an_endpoint_in_trouble_is_unavailable_for_a_moment(
    clock: ManualClock, tokens: TokenServer, answer: tuple[int, bytes, str]
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await on.oauth(vault, tokens.url)
    tokens.answers = [answer]
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"answered {answer[0]}"):
            await on.credentials.for_server([vault], MCP)
    assert len(tokens.asked) == 1
    clock.advance(renewal.FAILED_SECONDS)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-2"


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"not json", "text/plain"),
        (200, b"[]", "application/json"),
        as_json(200, {"access_token": ""}),
        as_json(200, {"access_token": 7}),
        as_json(200, {"access_token": "a\r\nx-admin: 1"}),
        as_json(200, {"access_token": "t", "token_type": "mac"}),
        as_json(200, {"error": "bad_refresh_token"}),
        (302, b"", "text/plain"),
        (200, b"x" * 70_000, "text/plain"),
    ],
)
async def test_an_answer_without_a_token_that_can_be_used_is_a_failure(
    clock: ManualClock, tokens: TokenServer, answer: tuple[int, bytes, str]
) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    tokens.answers = [answer]
    assert await on.credentials.for_server([vault], MCP) is None
    assert "could not be renewed" in await on.credentials.reason([vault], MCP)
    assert (await on.secrets(record))["refresh_token"] == "refresh-0"


async def test_a_token_that_is_still_good_outlives_a_failing_renewal(clock: ManualClock, tokens: TokenServer) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    await on.oauth(vault, tokens.url, expires_in=20)
    tokens.answers = [(500, b"", "text/plain")]
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-0"
    clock.advance(20)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-2"


async def test_an_expired_token_without_a_refresh_token_is_no_credential(clock: ManualClock) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.put(vault, type="mcp_oauth", mcp_server_url=MCP, access_token="a", expires_in=60)
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer a"
    clock.advance(60)
    assert await on.credentials.for_server([vault], MCP) is None
    assert await on.credentials.reason([vault], MCP) == f"the token of vault credential {record.id} has expired"


async def test_a_slow_endpoint_is_given_up_in_time(tokens: TokenServer) -> None:
    on = stage(seconds=0.05)
    vault = await on.vault()
    await on.oauth(vault, tokens.url)
    tokens.gate.clear()
    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        await on.credentials.for_server([vault], MCP)


async def test_a_token_endpoint_in_the_operators_network_is_not_asked(clock: ManualClock, tokens: TokenServer) -> None:
    on = stage(clock=clock, guard=Guard())
    vault = await on.vault()
    await on.oauth(vault, tokens.url)
    with pytest.raises(Unavailable, match="loopback"):
        await on.credentials.for_server([vault], MCP)
    assert tokens.asked == []


# -- several at once


async def test_who_leaves_during_a_renewal_loses_no_refresh_token(tokens: TokenServer) -> None:
    on = stage()
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    tokens.gate.clear()
    leaving = asyncio.create_task(on.credentials.for_server([vault], MCP))
    await asyncio.to_thread(tokens.entered.wait, 10)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    tokens.gate.set()
    assert bearer(await on.credentials.for_server([vault], MCP)) == "Bearer access-1"
    assert (await on.secrets(record))["refresh_token"] == "refresh-1"
    assert len(tokens.asked) == 1


async def test_what_is_replaced_during_a_renewal_stays_replaced(tokens: TokenServer) -> None:
    on = stage()
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    tokens.gate.clear()
    renewing = asyncio.create_task(on.credentials.for_server([vault], MCP))
    await asyncio.to_thread(tokens.entered.wait, 10)
    secrets = await on.secrets(record)
    stored = await on.read(record)
    assert stored.sealed is not None and secrets["access_token"] == "access-0"
    key = await on.envelope.key_of(stored.place, stored.sealed.key)
    theirs = key.seal("access_token", SecretStr("theirs"))
    sealed = replace(stored.sealed, fields={**stored.sealed.fields, "access_token": theirs})
    await on.store.vaults.change_credential(vault, record.id, lambda c: replace(c, sealed=sealed))
    tokens.gate.set()
    assert bearer(await renewing) == "Bearer theirs"
    assert await on.secrets(record) == {"access_token": "theirs", "refresh_token": "refresh-1"}


async def test_a_claim_of_a_process_that_died_runs_out(clock: ManualClock, tokens: TokenServer) -> None:
    on = stage(clock=clock)
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    dead = renewal.Renewal("dead", clock.now() + timedelta(seconds=renewal.CLAIM_SECONDS))
    await on.store.vaults.change_credential(vault, record.id, lambda c: replace(c, renewal=dead))
    asking = asyncio.create_task(on.credentials.for_server([vault], MCP))
    await until(lambda: clock.sleeping)
    assert tokens.asked == []
    clock.advance(renewal.CLAIM_SECONDS)
    assert bearer(await asking) == "Bearer access-1"


async def test_what_is_archived_during_a_renewal_gets_no_secrets_back(tokens: TokenServer) -> None:
    on = stage()
    vault = await on.vault()
    record = await on.oauth(vault, tokens.url)
    tokens.gate.clear()
    renewing = asyncio.create_task(on.credentials.for_server([vault], MCP))
    await asyncio.to_thread(tokens.entered.wait, 10)
    await on.store.vaults.archive(vault, on.clock.now())
    tokens.gate.set()
    assert await renewing is None
    assert (await on.read(record)).sealed is None
