"""Results of hands, kept for a while: what only reads, and answers the same to the same, need not run again.

A ToolServers around another one, in each harness. A tool is kept when its hand's offer annotates it both read-only
and idempotent: by MCP's words the second says nothing about a tool that is the first, so both together are its
author's consent. Servers elsewhere are never kept: nobody tells when they change.

A result is found again under the hand's version, the tool, the input as canonical JSON, the principal and the vaults
that the call may draw on. Only what a tool returned without an error is kept. Identical calls under way share one
run. A call of any other tool of a hand ends what is kept of it, whoever made it and whatever became of it, so that a
session reads what it wrote; what is written by way of another harness, or past the platform, shows when the time of
what is kept is up.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from agents.clock import Clock
from agents.hands.servers.port import Caller, Consumption, Offer, PlacedServers, ServerCall, ServerResult, ToolServer
from agents.hands.servers.settings import HandCacheSettings

Key = tuple[str, str, bytes, str, tuple[str, ...]]
"""Hand with its version, tool, input, principal, vaults."""

_MAX_HANDS = 1024
_LARGEST_SHARE = 8
"""A result that would fill more than so much of the room (an eighth) is not kept."""
_OVERHEAD_BYTES = 500


@dataclass(slots=True)
class CacheCounts:
    """What became of calls whose results may be kept, and what is kept."""

    hits: int = 0
    """Answered from what was kept."""
    joined: int = 0
    """Answered by an identical call that was under way."""
    misses: int = 0
    evicted: int = 0
    """Kept results that went for want of room."""
    results: int = 0
    size: int = 0
    """Bytes of the kept results."""

    @property
    def figures(self) -> dict[str, int]:
        """Return them under the names that metrics have."""
        return {
            "hand_cache_hits": self.hits,
            "hand_cache_joined": self.joined,
            "hand_cache_misses": self.misses,
            "hand_cache_evicted": self.evicted,
            "hand_cache_results": self.results,
            "hand_cache_bytes": self.size,
        }


@dataclass(frozen=True, slots=True)
class _Kept:
    result: ServerResult
    size: int
    until: float
    writes: int


class CachedServers:
    """Answers calls of hands from memory where it may, and asks *servers* for the rest."""

    def __init__(
        self, servers: PlacedServers, settings: HandCacheSettings, clock: Clock, counts: CacheCounts | None = None
    ) -> None:
        """*counts* are kept up."""
        self._servers = servers
        self._settings = settings
        self._clock = clock
        self._keepable: OrderedDict[str, frozenset[str]] = OrderedDict()
        """Tools whose results may be kept, by the hand's id, as its last offer says."""
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._under_way: dict[tuple[Key, int], asyncio.Future[ServerResult]] = {}
        self._writes: dict[str, int] = {}
        """How often something may have changed, by the hand's name; what was read before that is not true any more."""
        self._counts = counts or CacheCounts()

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        offer = await self._servers.offer(server, caller)
        if offer.hand:
            keepable = frozenset(tool.name for tool in offer.tools if tool.read_only and tool.idempotent)
            self._keepable[offer.hand] = keepable
            self._keepable.move_to_end(offer.hand)
            while len(self._keepable) > _MAX_HANDS:
                self._keepable.popitem(last=False)
        return offer

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        if not call.hand or self._settings.ttl_seconds == 0:
            return await self._servers.call(call, caller)
        if call.tool not in self._keepable.get(call.hand, ()):
            return await self._write(call, caller)
        key = _key_of(call, caller)
        if key is None:
            return await self._servers.call(call, caller)
        started = self._clock.monotonic()
        if (kept := self._found(key)) is not None:
            self._counts.hits += 1
            return _answered(kept, call, 0.0)
        under_way = self._under_way.get((key, self._written(call.hand)))
        if under_way is not None:
            await asyncio.wait({under_way}, timeout=call.deadline)
            waited = self._clock.monotonic() - started
            if not under_way.done():
                return _given_up(call, waited)
            if not under_way.cancelled():
                self._counts.joined += 1
                return _answered(under_way.result(), call, waited)
            # It came to nothing that another call could have.
        self._counts.misses += 1
        return await self._run(key, call, caller)

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        return self._servers.destination(server, hand)

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel. Who has waited for one of them runs its own."""
        self._servers.cancel(calls, caller)

    async def close(self) -> None:
        """See ToolServers.close."""
        await self._servers.close()

    # -- calls that go out -----------------------------------------------------------------------

    async def _write(self, call: ServerCall, caller: Caller) -> ServerResult:
        """Run a call that may change something: neither what was read before it nor meanwhile is true after it."""
        name = _name(call.hand)
        self._writes[name] = self._writes.get(name, 0) + 1
        try:
            return await self._servers.call(call, caller)
        finally:
            self._writes[name] += 1

    async def _run(self, key: Key, call: ServerCall, caller: Caller) -> ServerResult:
        """Run a call, let others that are identical wait for it, and keep its result."""
        writes = self._written(call.hand)
        shared: asyncio.Future[ServerResult] = asyncio.get_running_loop().create_future()
        mine = self._under_way.setdefault((key, writes), shared) is shared
        try:
            result = await self._servers.call(call, caller)
            if result.outcome == "ok" and not result.is_error:
                shared.set_result(result)
                self._keep(key, result, writes)
            return result
        finally:
            shared.cancel()
            if mine:
                del self._under_way[key, writes]

    # -- what is kept ----------------------------------------------------------------------------

    def _written(self, hand: str) -> int:
        return self._writes.get(_name(hand), 0)

    def _found(self, key: Key) -> ServerResult | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= self._clock.monotonic() or kept.writes != self._written(key[0]):
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return kept.result

    def _keep(self, key: Key, result: ServerResult, writes: int) -> None:
        size = len(orjson.dumps(result.content)) + len(key[2]) + _OVERHEAD_BYTES
        if size * _LARGEST_SHARE > self._settings.max_bytes:
            return
        if key in self._kept:
            self._drop(key)
        until = self._clock.monotonic() + self._settings.ttl_seconds
        self._kept[key] = _Kept(result, size, until, writes)
        self._counts.results += 1
        self._counts.size += size
        while self._counts.size > self._settings.max_bytes:
            self._drop(next(iter(self._kept)))
            self._counts.evicted += 1

    def _drop(self, key: Key) -> None:
        self._counts.results -= 1
        self._counts.size -= self._kept.pop(key).size


def _key_of(call: ServerCall, caller: Caller) -> Key | None:
    """Return what a result is kept under; None when the input has no canonical form (half characters, huge numbers)."""
    try:
        canonical = orjson.dumps(call.input, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None
    return call.hand, call.tool, canonical, caller.principal, caller.vault_ids


def _name(hand: str) -> str:
    return hand.partition("@")[0]


def _answered(result: ServerResult, call: ServerCall, waited: float) -> ServerResult:
    """Return another call's result as that of *call*, which has run nowhere."""
    used = result.consumption
    return ServerResult(
        call.call_id,
        result.content,
        consumption=Consumption(queue_seconds=waited, bytes_in=used.bytes_in, bytes_out=used.bytes_out, cached=True),
    )


def _given_up(call: ServerCall, waited: float) -> ServerResult:
    text = f"The call was not run: an identical one, under way, gave no answer within {call.deadline:g} s."
    return ServerResult.error(call.call_id, text, "failed", Consumption(queue_seconds=waited))
