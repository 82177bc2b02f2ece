"""What is looked at before a version of a hand gets sessions: what live agents use, its own tools, its golden calls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from agents.errors import HecatonError, Unavailable
from agents.governance.compatibility import compare, uses_of
from agents.governance.contract import Contract
from agents.governance.contracts import beyond, contract_of, drafted, lacking
from agents.governance.golden import GOLDEN_CALLER, GoldenCall, replay, too_slow
from agents.hands.deployed.records import HandRecords, HandVersion
from agents.hands.servers.port import Caller, ServerCall, ServerResult, ToolServer, ToolServers
from agents.listing import Listing
from agents.store.ports import AgentRepository

_START_SECONDS = 90.0
_CALL_SECONDS = 30.0
_REPLAY_SECONDS = 240.0
_PAGE = 200


@dataclass(slots=True)
class Checks:
    """What was found. ``breaking`` stands in the way of a release; ``notes`` are told."""

    breaking: list[str] = field(default_factory=lambda: [])
    notes: list[str] = field(default_factory=lambda: [])
    replayed: int = 0
    """Golden calls that were made."""


class ReleaseChecks:
    """Looks at versions, by the catalog and by calling them."""

    def __init__(self, records: HandRecords, agents: AgentRepository, hands: ToolServers) -> None:
        self._records = records
        self._agents = agents
        self._hands = hands

    async def look(self, current: HandVersion, version: HandVersion, golden: Sequence[GoldenCall]) -> Checks:
        """Return what speaks against giving *version* sessions that *current* has now.

        Raises ServerUnreachable when it does not start, Unavailable.
        """
        checks = Checks()
        older, newer = await self._terms(current), await self._terms(version)
        if (contract := contract_of(version)) is not None:
            started = await self._started(version)
            checks.breaking += lacking(contract, started)
            checks.notes += beyond(contract, started)
        if current.id != version.id:
            uses = uses_of(version.name, older.tools, await live_agents(self._agents))
            for finding in compare(older, newer, uses):
                (checks.breaking if finding.breaking else checks.notes).append(finding.text)
        if golden:
            await self._replay(version, golden, newer, checks)
        else:
            checks.notes.append("no golden calls were given, and none were made")
        return checks

    async def _terms(self, hand: HandVersion) -> Contract:
        """Return the contract of a version; without one, what it says of its tools itself."""
        contract = contract_of(hand)
        if contract is not None:
            return contract
        started = await self._started(hand)
        return drafted(hand.name, hand.version, started.tools or ())

    async def _started(self, hand: HandVersion) -> HandVersion:
        """Return a version with what it offers, which needs a replica that runs unless it is known already."""
        if hand.tools is None:
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await self._hands.offer(ToolServer(hand.name, hand.url), Caller(""))
            except TimeoutError:
                raise Unavailable(f"hand {hand.id} did not start within {_START_SECONDS:g} s") from None
        return await self._records.get(hand.id)

    async def _replay(
        self, hand: HandVersion, golden: Sequence[GoldenCall], contract: Contract, checks: Checks
    ) -> None:
        # It works on the data that it will work on: what would change that for good is left to `hecaton hands test`.
        calls = [call for call in golden if call.tool not in contract.tools or contract.tools[call.tool].repeatable]
        if left_out := len(golden) - len(calls):
            checks.notes.append(f"{left_out} golden calls of destructive tools were left out")
        caller = Caller(f"{GOLDEN_CALLER}{uuid4().hex}")

        async def ask(call: GoldenCall, number: int) -> ServerResult:
            server = ToolServer(hand.name, hand.url)
            made = ServerCall(f"golden-{number}", server, call.tool, call.input, _CALL_SECONDS, hand.id)
            try:
                return await self._hands.call(made, caller)
            except HecatonError as error:
                return ServerResult.error(made.call_id, error.message, "failed")

        try:
            async with asyncio.timeout(_REPLAY_SECONDS):
                replayed = await replay(calls, ask, contract_of(hand))
        except TimeoutError:
            checks.breaking.append(f"the golden calls were not through within {_REPLAY_SECONDS:g} s")
            return
        checks.replayed = len(replayed)
        checks.breaking += [
            f"golden call {each.call.title}: {'; '.join(each.faults)}" for each in replayed if each.faults
        ]
        if contract_of(hand) is not None and (slow := too_slow(replayed, contract)) is not None:
            checks.breaking.append(slow)


async def live_agents(agents: AgentRepository) -> list[tuple[str, dict[str, Any]]]:
    """Return the id and the newest body of every agent that is not archived. Raises Unavailable."""
    found: list[tuple[str, dict[str, Any]]] = []
    query = Listing(limit=_PAGE, order="asc")
    while True:
        page = await agents.list(query)
        found += [(agent.id, agent.body) for agent in page[:_PAGE]]
        if len(page) <= _PAGE:
            return found
        last = page[_PAGE - 1]
        query = Listing(limit=_PAGE, order="asc", after=(last.created_at, last.id))
