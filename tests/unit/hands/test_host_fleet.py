"""The keeper of hosts: what it calls silent, what it kills, what it calls gone, and how hosts come and go.

Bug class this catches: a host that was only stopped and is killed with its work, a hung one that is never killed, a
call declared lost while its process may still run it, a host that is forgotten when the fleet dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.clock import ManualClock
from agents.errors import NotFound, Unavailable
from agents.hands.host_fleet import HostFleet, HostReport
from agents.hands.placement import HostPlace, HostState

ADDRESS = ("127.0.0.1", 1, b"token")


class ScriptedHost:
    """A host process that answers, is silent, drains and dies as told."""

    def __init__(self, number: int, cluster: Cluster) -> None:
        self.number = number
        self.cluster = cluster
        self.life = 1
        self.answers = True
        self.leaving = False
        self.steps: list[str] = []
        self.busy = asyncio.Event()
        self.busy.set()

    async def ping(self, *, timeout: float) -> HostReport:
        if not self.answers:
            raise Unavailable(f"silent for {timeout:g} s")
        return HostReport(f"sandbox-host-{self.number}/{self.life}", ADDRESS, self.leaving, {"live": self.number})

    async def drain(self, *, timeout: float) -> None:
        self.leaving = True
        self.steps.append("drain")
        await self.busy.wait()

    async def stop(self, *, timeout: float) -> None:
        self.steps.append("stop")

    def kill(self) -> None:
        self.steps.append("kill")

    async def end(self) -> None:
        self.steps.append("end")
        del self.cluster.hosts[self.number]


class Cluster:
    """The processes there are; they outlive any fleet."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.hosts: dict[int, ScriptedHost] = {}

    def find_or_start(self, number: int) -> ScriptedHost:
        if number not in self.hosts:
            self.hosts[number] = ScriptedHost(number, self)
        return self.hosts[number]

    def fleet(self, wanted: int) -> HostFleet:
        made = HostFleet(self.find_or_start, self.clock, drain_seconds=180)
        made.adopt(list(self.hosts), wanted=wanted)
        return made


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def after(cluster: Cluster, fleet: HostFleet, seconds: float) -> HostPlace:
    """Let time pass in sweeps; returns where host 0 is then."""
    for _ in range(round(seconds)):
        cluster.clock.advance(1)
        await fleet.sweep()
    return fleet.table()["sandbox-host-0"]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_hosts_are_started_found_and_told_of(cluster: Cluster) -> None:
    fleet = cluster.fleet(2)
    assert {place.state for place in fleet.table().values()} == {HostState.UNKNOWN}
    await fleet.sweep()
    assert fleet.table() == {
        f"sandbox-host-{n}": HostPlace(HostState.UP, f"sandbox-host-{n}/1", ADDRESS) for n in (0, 1)
    }
    assert await fleet.ready() == ["sandbox-host-0", "sandbox-host-1"]
    assert fleet.figures() == {"sandbox-host-0": {"live": 0}, "sandbox-host-1": {"live": 1}}


async def test_a_host_that_is_silent_for_ten_seconds_has_lost_nothing(cluster: Cluster) -> None:
    fleet = cluster.fleet(1)
    await fleet.sweep()
    cluster.hosts[0].answers = False
    place = await after(cluster, fleet, 10)
    assert (place.state, place.incarnation) == (HostState.SILENT, "sandbox-host-0/1")
    assert fleet.figures() == {"sandbox-host-0": None}
    cluster.hosts[0].answers = True
    assert (await after(cluster, fleet, 1)).state is HostState.UP
    assert cluster.hosts[0].steps == []


async def test_a_hung_host_is_killed_and_called_gone_only_after_it_had_time_to_die(cluster: Cluster) -> None:
    fleet = cluster.fleet(1)
    await fleet.sweep()
    host = cluster.hosts[0]
    host.answers = False
    assert (await after(cluster, fleet, 29)).state is HostState.SILENT and host.steps == []
    assert (await after(cluster, fleet, 1)).state is HostState.SILENT and host.steps == ["kill"]
    assert (await after(cluster, fleet, 14)).state is HostState.SILENT
    place = await after(cluster, fleet, 1)
    assert (place.state, place.incarnation) == (HostState.REPLACED, None)
    assert host.steps == ["kill"]
    await after(cluster, fleet, 15)
    assert host.steps == ["kill", "kill"], "what does not come back is killed again"
    host.answers, host.life = True, 2
    assert (await after(cluster, fleet, 1)).incarnation == "sandbox-host-0/2"


async def test_a_host_that_starts_slowly_is_not_killed_for_it(cluster: Cluster) -> None:
    fleet = cluster.fleet(1)
    cluster.hosts[0].answers = False
    assert (await after(cluster, fleet, 100)).state is HostState.UNKNOWN and cluster.hosts[0].steps == []
    await after(cluster, fleet, 20)
    assert cluster.hosts[0].steps == ["kill"]


async def test_a_fleet_that_dies_finds_its_hosts_again_also_those_added_meanwhile(cluster: Cluster) -> None:
    fleet = cluster.fleet(1)
    fleet.scale(3)
    await fleet.sweep()
    successor = cluster.fleet(1)
    await successor.sweep()
    assert successor.table() == fleet.table() and len(successor.table()) == 3
    assert all(host.steps == [] and host.life == 1 for host in cluster.hosts.values())


async def test_fewer_hosts_leave_by_draining_and_others_come_when_wanted(cluster: Cluster) -> None:
    fleet = cluster.fleet(3)
    await fleet.sweep()
    leaver = cluster.hosts[2]
    leaver.busy.clear()
    assert fleet.scale(2) == ["sandbox-host-0", "sandbox-host-1"]
    await settle()
    assert fleet.table()["sandbox-host-2"] == HostPlace(HostState.UP, "sandbox-host-2/1", ADDRESS, leaving=True)
    await fleet.sweep()
    assert fleet.table()["sandbox-host-2"].leaving and leaver.steps == ["drain"]
    ready = asyncio.create_task(fleet.ready())
    await settle()
    assert not ready.done()
    leaver.busy.set()
    await settle()
    await fleet.sweep()
    assert await asyncio.wait_for(ready, 5) == ["sandbox-host-0", "sandbox-host-1"]
    assert leaver.steps == ["drain", "stop", "end"] and sorted(fleet.table()) == ["sandbox-host-0", "sandbox-host-1"]
    fleet.scale(4)
    await fleet.sweep()
    assert len(fleet.table()) == 4 and cluster.hosts[2] is not leaver


async def test_a_host_is_replaced_after_its_calls_have_ended(cluster: Cluster) -> None:
    fleet = cluster.fleet(2)
    await fleet.sweep()
    old = cluster.hosts[1]
    old.busy.clear()
    replacing = asyncio.create_task(fleet.replace("sandbox-host-1"))
    await settle()
    assert fleet.table()["sandbox-host-1"].leaving and not replacing.done()
    old.busy.set()
    await settle()
    assert fleet.table()["sandbox-host-1"].state is HostState.REPLACED, "whoever waits for its results learns it"
    await fleet.sweep()
    await asyncio.wait_for(replacing, 5)
    assert cluster.hosts[1] is not old and old.steps == ["drain", "stop", "end"]
    with pytest.raises(NotFound):
        await fleet.replace("sandbox-host-9")


@pytest.mark.parametrize(("number", "comes_back"), [(1, True), (2, False)])
async def test_the_next_fleet_finishes_what_the_last_one_began(cluster: Cluster, number: int, comes_back: bool) -> None:
    fleet = cluster.fleet(3)
    await fleet.sweep()
    cluster.hosts[number].leaving = True
    successor = cluster.fleet(2)
    await successor.sweep()
    await settle()
    assert (number in cluster.hosts) is comes_back
    await successor.sweep()
    assert (f"sandbox-host-{number}" in successor.table()) is comes_back
    assert not any(place.leaving for place in successor.table().values())


async def test_stopping_puts_everything_away(cluster: Cluster) -> None:
    fleet = cluster.fleet(2)
    await fleet.sweep()
    hosts = list(cluster.hosts.values())
    await fleet.stop()
    assert [host.steps for host in hosts] == [["stop", "end"]] * 2


@pytest.fixture
async def watched(cluster: Cluster) -> AsyncIterator[HostFleet]:
    fleet = cluster.fleet(1)
    watching = asyncio.create_task(fleet.watch())
    yield fleet
    watching.cancel()


async def test_watching_never_ends(cluster: Cluster, watched: HostFleet) -> None:
    assert await asyncio.wait_for(watched.ready(), 5) == ["sandbox-host-0"]
    cluster.hosts[0].life = 2
    await settle()
    cluster.clock.advance(2)
    await settle()
    assert watched.table()["sandbox-host-0"].incarnation == "sandbox-host-0/2"
