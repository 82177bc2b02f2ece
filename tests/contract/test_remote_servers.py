"""The MCP client against real servers of every kind (spec C.4): lists, calls, cancels, and says what became of a call.

Bug class this catches: a failed request that takes others down with it, a call that is said not to have run and did,
a credential that goes where it must not, a server that stays away though it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import SecretStr

from agents.errors import HecatonError, Overloaded
from agents.hands.servers.port import (
    Caller,
    ServerCall,
    ServerLost,
    ServerRefusedAuth,
    ServerUnreachable,
    ToolServer,
)
from agents.hands.servers.remembered import RememberedServers
from agents.hands.servers.remote import RemoteServers
from agents.hands.servers.settings import McpSettings
from agents.net.guard import Guard
from agents.vaults.port import NoCredentials, ServerCredential
from tests.mcp_servers import Kind, LiveMcp, live_mcp
from tests.unit.waiting import until

LOCAL = Guard(allow_private=(ip_network("127.0.0.0/8"),))
ANN = Caller("sesn_ann", "ann", ("vlt_1",))
KINDS: tuple[Kind, ...] = ("new", "json", "handshake", "sse")


class Wallet(NoCredentials):
    """Credentials with one token, that may be renewed once."""

    def __init__(self, token: str = "", renewed: str = "") -> None:
        self.token, self.renewed, self.refusals = token, renewed, 0

    def _credential(self) -> ServerCredential | None:
        headers = {"Authorization": SecretStr(f"Bearer {self.token}")}
        return ServerCredential("vlt_1", "vcrd_1", headers) if self.token else None

    async def for_server(self, vault_ids: Sequence[str], url: str) -> ServerCredential | None:
        return self._credential()

    async def refused(
        self, credential: ServerCredential, vault_ids: Sequence[str], url: str
    ) -> ServerCredential | None:
        self.refusals += 1
        self.token, self.renewed = self.renewed, ""
        return self._credential()


@asynccontextmanager
async def remote(credentials: Any = None, guard: Guard = LOCAL, **settings: Any) -> AsyncIterator[RememberedServers]:
    servers = RememberedServers(RemoteServers(McpSettings(**settings), guard, credentials or NoCredentials()))
    try:
        yield servers
    finally:
        await servers.close()


def server(live: LiveMcp) -> ToolServer:
    return ToolServer("crm", live.url)


def call(live: LiveMcp, tool: str = "quick", call_id: str = "sevt_1", **more: Any) -> ServerCall:
    more = {"deadline": 20.0, **more}
    return ServerCall(call_id, server(live), tool, {"who": "Ada"}, **more)


async def names(servers: RememberedServers, live: LiveMcp) -> list[str]:
    return [tool.name for tool in (await servers.offer(server(live), ANN)).tools]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_server_is_spoken_with(kind: Kind) -> None:
    async with live_mcp(kind) as live, remote() as servers:
        offer = await servers.offer(server(live), ANN)
        find, charge = offer.tools[:2]
        assert (find.name, find.description, find.repeatable) == ("find", "Find a customer.", True)
        assert charge.input_schema["required"] == ["who"] and not charge.repeatable
        result = await servers.call(call(live), ANN)
        assert result.content == [{"type": "text", "text": "hello Ada"}]
        assert (result.is_error, result.outcome) == (False, "ok") and result.consumption.run_seconds > 0
        assert live.keys == ["sevt_1"], "the call's id is the idempotency key"
        failed = await servers.call(call(live, "refuse", "sevt_2"), ANN)
        assert (failed.is_error, failed.outcome, failed.content[0]["text"]) == (True, "tool_error", "no such customer")
        unknown = await servers.call(call(live, "gone", "sevt_3"), ANN)
        assert unknown.is_error and unknown.outcome == "tool_error"


# A server that answers in plain JSON does not notice that nobody waits any more.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "json"])
async def test_calls_run_beside_each_other_and_a_cancelled_one_is_called_off_at_the_server(kind: Kind) -> None:
    async with live_mcp(kind) as live, remote() as servers:
        long = asyncio.create_task(servers.call(call(live, "charge"), ANN))
        async with asyncio.timeout(10):
            await live.begun.wait()
            assert not (await servers.call(call(live, "quick", "sevt_2"), ANN)).is_error
            servers.cancel([call(live, "charge")], ANN)
            assert (await long).outcome == "cancelled"
            await live.stopped.wait()
        assert live.cancelled == ["charge"]
        assert not (await servers.call(call(live, "quick", "sevt_3"), ANN)).is_error


async def test_a_call_past_its_deadline_is_called_off_and_nobody_knows_what_it_did() -> None:
    async with live_mcp() as live, remote() as servers:
        await servers.offer(server(live), ANN)
        deadline = 0.05
        while not live.begun.is_set():  # on a busy machine the call takes a while to get there
            deadline *= 2
            with pytest.raises(ServerLost):
                await servers.call(call(live, "charge", f"sevt_{deadline}", deadline=deadline), ANN)
        async with asyncio.timeout(10):
            await live.stopped.wait()


@pytest.mark.parametrize("kind", ["json", "handshake", "sse"])
async def test_a_server_that_dies_in_mid_call_leaves_the_call_lost_and_is_found_again(kind: Kind) -> None:
    async with live_mcp(kind) as live, remote() as servers:
        assert "charge" in await names(servers, live)
        lost = asyncio.create_task(servers.call(call(live, "charge"), ANN))
        async with asyncio.timeout(10):
            await live.begun.wait()
            await live.stop()
            with pytest.raises(ServerLost):
                await lost
            with pytest.raises(ServerUnreachable):
                await servers.call(call(live, "quick", "sevt_2"), ANN)
            with pytest.raises(ServerUnreachable):
                await servers.offer(server(live), ANN)
            await live.start()
            assert not (await servers.call(call(live, "quick", "sevt_2"), ANN)).is_error
            assert "charge" in await names(servers, live)


@pytest.mark.parametrize("kind", ["new", "handshake"])
async def test_a_restarted_server_is_asked_on_a_new_connection(kind: Kind) -> None:
    async with live_mcp(kind) as live, remote() as servers:
        await servers.call(call(live), ANN)
        await live.stop()
        await live.start()
        result = await servers.call(call(live, "quick", "sevt_2"), ANN)
        assert result.outcome == "ok" and live.calls == ["quick", "quick"]


@pytest.mark.parametrize(
    ("status", "failure"),
    [(429, Overloaded), (503, Overloaded), (500, ServerLost), (502, ServerLost), (400, ServerUnreachable)],
)
async def test_an_http_status_says_whether_the_call_may_have_run(status: int, failure: type[HecatonError]) -> None:
    async with live_mcp() as live, remote() as servers:
        await servers.offer(server(live), ANN)
        live.status = status
        with pytest.raises(failure) as raised:
            await servers.call(call(live), ANN)
        assert type(raised.value) is failure and live.calls == []
        assert raised.value.retry_after == {429: 7.0, 503: 1.0}.get(status)
        live.status = None
        assert not (await servers.call(call(live), ANN)).is_error, "only that request has failed"


@pytest.mark.parametrize("kind", ["new", "sse"])
async def test_a_server_that_wants_credentials_gets_the_vaults_and_is_told_apart_from_a_dead_one(kind: Kind) -> None:
    async with live_mcp(kind) as live:
        live.token = "s3cret"
        async with remote() as servers:
            with pytest.raises(ServerRefusedAuth, match="no vault has a credential"):
                await servers.offer(server(live), ANN)
        async with remote(Wallet("s3cret")) as servers:
            assert "find" in await names(servers, live)


async def test_a_refused_credential_is_renewed_once_and_the_call_made_again() -> None:
    async with live_mcp() as live:
        live.token, wallet = "old", Wallet("old", renewed="new")
        async with remote(wallet) as servers:
            await servers.offer(server(live), ANN)
            live.token = "new"
            assert not (await servers.call(call(live), ANN)).is_error and wallet.refusals == 1
            live.token = "newer"
            with pytest.raises(ServerRefusedAuth) as raised:
                await servers.call(call(live, "quick", "sevt_2"), ANN)
            assert live.calls == ["quick"] and wallet.refusals == 2
            assert "new" not in str(raised.value).replace("renew", "")


async def test_a_server_that_repeats_its_credential_is_not_quoted() -> None:
    async with live_mcp() as live:
        live.token = "s3cret/token"
        async with remote(Wallet("s3cret/token")) as servers:
            result = await servers.call(call(live, "parrot"), ANN)
            assert result.content == [{"type": "text", "text": "you sent [redacted]"}]


@pytest.mark.parametrize("kind", ["new", "handshake"])
async def test_an_offer_is_kept_until_the_server_says_that_it_has_changed(kind: Kind) -> None:
    async with live_mcp(kind) as live, remote() as servers:
        before = await servers.offer(server(live), ANN)
        assert await servers.offer(server(live), ANN) is before
        await servers.call(call(live, "learn"), ANN)
        async with asyncio.timeout(10):
            while "learned" not in await names(servers, live):
                await asyncio.sleep(0)


async def test_an_offer_is_asked_for_again_when_it_is_old() -> None:
    async with live_mcp() as live, remote(offer_seconds=0.001) as servers:
        before = await servers.offer(server(live), ANN)
        async with asyncio.timeout(10):
            while await servers.offer(server(live), ANN) is before:
                await asyncio.sleep(0)


async def test_sessions_share_a_connection_and_one_that_nobody_needs_is_closed() -> None:
    async with live_mcp() as live, remote(idle_seconds=0.05) as servers:
        bob = Caller("sesn_bob")
        offers = await asyncio.gather(*(servers.offer(server(live), who) for who in (ANN, bob, ANN)))
        assert live.connections == 1 and offers[0] is offers[1]
        await until(lambda: not connections(servers))
        await servers.call(call(live), bob)
        assert live.connections == 2


def connections(servers: RememberedServers) -> dict[Any, Any]:
    return servers._servers._connections  # type: ignore[attr-defined]


async def test_only_so_many_connections_are_open_and_the_idle_ones_go_first() -> None:
    async with live_mcp() as one, live_mcp("json") as other, remote(max_connections=1) as servers:
        await servers.offer(server(one), ANN)
        await servers.offer(server(other), ANN)
        assert len(connections(servers)) == 1
        held = asyncio.create_task(servers.call(call(other, "charge"), ANN))
        async with asyncio.timeout(10):
            await other.begun.wait()
        with pytest.raises(ServerUnreachable, match="limit"):
            await servers.call(call(one, "quick", "sevt_2"), ANN)
        other.go.set()
        assert (await held).outcome == "ok"


async def test_a_place_of_the_operators_own_network_is_not_connected_to() -> None:
    async with live_mcp() as live, remote(guard=Guard()) as servers:
        with pytest.raises(ServerUnreachable, match="loopback"):
            await servers.offer(server(live), ANN)
        assert live.connections == 0


async def test_a_page_that_is_no_mcp_server_is_unreachable_in_words() -> None:
    async with live_mcp() as live, remote() as servers:
        with pytest.raises(ServerUnreachable):
            await servers.offer(ToolServer("crm", live.url.replace("/mcp", "/nothing")), ANN)


async def test_a_server_that_never_answers_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    deaf = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{deaf.sockets[0].getsockname()[1]}/mcp"
    async with deaf, remote(connect_timeout_seconds=0.1) as servers:
        with pytest.raises(ServerUnreachable, match=r"0\.1 s"):
            await servers.offer(ToolServer("crm", url), ANN)


async def test_an_answer_larger_than_is_read_is_lost_and_the_connection_lives() -> None:
    async with live_mcp("json") as live, remote(max_message_bytes=100_000) as servers:
        with pytest.raises(ServerLost):
            await servers.call(call(live, "flood"), ANN)
        assert not (await servers.call(call(live, "quick", "sevt_2"), ANN)).is_error
        assert live.connections == 1


# -- memory ----------------------------------------------------------------------------------------


async def test_a_call_that_is_asked_for_again_runs_once_and_one_that_nobody_knows_does_not_run() -> None:
    async with live_mcp() as live, remote() as servers:
        waiting = asyncio.create_task(servers.call(call(live, "charge"), ANN))
        async with asyncio.timeout(10):
            await live.begun.wait()
        waiting.cancel()
        again = asyncio.create_task(servers.call(call(live, "charge", again=True), ANN))
        live.go.set()
        first = await again
        assert first.content[0]["text"] == "charged Ada"
        assert await servers.call(call(live, "charge", again=True), ANN) is first and live.calls == ["charge"]
        with pytest.raises(ServerLost):
            await servers.call(call(live, "charge", "sevt_2", again=True), ANN)
        assert live.calls == ["charge"]
