"""Hands in this process, for a monolith and for trying things out: the same calls without replicas between."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from agents.hands.deployed.loading import HandUnusable, check_secrets, load_apart
from agents.hands.deployed.records import HandRecords, HandVersion
from agents.hands.deployed.registry import HandRegistry
from agents.hands.deployed.running_hand import RunningHand
from agents.hands.deployed.source import unpack
from agents.hands.deployed.table_shelf import MemoryShelf
from agents.hands.servers.port import (
    Caller,
    Offer,
    ServerCall,
    ServerLost,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)


class LocalHands:
    """The ToolServers of hands that run where they are called; each starts with its first call."""

    def __init__(self, records: HandRecords, sources: Path) -> None:
        """*sources* is where their code is unpacked."""
        self._records = records
        self._sources = sources
        self.registry = HandRegistry(records)
        self._starting: dict[str, asyncio.Task[RunningHand]] = {}
        self._shelf = MemoryShelf()
        self._incarnation = f"local-{secrets.token_hex(8)}"
        """Names this process: what it remembers of calls dies with it."""

    def start(self) -> None:
        """Begin to follow which hands there are; needs a running event loop."""
        self.registry.start()

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        hand = await self.registry.find(server.url, caller)
        if hand.tools is not None:
            return Offer(hand.tools, hand.id)
        tools = (await self._running(hand)).tools
        await self._records.settle_tools(hand.id, tools)
        return Offer(tools, hand.id)

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        hand = await self.registry.called(call, caller)
        if call.again and call.intent != self._incarnation:
            raise ServerLost(f"hand {hand.id}: the process that ran it is gone")
        running = await self._running(hand)
        if call.intend is not None:
            await call.intend(self._incarnation)
        return await running.call(call, caller)

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        del server, hand
        return self._incarnation

    async def find(self, hand: str) -> RunningHand:
        """Return the hand with an id, running. Raises VersionMismatch, ServerUnreachable."""
        return await self._running(await self.registry.get(hand))

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        for call in calls:
            starting = self._starting.get(call.hand)
            if starting is not None and starting.done() and starting.exception() is None:
                starting.result().cancel([(caller.session_id, call.call_id)])

    async def _running(self, hand: HandVersion) -> RunningHand:
        starting = self._starting.get(hand.id)
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception() is not None)):
            starting = self._starting[hand.id] = asyncio.create_task(self._start(hand))
        try:
            return await asyncio.shield(starting)
        except HandUnusable as error:
            raise ServerUnreachable(f"hand {hand.id} cannot start: {error.message}") from error

    async def _start(self, hand: HandVersion) -> RunningHand:
        definition = hand.definition
        if definition.runtime_env.pip:
            raise HandUnusable("runtime_env.pip: is not installed for hands of a monolith; install it beside hecaton")
        _set_variables(definition.runtime_env.env_vars)
        check_secrets(definition.secrets)
        directory = None
        if hand.source:
            archive = await self._records.source(hand.source)
            directory = await asyncio.to_thread(unpack, archive, hand.source, self._sources)
        server = await asyncio.to_thread(load_apart, definition.server, directory)
        running = RunningHand(hand.id, server, definition, self._shelf)
        await running.start()
        return running

    async def close(self) -> None:
        """See ToolServers.close."""
        await self.registry.close()
        started = await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(each.aclose() for each in started if isinstance(each, RunningHand)))


def _set_variables(variables: dict[str, str]) -> None:
    """Set what a hand asks for. Hands share this process: two that want one variable otherwise can not both run."""
    for name, value in variables.items():
        if os.environ.setdefault(name, value) != value:
            raise HandUnusable(f"runtime_env.env_vars: {name} has another value in this process")
