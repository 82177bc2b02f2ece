"""The replicas of one hand, as one harness or gateway sees them: links, places, and the line before them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from actors.link_client import LinkDown, LinkLost
from actors.link_server import Endpoint
from actors.replica_faults import Fault, KnownFault
from actors.replica_links import ReplicaLinks
from agents.brains.fair_queue import FairQueue
from agents.errors import HecatonError, Overloaded, Unavailable
from agents.hands.call_memory import CANCELLED, Key
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.bounded import GRACE_SECONDS
from agents.hands.servers.port import (
    Caller,
    OfferedTool,
    ServerCall,
    ServerLost,
    ServerResult,
    ServerUnreachable,
)

_ASK_SECONDS = 10.0
_START_SECONDS = 120.0
_MOST_RETRY_SECONDS = 30.0
_SMOOTHING = 0.2


class HandPool:
    """Calls a hand on the replica that has the least under way."""

    def __init__(self, hand: HandVersion, missed: Callable[[], None]) -> None:
        """*missed* is called when replicas should be looked for at once."""
        self.hand = hand
        definition = hand.definition
        self._most = definition.concurrency
        self._fault = KnownFault()
        self._places = FairQueue(
            0,
            most_waiting=definition.queue,
            patience=definition.deadline_seconds,
            why=self._fault.why,
            refusal=self._refusal,
            what="call",
        )
        self._links = ReplicaLinks(f"hand {hand.id}", missed=missed, changed=self._count_places)
        self._missed = missed
        self._sent: dict[Key, str] = {}
        self._taking: dict[Key, asyncio.Task[None]] = {}
        self._seconds = 1.0
        self._turn = 0

    @property
    def figures(self) -> dict[str, int]:
        """Replicas that can be asked, calls that have a place and calls that wait for one."""
        return {"replicas": len(self._links.usable), "running": self._places.taken, "waiting": self._places.waiting}

    @property
    def idle(self) -> bool:
        """Whether nobody calls it."""
        return not self._places.taken and not self._places.waiting

    @property
    def lacks(self) -> bool:
        """Whether calls wait while there is no replica."""
        return bool(self._places.waiting) and not self._links.usable

    @property
    def wanted(self) -> bool:
        """Whether Serve must be asked for a replica: without a request of its own it would start none."""
        return self.hand.definition.min_replicas == 0 and self.lacks

    # -- calls -----------------------------------------------------------------------------------

    def destination(self) -> str | None:
        """Name the replica that a new call would go to; None when it would have to wait."""
        free = [name for name in self._links.usable if self._has_room(name)] if self._places.free else []
        # In turns: many calls may be told where to go before the first of them goes.
        self._turn += 1
        return free[self._turn % len(free)] if free else None

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call."""
        deadline = min(call.deadline, self.hand.definition.deadline_seconds)
        if call.again:
            return await self._recalled(call, caller, deadline)
        if self._places.full:
            # First of all: what refusing costs, an overload takes from the calls that are served.
            raise self._refusal(f"{self.hand.definition.queue} calls wait already")
        began = asyncio.get_running_loop().time()
        while True:
            try:
                result, waited = await self._placed(call, caller, began, deadline)
            except _NotSent:
                continue  # its replica went away first; the next place is on another one
            except _CalledOff:
                return ServerResult.error(call.call_id, CANCELLED, "cancelled")
            used = result.consumption
            self._seconds += _SMOOTHING * (used.run_seconds - self._seconds)
            return replace(result, consumption=replace(used, queue_seconds=used.queue_seconds + waited))

    async def _placed(
        self, call: ServerCall, caller: Caller, began: float, deadline: float
    ) -> tuple[ServerResult, float]:
        """Return the result of a call that *began* then to wait for a place, and how long it did."""
        loop, key = asyncio.get_running_loop(), (caller.session_id, call.call_id)
        async with self._place(key, caller.principal, max(0.0, began + deadline - loop.time())):
            waited = loop.time() - began
            left = replace(call, deadline=max(0.0, deadline - waited))
            replica = self._chosen(call.intent)
            if call.intend is not None:
                await call.intend(replica)
            return await self._send(replica, left, caller), waited

    async def _send(self, replica: str, call: ServerCall, caller: Caller) -> ServerResult:
        if not self._links.open(replica):
            raise _NotSent
        key = (caller.session_id, call.call_id)
        self._sent[key] = replica
        sent = replace(call, intend=None)
        try:
            return await self._links[replica].call(
                "call", "call_tool", (self.hand.id, sent, caller), timeout=call.deadline + GRACE_SECONDS
            )
        except LinkDown as error:
            raise _NotSent from error
        except LinkLost as error:
            raise ServerLost(f"hand {self.hand.id}: its replica was lost in mid-call: {error.message}") from error
        except (ServerLost, Overloaded):
            raise
        except Unavailable as error:
            # A fault inside the replica: the tool may have run.
            raise ServerLost(f"hand {self.hand.id}: {error.message}") from error
        finally:
            self._sent.pop(key, None)

    async def _recalled(self, call: ServerCall, caller: Caller, deadline: float) -> ServerResult:
        """Ask the replica that the call was meant for, and no other: it has had it, or nobody has.

        It waits for no place: what runs there holds one, and what has ended needs none.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + min(deadline, _ASK_SECONDS)
        while not self._links.open(call.intent) and loop.time() < end:
            self._missed()
            await asyncio.sleep(0.1)
        try:
            return await self._send(call.intent, replace(call, deadline=deadline), caller)
        except _NotSent:
            raise ServerLost(f"hand {self.hand.id}: the replica that it was sent to is gone") from None

    @asynccontextmanager
    async def _place(self, key: Key, principal: str, patience: float) -> AsyncGenerator[None]:
        """Hold a place on some replica. Raises _CalledOff, Overloaded, ServerUnreachable."""
        if not self._links.usable:
            self._missed()
            if self._fault.given_up:
                raise self._given_up()
        async with AsyncExitStack() as held:
            place = self._places.place(principal, patience=patience)
            taking = self._taking[key] = asyncio.create_task(held.enter_async_context(place))
            try:
                await taking
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                raise _CalledOff from None
            finally:
                del self._taking[key]
            yield

    def _has_room(self, replica: str) -> bool:
        return self._links[replica].under_way < self._most

    def _chosen(self, intent: str) -> str:
        """Return the replica of the ledger's intent while it has room, else the best one."""
        return intent if intent in self._links.usable and self._has_room(intent) else self._least_busy()

    def _least_busy(self) -> str:
        usable = self._links.usable
        if not usable:
            raise _NotSent
        return min(usable, key=lambda name: self._links[name].under_way)

    def cancel(self, keys: Iterable[Key]) -> Sequence[asyncio.Task[Any]]:
        """Stop these calls, wherever they are; returns what does so. One that is not known here is told to all."""
        told: dict[str, list[Key]] = {}
        for key in keys:
            if (taking := self._taking.get(key)) is not None:
                taking.cancel()
                continue
            for replica in [self._sent[key]] if key in self._sent else self._links.reached:
                told.setdefault(replica, []).append(key)
        return [asyncio.create_task(self._tell_cancelled(replica, chosen)) for replica, chosen in told.items()]

    async def _tell_cancelled(self, replica: str, keys: Sequence[Key]) -> None:
        # When the replica is gone, its calls are gone with it.
        with suppress(KeyError, HecatonError):
            await self._links[replica].call("call", "cancel", (self.hand.id, keys), timeout=_ASK_SECONDS)

    async def tools(self) -> Sequence[OfferedTool]:
        """Ask a replica what the hand offers; it is woken for that. Raises ServerUnreachable, Overloaded."""
        async with self._places.place("", patience=_START_SECONDS):
            try:
                replica = self._least_busy()
                return await self._links[replica].call("call", "tools", (self.hand.id,), timeout=_ASK_SECONDS)
            except _NotSent:
                raise ServerUnreachable(f"hand {self.hand.id}: its replica went away", retry_after=1.0) from None
            except Unavailable as error:
                raise ServerUnreachable(f"hand {self.hand.id}: {error.message}", retry_after=1.0) from error

    # -- refusing --------------------------------------------------------------------------------

    def _refusal(self, message: str) -> HecatonError:
        if not self._links.usable:
            return ServerUnreachable(f"hand {self.hand.id}: {message}", retry_after=1.0)
        ahead = self._places.waiting / max(1, self._most * len(self._links.usable))
        # Not all at one moment: whoever is refused together would come back together.
        seconds = min(_MOST_RETRY_SECONDS, max(0.1, ahead * self._seconds) * random.uniform(1.0, 2.0))  # noqa: S311 - spreads callers, hides nothing
        return Overloaded(f"hand {self.hand.id}: {message}", retry_after=round(seconds, 3))

    def _given_up(self) -> ServerUnreachable:
        return ServerUnreachable(f"hand {self.hand.id} cannot start: {self._fault.said}")

    # -- replicas --------------------------------------------------------------------------------

    def learn(self, table: Mapping[str, Endpoint]) -> None:
        """Open links to the replicas that are new."""
        self._links.learn(table)

    def learn_fault(self, fault: Fault | None) -> None:
        """Take note of why there is no replica; who waits for one that will never be there fails at once."""
        if self._links.usable:
            return
        self._fault.learn(fault)
        if fault is not None and fault[0]:
            self._places.refuse(self._given_up)

    def tell_waiting(self) -> None:
        """Tell each replica its share of what waits here, if their number is steered by load."""
        if self.hand.definition.steered:
            self._links.tell_waiting(self._places.waiting)

    def _count_places(self) -> None:
        usable = self._links.usable
        self._places.resize(self._most * len(usable))
        if usable:
            self._fault.learn(None)

    async def close(self) -> None:
        """Hang up."""
        await self._links.close()


class _CalledOff(Exception):
    """The call was cancelled while it waited for a place."""


class _NotSent(Exception):
    """The call had a place, and has not left this process: the replica was gone."""
