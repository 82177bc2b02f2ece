"""A harness's way to its sandbox hosts: real links, hosts that die, and a fleet that answers as a test says.

Bug class this catches: a call that was sent taken for one that was not (it runs twice) or the other way round (it is
lost), a dead host that is asked for ever (user ask 48), a session that leaves its files behind without need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest

from actors import hands_client, host_links
from actors.hands_client import HandsClient
from actors.link_server import Connection, LinkServer
from actors.replies import Reply
from agents.config import Settings
from agents.errors import Unavailable
from agents.hands.memory import MemoryHands
from agents.hands.placement import HostPlace, HostState
from agents.hands.port import CallNotSent, CallRefused, HostLost, ToolCall, ToolResult, Workspace
from tests.unit.waiting import until


class Host:
    """One incarnation: in-memory hands behind a link. A call of ``bash`` waits for ``go``."""

    def __init__(self, incarnation: str) -> None:
        self.hands = MemoryHands()
        self.hands.incarnation = incarnation
        self.server = LinkServer(lambda stream: Connection(stream, self.call, self.stream))
        self.asked: list[str] = []
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.leaving = False
        self.released: list[tuple[str, bool]] = []

    async def start(self) -> HostPlace:
        return HostPlace(HostState.UP, self.hands.incarnation, await self.server.start("127.0.0.1"))

    async def call(self, method: str, args: Sequence[Any]) -> Reply:
        if method == "release":
            self.released.append((args[0], args[1]))
            return Reply()
        self.hands.cancel(*args)
        return Reply()

    async def stream(self, method: str, args: Sequence[Any]) -> AsyncGenerator[ToolResult, None]:
        workspace, calls = args
        self.asked.extend(call.call_id for call in calls)
        self.arrived.set()
        if self.leaving:
            raise CallRefused("leaving")
        if calls[0].name == "bash":
            await self.go.wait()
        async for result in self.hands.execute(workspace, calls):
            yield result

    async def die(self) -> None:
        await self.server.stop()


class Fleet:
    """Two hosts, the table of them, and how often it was asked for."""

    def __init__(self) -> None:
        self.hosts = {name: Host(f"{name}/1") for name in ("sandbox-host-0", "sandbox-host-1")}
        self.table: dict[str, HostPlace] = {}
        self.asked = 0
        self.away = False
        self.client = HandsClient(Settings(), ask=self.ask)

    async def ask(self) -> dict[str, HostPlace]:
        self.asked += 1
        if self.away:
            raise Unavailable("the fleet is restarting")
        return dict(self.table)

    async def restart(self, name: str) -> Host:
        """A new process of a host; nobody has been told of it yet but the fleet."""
        host = Host(f"{name}/2")
        self.table[name] = await host.start()
        self.hosts[name] = host
        return host

    async def run(self, workspace: Workspace, *calls: ToolCall, host: str | None = None) -> list[ToolResult]:
        async with asyncio.timeout(10):
            return [result async for result in self.client.execute(workspace, calls, host=host)]


def write(call_id: str = "c1", **more: Any) -> ToolCall:
    return ToolCall(call_id, "write", {"file_path": "f", "content": "x"}, **more)


def bash(call_id: str = "c1") -> ToolCall:
    return ToolCall(call_id, "bash", {"command": "echo once >> f; cat f"})


HERE = Workspace("sesn_1", host="sandbox-host-0/1")


@pytest.fixture
async def fleet(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    monkeypatch.setattr(host_links, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(hands_client, "_LOOK_SECONDS", 0.01)
    made = Fleet()
    started = list(made.hosts.values())
    for name, host in made.hosts.items():
        made.table[name] = await host.start()
    yield made
    for host in {*started, *made.hosts.values()}:
        await host.die()


async def test_the_table_is_asked_for_once_and_places_are_then_known_without_waiting(fleet: Fleet) -> None:
    assert fleet.client.place(HERE) is None, "nothing is known yet, and nobody waits"
    host = await fleet.client.locate(HERE)
    assert host == "sandbox-host-0/1" == fleet.client.place(HERE)
    results = await asyncio.gather(*(fleet.run(HERE, write(f"c{n}"), host=host) for n in range(50)))
    assert {result.host for (result,) in results} == {host}
    assert fleet.asked == 1


async def test_a_broken_link_to_a_living_host_is_opened_again_and_the_call_has_run_once(fleet: Fleet) -> None:
    host = fleet.hosts["sandbox-host-0"]
    running = asyncio.create_task(fleet.run(HERE, bash(), host="sandbox-host-0/1"))
    await asyncio.wait_for(host.arrived.wait(), 5)
    host.arrived.clear()
    host.server.hang_up()
    await asyncio.wait_for(host.arrived.wait(), 5)
    host.go.set()
    (result,) = await running
    assert result.content[0]["text"] == "once" and host.asked == ["c1", "c1"]


async def test_a_host_that_dies_with_a_call_is_a_lost_host_at_once_and_is_never_asked_again(fleet: Fleet) -> None:
    host = fleet.hosts["sandbox-host-0"]
    running = asyncio.create_task(fleet.run(HERE, bash(), host="sandbox-host-0/1"))
    await asyncio.wait_for(host.arrived.wait(), 5)
    fleet.away = True  # nobody needs the fleet to see that nobody listens there any more
    await host.die()
    with pytest.raises(HostLost):
        await running
    fleet.away = False
    with pytest.raises(CallNotSent) as caught:
        await fleet.run(HERE, write("c2"), host="sandbox-host-0/1")
    assert not isinstance(caught.value, CallRefused)
    # The fleet still believes in it; this side knows better.
    assert fleet.client.place(HERE) is None
    assert fleet.client.place(Workspace("sesn_1")) == "sandbox-host-1/1"


async def test_of_a_batch_that_loses_its_host_the_results_that_came_are_kept(fleet: Fleet) -> None:
    host = fleet.hosts["sandbox-host-0"]
    results = fleet.client.execute(HERE, [write("c1")], host="sandbox-host-0/1")
    assert (await anext(results)).call_id == "c1"
    await host.die()
    with pytest.raises(StopAsyncIteration):
        await anext(results)


async def test_a_call_for_an_incarnation_that_was_replaced_is_not_sent(fleet: Fleet) -> None:
    await fleet.client.locate(HERE)
    await fleet.hosts["sandbox-host-0"].die()
    later = await fleet.restart("sandbox-host-0")
    with pytest.raises(CallNotSent):
        await fleet.run(HERE, write(), host="sandbox-host-0/1")
    assert later.asked == []
    assert await fleet.client.locate(HERE) == "sandbox-host-0/2", "the disk may still have the files"


async def test_an_incarnation_that_is_newer_than_the_table_is_looked_up_and_found(fleet: Fleet) -> None:
    await fleet.client.locate(HERE)
    await fleet.restart("sandbox-host-0")
    (result,) = await fleet.run(HERE, write(), host="sandbox-host-0/2")
    assert result.host == "sandbox-host-0/2"


async def test_a_host_that_nobody_can_tell_anything_of_is_waited_for_until_the_deadline(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet.client, "_grace", 0.0)
    fleet.table["sandbox-host-0"] = HostPlace(HostState.UNKNOWN)
    running = asyncio.create_task(fleet.run(HERE, write(deadline=5.0), host="sandbox-host-0/2"))
    await asyncio.sleep(0)
    await fleet.restart("sandbox-host-0")
    assert (await running)[0].host == "sandbox-host-0/2"
    fleet.table["sandbox-host-0"] = HostPlace(HostState.UNKNOWN)
    with pytest.raises(CallNotSent):
        await fleet.run(HERE, write(deadline=0.05), host="sandbox-host-0/3")


async def test_a_call_without_an_answer_in_time_is_not_taken_for_lost(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet.client, "_grace", 0.0)
    call = ToolCall("c1", "bash", {"command": "true"}, deadline=0.05)
    with pytest.raises(Unavailable) as caught:
        await fleet.run(HERE, call, host="sandbox-host-0/1")
    assert not isinstance(caught.value, CallNotSent | HostLost)


async def test_a_host_that_leaves_refuses_what_it_has_never_seen(fleet: Fleet) -> None:
    fleet.hosts["sandbox-host-0"].leaving = True
    with pytest.raises(CallRefused):
        await fleet.run(HERE, write(), host="sandbox-host-0/1")


async def test_a_host_that_refused_a_call_gets_no_new_ones_however_old_the_table_is(fleet: Fleet) -> None:
    assert await fleet.client.locate(HERE) == "sandbox-host-0/1"
    fleet.away = True
    fleet.hosts["sandbox-host-0"].leaving = True
    with pytest.raises(CallRefused):
        await fleet.run(HERE, write(), host="sandbox-host-0/1")
    assert fleet.client.place(HERE) == "sandbox-host-1/1"
    assert await fleet.client.locate(HERE) == "sandbox-host-1/1"
    fleet.away = False
    assert await fleet.client.locate(HERE) == "sandbox-host-1/1", "the fleet has not heard of it either"


async def test_a_fleet_that_is_away_before_anything_is_known_is_waited_for(fleet: Fleet) -> None:
    fleet.away = True
    waiting = asyncio.create_task(fleet.client.locate(HERE))
    await until(lambda: fleet.asked >= 3)
    fleet.away = False
    async with asyncio.timeout(5):
        assert await waiting == "sandbox-host-0/1"


async def test_the_next_process_of_the_own_host_is_waited_for(fleet: Fleet) -> None:
    fleet.table["sandbox-host-0"] = HostPlace(HostState.REPLACED)
    waiting = asyncio.create_task(fleet.client.locate(HERE))
    await until(lambda: fleet.asked >= 3)
    await fleet.restart("sandbox-host-0")
    assert await asyncio.wait_for(waiting, 5) == "sandbox-host-0/2"


async def test_but_not_for_ever(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.table["sandbox-host-0"] = HostPlace(HostState.REPLACED)
    monkeypatch.setattr(hands_client, "_RESTART_SECONDS", 0.0)
    assert await asyncio.wait_for(fleet.client.locate(HERE), 5) == "sandbox-host-1/1"


async def test_who_stops_listening_leaves_the_call_running(fleet: Fleet) -> None:
    host = fleet.hosts["sandbox-host-0"]
    host.go.set()
    slow = ToolCall("c1", "bash", {"command": "sleep 0.1; echo once >> f; cat f"})
    results = fleet.client.execute(HERE, [write("c0"), slow], host="sandbox-host-0/1")
    assert (await anext(results)).call_id == "c0"
    await results.aclose()
    (result,) = await fleet.run(HERE, slow, host="sandbox-host-0/1")
    assert result.content[0]["text"].endswith("once") and not result.is_error


async def test_cancelled_calls_are_stopped_where_they_run(fleet: Fleet) -> None:
    fleet.client.cancel("sesn_1", {"c1": "sandbox-host-0/1", "c2": "sandbox-host-1/1"})
    for number in (0, 1):
        host, call = fleet.hosts[f"sandbox-host-{number}"], ("sesn_1", f"c{number + 1}")
        await until(lambda host=host, call=call: call in host.hands._memory)
        (result,) = await fleet.run(HERE, write(f"c{number + 1}"), host=f"sandbox-host-{number}/1")
        assert result.is_error


async def test_release_reaches_every_host_and_needs_one_to_destroy(fleet: Fleet) -> None:
    await fleet.client.release("sesn_1", destroy=True)
    assert [host.released for host in fleet.hosts.values()] == [[("sesn_1", True)]] * 2
    await fleet.hosts["sandbox-host-0"].die()
    await fleet.client.release("sesn_2", destroy=True)
    assert fleet.hosts["sandbox-host-1"].released[-1] == ("sesn_2", True)
    await fleet.hosts["sandbox-host-1"].die()
    with pytest.raises(Unavailable):
        await fleet.client.release("sesn_3", destroy=True)
