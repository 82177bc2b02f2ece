"""The ToolServers of deployed hands, for a harness or a gateway: a bounded line before each hand (law 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from actors.fleet_client import ask_fleet
from actors.hand_pool import HandPool
from actors.replica_faults import Fault
from actors.replica_lookup import ReplicaLookup, Table
from agents.hands.deployed.records import HandRecords, HandVersion
from agents.hands.deployed.registry import HandRegistry
from agents.hands.servers.port import Caller, Offer, OfferedTool, ServerCall, ServerResult, ToolServer
from agents.telemetry import catalogue
from agents.telemetry.recorder import Recorder

_TABLE_SECONDS = 10.0
_FAULTS_SECONDS = 15.0


class HandClient:
    """Lists and calls the tools of hands; replicas are linked to once somebody needs their hand."""

    def __init__(self, records: HandRecords) -> None:
        self._records = records
        self.registry = HandRegistry(records)
        self._pools: dict[str, HandPool] = {}
        self._lookup = ReplicaLookup(lambda: dict(self._pools), _ask_for_replicas, _ask_for_faults)
        self._telling: set[asyncio.Task[None]] = set()

    @property
    def figures(self) -> dict[str, dict[str, int]]:
        """Replicas, running and waiting calls of each hand that was called from here, by id."""
        return {hand: pool.figures for hand, pool in self._pools.items()}

    def tell(self, recorder: Recorder) -> None:
        """Add the same to the gauges of hands, all versions of one together."""
        for hand, figures in self.figures.items():
            name = hand.partition("@")[0]
            recorder.add(catalogue.HAND_REPLICAS, figures["replicas"], name)
            recorder.add(catalogue.HAND_CALLS_RUNNING, figures["running"], name)
            recorder.add(catalogue.HAND_CALLS_WAITING, figures["waiting"], name)

    def start(self) -> None:
        """Begin to follow which hands there are; needs a running event loop."""
        self.registry.start()

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer. What a version offers is known once its first replica was asked; it never changes."""
        hand = await self.registry.find(server.url, caller)
        tools = hand.tools if hand.tools is not None else await self.tools(hand)
        return Offer(tools, hand.id)

    async def tools(self, hand: HandVersion) -> Sequence[OfferedTool]:
        """Ask a replica of *hand* what it offers, and keep it. Raises ServerUnreachable, Overloaded, Unavailable."""
        tools = await (await self._pool(hand)).tools()
        await self._records.settle_tools(hand.id, tools)
        return tools

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        hand = await self.registry.called(call, caller)
        return await (await self._pool(hand)).call(call, caller)

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        del server
        return self._pools[hand].destination() if hand in self._pools else None

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        for call in calls:
            if (pool := self._pools.get(call.hand)) is not None:
                for telling in pool.cancel([(caller.session_id, call.call_id)]):
                    self._telling.add(telling)
                    telling.add_done_callback(self._telling.discard)

    async def _pool(self, hand: HandVersion) -> HandPool:
        pool = self._pools.get(hand.id)
        if pool is not None and pool.hand.definition != hand.definition and pool.idle:
            # It runs another way from now on: more replicas, other bounds.
            del self._pools[hand.id]
            await pool.close()
            pool = None
        if pool is None:
            await self._forget_removed()
            # Looked up again: another call may have made it meanwhile.
            pool = self._pools.setdefault(hand.id, HandPool(hand, self._lookup.missed))
            self._lookup.start()
            self._lookup.missed()
        return pool

    async def _forget_removed(self) -> None:
        known = self.registry.hands
        for hand, pool in [(hand, pool) for hand, pool in self._pools.items() if hand not in known and pool.idle]:
            del self._pools[hand]
            await pool.close()

    async def close(self) -> None:
        """See ToolServers.close."""
        await self.registry.close()
        await self._lookup.close()
        for telling in self._telling:
            telling.cancel()
        await asyncio.gather(*self._telling, *(pool.close() for pool in self._pools.values()), return_exceptions=True)


def linked_hands(records: HandRecords) -> HandClient:
    """Return the way to the hands of a store, which is followed from now on; needs a running event loop."""
    client = HandClient(records)
    client.start()
    return client


async def _ask_for_replicas(wanted: Sequence[str]) -> Table:
    return await ask_fleet("hands", wanted, timeout=_TABLE_SECONDS)


async def _ask_for_faults(hands: Sequence[str]) -> Mapping[str, Fault]:
    return await ask_fleet("hand_faults", hands, timeout=_FAULTS_SECONDS)
