"""The fleet actor: keeps sandbox hosts alive and harnesses spread, and knows where hosts and replicas are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from actors.announcing import Announced, Announcement
from actors.app_waker import AppWaker
from actors.harness_keeper import HarnessKeeper
from actors.link_server import Endpoint
from actors.metrics_keeper import MetricsKeeper
from actors.names import DEFAULT_BRAIN, brain_app_name, hand_app_name
from actors.placement import HARDLY_A_CPU
from actors.ray_host import RayHost, host_numbers
from actors.remote import actor
from actors.replica_faults import FaultReport
from actors.replica_table import ReplicaTable
from actors.replies import Reply, reply_of
from actors.standby_keeper import StandbyKeeper
from actors.table_shelf import TableReferences
from agents.clock import SystemClock
from agents.config import Settings
from agents.errors import Unavailable
from agents.hands.host_fleet import HostFleet
from agents.hands.placement import HostTable
from agents.standby.breaker import Forced
from agents.standby.health import PathReport
from agents.telemetry.recorder import Recorded

_DRAIN_GRACE_SECONDS = 30.0


@actor(num_cpus=HARDLY_A_CPU, max_restarts=-1, max_concurrency=100)
class FleetActor:
    """Keeps the sandbox hosts, and tells where hosts and the replicas of brains and hands are: it only keeps tables.

    It may die: hosts and replicas tell the next one all that it must know.
    """

    def __init__(self, settings_json: str) -> None:
        self._settings = Settings.from_json(settings_json)
        self._starting: asyncio.Task[HostFleet] | None = None
        self._watching: list[asyncio.Task[None]] = []
        self._brains = ReplicaTable(AppWaker(brain_app_name))
        self._hands = ReplicaTable(AppWaker(hand_app_name))
        self._tables = TableReferences()
        self._standby: StandbyKeeper | None = None
        self._announced = Announced(SystemClock())
        self._faults = FaultReport(self._settings)
        self._metrics = MetricsKeeper()
        self._settings_json = settings_json

    async def _fleet(self) -> HostFleet:
        # Ray restarts an actor by its constructor alone, so the first call of any kind starts it.
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> HostFleet:
        longest_call = self._settings.sandbox.tool_timeout_seconds + self._settings.checkpoints.timeout_seconds
        drain_seconds = longest_call + _DRAIN_GRACE_SECONDS
        fleet = HostFleet(partial(RayHost, self._settings_json), SystemClock(), drain_seconds=drain_seconds)
        bounds = self._settings.standby
        if bounds.enabled:
            self._standby = StandbyKeeper(bounds, SystemClock(), hosts=fleet.table, announced=self._announced)
            await self._standby.start()
        wanted = self._settings.sandbox.hosts if self._settings.topology == "decoupled" else 0
        fleet.adopt(await asyncio.to_thread(host_numbers), wanted=wanted)
        keeper = HarnessKeeper(self._settings)
        await self._metrics.start()
        watching = (fleet.watch(), keeper.watch(), self._metrics.save_forever())
        self._watching = [asyncio.create_task(each) for each in watching]
        if self._standby is not None:
            self._watching.append(asyncio.create_task(self._standby.watch()))
        return fleet

    async def topology(self) -> Reply:
        """Return the topology of the platform that this fleet belongs to."""
        return Reply(self._settings.topology)

    # -- sandbox hosts ---------------------------------------------------------------------------

    async def hosts(self) -> Reply:
        """Return where each host is, as far as is known."""
        return await reply_of(self._hosts())

    async def _hosts(self) -> HostTable:
        kept = (await self._fleet()).table()
        if not self._settings.has_monolith:
            return kept
        announced = self._announced.hosts.table()
        if self._settings.standby.enabled:
            # Its replicas give their own sessions' calls to their hosts themselves; nobody else is to choose them.
            announced = {name: replace(place, leaving=True) for name, place in announced.items()}
        return {**kept, **announced}

    async def ready(self) -> Reply:
        """Return the hosts' names once every one of them answers and none is leaving."""
        return Reply(await (await self._fleet()).ready())

    async def take_metrics(self, process: str, recorded: Recorded) -> Reply:
        """Take what a process has recorded; it says so again every few seconds."""
        await self._fleet()
        self._metrics.take(process, recorded)
        return Reply(True)

    async def metrics(self) -> Reply:
        """Return what all processes have recorded together, those that are gone included."""
        await self._fleet()
        try:
            return Reply(self._metrics.totals())
        except Unavailable as error:
            return Reply(error=error)

    async def stats(self) -> Reply:
        """Return what each host said of itself last."""
        return Reply({**(await self._fleet()).figures(), **self._announced.hosts.figures()})

    async def scale_hosts(self, count: int) -> Reply:
        """See that there are *count* hosts; those that are too many leave, in the background."""
        return Reply((await self._fleet()).scale(count))

    async def replace_host(self, name: str) -> Reply:
        """Let a host finish its calls and start it anew, with this fleet's settings; returns when it is up."""
        return await reply_of((await self._fleet()).replace(name))

    # -- replicas of brains and hands ------------------------------------------------------------

    async def register_brain(self, replica: str, endpoint: Endpoint, brain: str = DEFAULT_BRAIN) -> Reply:
        """See ReplicaTable.register."""
        self._brains.register(replica, endpoint, brain)
        return Reply(True)

    async def unregister_brain(self, replica: str) -> Reply:
        """See ReplicaTable.unregister."""
        self._brains.unregister(replica)
        return Reply(True)

    async def brains(self, wanted: Sequence[str] = ()) -> Reply:
        """See ReplicaTable.endpoints."""
        return Reply(self._brains.endpoints(wanted))

    async def brain_faults(self, brains: Sequence[str]) -> Reply:
        """Return why those of *brains* that have no replica have none (``actors.replica_faults``)."""
        return await reply_of(self._faults.faults(brains))

    async def register_hand(self, replica: str, endpoint: Endpoint, hand: str) -> Reply:
        """See ReplicaTable.register."""
        self._hands.register(replica, endpoint, hand)
        return Reply(True)

    async def unregister_hand(self, replica: str) -> Reply:
        """See ReplicaTable.unregister."""
        self._hands.unregister(replica)
        return Reply(True)

    async def hands(self, wanted: Sequence[str] = ()) -> Reply:
        """See ReplicaTable.endpoints."""
        return Reply(self._hands.endpoints(wanted))

    async def hand_faults(self, hands: Sequence[str]) -> Reply:
        """Return why those of *hands* that have no replica have none."""
        return await reply_of(self._faults.hand_faults(hands))

    async def keep_table(self, handle: str, principal: str, reference: list[Any]) -> Reply:
        """See TableReferences.keep."""
        self._tables.keep(handle, principal, reference)
        return Reply(True)

    async def table(self, handle: str, principal: str) -> Reply:
        """See TableReferences.find."""
        return Reply(self._tables.find(handle, principal))

    # -- replicas of the monolith ----------------------------------------------------------------

    async def announce(self, announcement: Announcement) -> Reply:
        """Take note of a replica; it says so again every few seconds for as long as it lives."""
        self._announced.take(announcement)
        # What a standby has is for its own sessions: those of the parts must not depend on it.
        brains = {} if self._settings.standby.enabled else announcement.brains
        for brain, endpoint in brains.items():
            await self.register_brain(f"{announcement.host.incarnation}/{brain}", endpoint, brain)
        hands = {} if self._settings.standby.enabled else announcement.hands
        for hand, endpoint in hands.items():
            await self.register_hand(f"{announcement.host.incarnation}/{hand}", endpoint, hand)
        return Reply(True)

    async def withdraw(self, announcement: Announcement) -> Reply:
        """Take note that a replica is about to end."""
        self._announced.drop(announcement.name, announcement.host.incarnation)
        for brain in announcement.brains:
            await self.unregister_brain(f"{announcement.host.incarnation}/{brain}")
        for hand in announcement.hands:
            await self.unregister_hand(f"{announcement.host.incarnation}/{hand}")
        return Reply(True)

    async def sessions(self, name: str) -> Reply:
        """Return where a replica's sessions are asked for."""
        try:
            return Reply(self._announced.sessions(name))
        except Unavailable as error:
            return Reply(error=error)

    # -- the standby -----------------------------------------------------------------------------

    async def report_path(self, harness: str, report: PathReport) -> Reply:
        """Take what a harness has seen of brains and hands."""
        (await self._breaker()).take(harness, report)
        return Reply(True)

    async def standby(self) -> Reply:
        """Return where new sessions go, and why (``StandbyReport``)."""
        return Reply((await self._breaker()).report())

    async def force_topology(self, mode: Forced | None) -> Reply:
        """Send all new sessions one way; None lets the breaker decide."""
        return Reply(await (await self._breaker()).force(mode))

    async def _breaker(self) -> StandbyKeeper:
        await self._fleet()
        assert self._standby is not None, "a platform without a standby asks for none"
        return self._standby

    # -- life ------------------------------------------------------------------------------------

    async def stop(self) -> Reply:
        """Let every host end its sandboxes, then end the hosts."""
        fleet = await self._fleet()
        for watching in self._watching:
            watching.cancel()
        await self._brains.close()
        await self._hands.close()
        await fleet.stop()
        return Reply(True)
