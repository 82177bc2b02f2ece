"""Which way a server call goes, and what is remembered of calls on the ways that remember nothing themselves."""

from __future__ import annotations

import asyncio

import pytest

from agents.errors import Overloaded
from agents.hands.servers.memory import MemoryServer, MemoryServers
from agents.hands.servers.port import (
    Caller,
    NoServers,
    OfferedTool,
    ServerCall,
    ServerLost,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)
from agents.hands.servers.remembered import RememberedServers
from agents.hands.servers.router import RoutedServers

ANN = Caller("sesn_ann")
TOOLS = [OfferedTool("find", "", {"type": "object"})]


def call(url: str, call_id: str = "sevt_1", *, again: bool = False) -> ServerCall:
    return ServerCall(call_id, ToolServer("crm" if url else "", url), "find", {}, 5.0, again=again)


async def test_each_scheme_has_its_way() -> None:
    hands, remote, web = MemoryServer(TOOLS, "crm@1"), MemoryServer(TOOLS), MemoryServer()
    ways = {name: MemoryServers() for name in ("hands", "remote", "web")}
    ways["hands"].serve("hand://crm@1", hands)
    ways["remote"].serve("https://crm", remote)
    ways["web"].serve("", web)
    servers = RoutedServers(**ways)
    assert (await servers.offer(ToolServer("crm", "hand://crm@1"), ANN)).hand == "crm@1"
    for number, url in enumerate(("hand://crm@1", "https://crm", "")):
        await servers.call(call(url, f"sevt_{number}"), ANN)
    assert [[each.call_id for each in known.calls] for known in (hands, remote, web)] == [
        ["sevt_0"],
        ["sevt_1"],
        ["sevt_2"],
    ]
    servers.cancel([call("https://crm", "sevt_1"), call("", "sevt_2")], ANN)
    assert (hands.cancelled, remote.cancelled, web.cancelled) == ([], ["sevt_1"], ["sevt_2"])
    await servers.close()


async def test_a_way_that_leads_nowhere_is_a_server_that_is_not_there() -> None:
    servers = RoutedServers()
    with pytest.raises(ServerUnreachable, match=r"there is no hand crm@1\.4"):
        await servers.offer(ToolServer("crm", "hand://crm@1.4"), ANN)
    for url in ("hand://crm", "https://crm", ""):
        with pytest.raises(ServerUnreachable):
            await servers.call(call(url), ANN)


class Forgetful(NoServers):
    """Runs a call as often as it is asked."""

    def __init__(self) -> None:
        self.runs = 0
        self.gate = asyncio.Event()
        self.faults: list[Exception] = []

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        self.runs += 1
        if self.faults:
            raise self.faults.pop(0)
        await self.gate.wait()
        return ServerResult(call.call_id, [])


async def test_a_call_runs_once_whoever_waits_and_however_often_it_is_asked_for() -> None:
    inner = Forgetful()
    servers = RememberedServers(inner)
    waiting = [asyncio.create_task(servers.call(call("https://crm"), ANN)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    inner.gate.set()
    first = await waiting[1]
    assert await servers.call(call("https://crm", again=True), ANN) is first and inner.runs == 1
    await servers.call(call("https://crm"), Caller("sesn_bob"))
    assert inner.runs == 2, "an id is its session's"


async def test_a_call_that_failed_before_it_had_an_answer_may_be_made_again() -> None:
    inner = Forgetful()
    inner.gate.set()
    inner.faults = [Overloaded("full")]
    servers = RememberedServers(inner)
    with pytest.raises(Overloaded):
        await servers.call(call("https://crm"), ANN)
    with pytest.raises(ServerLost):
        await servers.call(call("https://crm", again=True), ANN)
    assert (await servers.call(call("https://crm"), ANN)).outcome == "ok" and inner.runs == 2


async def test_a_cancelled_call_ends_and_is_remembered_as_cancelled() -> None:
    servers = RememberedServers(Forgetful())
    waiting = asyncio.create_task(servers.call(call("https://crm"), ANN))
    await asyncio.sleep(0)
    servers.cancel([call("https://crm")], Caller("sesn_bob"))
    servers.cancel([call("https://crm")], ANN)
    assert (await waiting).outcome == "cancelled"
    assert (await servers.call(call("https://crm", again=True), ANN)).outcome == "cancelled"


async def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.hands.servers.remembered._MAX_RESULTS", 2)
    inner = Forgetful()
    inner.gate.set()
    servers = RememberedServers(inner)
    for number in range(4):
        await servers.call(call("https://crm", f"sevt_{number}"), ANN)
    with pytest.raises(ServerLost):
        await servers.call(call("https://crm", "sevt_1", again=True), ANN)
    await servers.call(call("https://crm", "sevt_3", again=True), ANN)
    assert inner.runs == 4
