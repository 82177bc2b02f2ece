"""What one call of a server costs, by the contract of the hand's version or by the price book.

The price is put to the call's consumption before its result is logged, so that the log has it: a price book that
changes later changes no bill. Everything is exact until it is rounded, once, to micro-USD (half up).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from agents.economics.price_book import MICRO, PriceBook, half_up
from agents.errors import HecatonError
from agents.governance.contract import Contract, Price
from agents.hands.deployed.records import HandRecords
from agents.hands.servers.port import (
    Caller,
    Consumption,
    Offer,
    PlacedServers,
    ServerCall,
    ServerResult,
    ServerUnreachable,
    ToolServer,
)

_BYTES_PER_MB = 1_000_000
_VERSIONS = 1000
"""Versions whose price is remembered; it never changes."""
_BILLED = ("ok", "tool_error")
_FREE = Price()

ContractText = Callable[[str], Awaitable[str]]
"""Returns the contract (YAML; empty: none) of the hand's version with this id. Raises NotFound, Unavailable."""


def contract_texts(hands: HandRecords) -> ContractText:
    """Return what reads the contracts of *hands*."""

    async def text(hand: str) -> str:
        return (await hands.get(hand)).contract

    return text


def cost(price: Price, consumption: Consumption) -> tuple[int, int]:
    """Return micro-USD that a call costs its tenant, and what of it is the provider's."""
    if consumption.cached:
        exact = price.per_call * price.cached_rate
    else:
        cpu = Decimal(round(consumption.cpu_seconds * MICRO)) / MICRO
        size = Decimal(consumption.bytes_in + consumption.bytes_out) / _BYTES_PER_MB
        exact = price.per_call + price.per_cpu_second * cpu + price.per_mb * size
    whole = half_up(exact * MICRO)
    return whole, half_up(whole * price.provider_share)


class PricedServers:
    """Tool servers whose results say what the call costs: calls that were answered, be it by a tool's error."""

    def __init__(
        self, servers: PlacedServers, book: PriceBook, contract: ContractText, *, repeats_are_hits: bool = False
    ) -> None:
        """*repeats_are_hits*: an answer that was given before costs what one from memory does. Where callers have a
        log that has one result of a call, it has not come to them before.
        """
        self._servers = servers
        self._book = book
        self._contract = contract
        self._repeats_are_hits = repeats_are_hits
        self._prices: OrderedDict[str, Price] = OrderedDict()

    async def offer(self, server: ToolServer, caller: Caller) -> Offer:
        """See ToolServers.offer."""
        return await self._servers.offer(server, caller)

    async def call(self, call: ServerCall, caller: Caller) -> ServerResult:
        """See ToolServers.call; a call whose price can not be known is not run."""
        price = await self._price(call)
        result = await self._servers.call(call, caller)
        if result.outcome not in _BILLED:
            return result
        used = result.consumption
        if used.repeated and self._repeats_are_hits:
            used = Consumption(bytes_in=used.bytes_in, bytes_out=used.bytes_out, cached=True, repeated=True)
        whole, provider = cost(price, used)
        return replace(result, consumption=replace(used, micro_usd=whole, provider_micro_usd=provider))

    def destination(self, server: ToolServer, hand: str) -> str | None:
        """See PlacedServers.destination."""
        return self._servers.destination(server, hand)

    def cancel(self, calls: Sequence[ServerCall], caller: Caller) -> None:
        """See ToolServers.cancel."""
        self._servers.cancel(calls, caller)

    async def close(self) -> None:
        """See ToolServers.close."""
        await self._servers.close()

    async def _price(self, call: ServerCall) -> Price:
        if not call.hand:
            return _FREE
        if (known := self._prices.get(call.hand)) is not None:
            self._prices.move_to_end(call.hand)
            return known
        try:
            text = await self._contract(call.hand)
            contract = Contract.parse(text, call.hand) if text else None
        except HecatonError as error:
            raise ServerUnreachable(f"the price of {call.hand} can not be read: {error.message}") from error
        # What was agreed counts, also that it is nothing; the book is for hands whose contract names no price.
        agreed = contract.price if contract is not None and "price" in contract.model_fields_set else None
        self._prices[call.hand] = price = agreed or self._book.hand(call.hand) or _FREE
        if len(self._prices) > _VERSIONS:
            self._prices.popitem(last=False)
        return price
