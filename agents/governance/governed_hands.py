"""Hands behind their contracts: what is asked keeps to the limits, what comes is counted against the promises.

It stands before the client of the hands and leaves the calls themselves to it. A session stays with its version; when
that was withdrawn it gets the one in its place if that takes all the session may ask, and is refused otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from agents.clock import Clock, SystemClock
from agents.errors import NotFound, Overloaded
from agents.governance.admission import Admission, InputRules, output_fault
from agents.governance.compatibility import compare
from agents.governance.contract import Contract
from agents.governance.contracts import contract_of, drafted
from agents.governance.golden import GOLDEN_CALLER
from agents.governance.hand_records import HandReleaseRecords
from agents.governance.hand_releases import HandReleases
from agents.governance.refused_calls import RefusedCall, RefusedCalls
from agents.hand_settings import HandDefinition
from agents.hands.deployed.records import HandVersion, hand_of
from agents.hands.deployed.registry import HandRegistry
from agents.hands.servers.port import (
    Caller,
    Consumption,
    Offer,
    OfferedTool,
    Outcome,
    PlacedServers,
    ServerCall,
    ServerLost,
    ServerResult,
    ServerUnreachable,
    ToolServer,
    VersionMismatch,
)
from agents.hands.servers.sizes import json_bytes

_UNTOUCHED = Consumption()


class FollowedHands(PlacedServers, Protocol):
    """A client of hands that follows which of them there are."""

    @property
    def registry(self) -> HandRegistry: ...


def governed(
    hands: FollowedHands, records: HandReleaseRecords, declared: Mapping[str, HandDefinition], processes: int
) -> GovernedHands:
    """Return *hands* behind their contracts; *declared* by the settings, and called by so many *processes*."""

    def known() -> Mapping[str, HandVersion]:
        return hands.registry.hands

    clock = SystemClock()
    versions = {name: definition.version for name, definition in declared.items()}
    releases = HandReleases(records, known, clock, versions, read=hands.registry.read)
    return GovernedHands(hands, known, releases, clock, processes=processes)


class GovernedHands:
    """The ToolServers of hands, with their contracts."""

    def __init__(
        self,
        hands: PlacedServers,
        known: Callable[[], Mapping[str, HandVersion]],
        releases: HandReleases,
        clock: Clock,
        *,
        processes: int = 1,
    ) -> None:
        """*known* tells the versions that there are, by id; *processes* share what contracts allow."""
        self._hands = hands
        self._known = known
        self.releases = self._releases = releases
        self._clock = clock
        self._admission = Admission(clock, processes=processes)
        self._rules = InputRules()
        self._refused = RefusedCalls()

    async def start(self) -> None:
        """Follow how sessions are dealt out. Raises Unavailable."""
        await self._releases.start()

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer: what the contract lists, with the side effects that it promises."""
        meant = self._meant(server, caller)
        offer = await self._hands.offer(server, meant)
        # A hand that nobody knew of here a moment ago may have several versions all the same.
        if (again := self._meant(server, caller)) != meant:
            offer = await self._hands.offer(server, again)
        contract = self._contract(offer.hand)
        if contract is None:
            return offer
        return replace(offer, tools=[_promised(tool, contract) for tool in offer.tools if tool.name in contract.tools])

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call. What breaks the contract is answered by what is wrong, and not run."""
        if not call.hand:
            call = replace(call, hand=(await self.offer(call.server, caller)).hand)
        contract = self._contract(call.hand)
        if contract is None:
            return await self._counted(call, caller, None)
        fault = self._rules.fault(contract, call.tool, call.input)
        if fault is not None:
            return ServerResult.error(call.call_id, f"The tool was not run: {fault}", "failed")
        # Golden calls are no callers': they neither wait for these nor take their room.
        with self._admission.admitted(contract, again=call.again or _is_golden(caller)):
            return await self._counted(call, caller, contract)

    async def _counted(self, call: ServerCall, caller: Caller, contract: Contract | None) -> ServerResult:
        """Run a call, and count how it went; one that finds no room is counted when it is back, or when it is not."""
        if _is_golden(caller):
            return _fitting(await self._hands.call(call, caller), contract)
        key, now = (caller.session_id, call.call_id), self._clock.monotonic()
        refused = self._refused.take(key)
        began = now if refused is None else refused.began
        self._count_given_up(now)
        try:
            result = _fitting(await self._hands.call(call, caller), contract)
        except Overloaded:
            self._refused.add(key, RefusedCall(call.hand, began, self._clock.monotonic()))
            raise
        except ServerUnreachable:
            self._count(call.hand, "failed", began)
            raise
        except ServerLost:
            self._count(call.hand, "ambiguous", began)
            raise
        # Who called it off, or sent what the tool does not take, says nothing of the hand.
        if result.outcome not in ("cancelled", "failed") or result.consumption != _UNTOUCHED:
            self._count(call.hand, result.outcome, began)
        return result

    def _count(self, hand: str, outcome: Outcome, began: float, ended: float | None = None) -> None:
        if hand and outcome != "cancelled":
            seconds = (self._clock.monotonic() if ended is None else ended) - began
            self._releases.count(hand, outcome, seconds)

    def _count_given_up(self, now: float) -> None:
        for call in self._refused.given_up(now):
            self._count(call.hand, "failed", call.began, call.refused_at)

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        return self._hands.destination(server, hand)

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        for call in calls:
            self._refused.take((caller.session_id, call.call_id))
        self._hands.cancel(calls, caller)

    async def close(self) -> None:
        """See ToolServers.close."""
        self._count_given_up(math.inf)
        await self._releases.close()
        await self._hands.close()

    # -- versions --------------------------------------------------------------------------------

    def _contract(self, hand: str) -> Contract | None:
        known = self._known().get(hand)
        return None if known is None else contract_of(known)

    def _meant(self, server: ToolServer, caller: Caller) -> Caller:
        """Return *caller* with the version that it gets, as far as the hand is known. Raises VersionMismatch."""
        try:
            name, pinned = hand_of(server.url)
        except NotFound as error:
            raise ServerUnreachable(error.message) from None
        versions = [hand for hand in self._known().values() if hand.name == name]
        if pinned is not None or not versions:
            return caller
        version = caller.versions.get(name)
        if version is None:
            version = self._releases.choose(name, versions, caller).version
        elif (found := self._releases.successor(name, version)) is not None:
            version, why = found
            self._check_takes_over(f"{name}@{caller.versions[name]}", f"{name}@{version}", why)
        return replace(caller, versions={**caller.versions, name: version})

    def _check_takes_over(self, kept: str, successor: str, why: str) -> None:
        before, after = (_terms(self._known()[each]) for each in (kept, successor))
        if before is None or after is None:
            return
        broken = [each.text for each in compare(before, after) if each.breaking]
        if broken:
            raise VersionMismatch(
                f"hand {kept}, which the session began with, was withdrawn ({why}), and {successor} does not take what"
                f" it took: {broken[0]}"
            )


def _terms(hand: HandVersion) -> Contract | None:
    """Return the contract of a version, or what is known of it without one."""
    contract = contract_of(hand)
    if contract is None and hand.tools:
        return drafted(hand.name, hand.version, hand.tools)
    return contract


def _is_golden(caller: Caller) -> bool:
    return caller.session_id.startswith(GOLDEN_CALLER)


def _fitting(result: ServerResult, contract: Contract | None) -> ServerResult:
    """Return a result, or the error in its place when it is larger than the contract allows: billed by that, too."""
    if contract is None or (fault := output_fault(contract, result.consumption.bytes_out)) is None:
        return result
    content = [{"type": "text", "text": fault}]
    used = replace(result.consumption, bytes_out=json_bytes(content))
    return replace(result, content=content, is_error=True, outcome="tool_error", consumption=used)


def _promised(tool: OfferedTool, contract: Contract) -> OfferedTool:
    promise = contract.tools[tool.name]
    return replace(
        tool,
        input_schema=promise.input,
        description=promise.description or tool.description,
        read_only=promise.side_effects == "none",
        idempotent=promise.repeatable,
        destructive=promise.side_effects == "destructive",
    )
