"""A harness's view of the sandbox hosts: where they are, the links to them, and which incarnations are gone.

Invariants: a link leads to one incarnation for life. An incarnation is taken for gone when its machine refuses the
connection (nobody listens on that port any more), or when the fleet, asked after the incarnation was heard of,
says so; never because it is silent. What is gone is never asked again, and what refused a call gets no new ones,
however old the table.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from actors.link_client import LinkClient, LinkDown, LinkLost
from actors.link_server import Endpoint
from agents.errors import Unavailable
from agents.hands.incarnation import host_of
from agents.hands.placement import HostPlace, HostState, HostTable, is_gone

_TABLE_AGE_SECONDS = 5.0
_LOOK_SECONDS = 0.25
_REMEMBERED = 1000


class IncarnationGone(Exception):
    """That life of a host is over."""


class HostLinks:
    """Links to the hosts' present incarnations; the table that *ask* returns is asked for no oftener than needed."""

    def __init__(self, ask: Callable[[], Awaitable[HostTable]]) -> None:
        self._ask = ask
        self._table: dict[str, HostPlace] = {}
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._links: dict[str, LinkClient] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._leaving: OrderedDict[str, None] = OrderedDict()

    # -- the table -------------------------------------------------------------------------------

    def table(self) -> HostTable:
        """Return what is known now, without waiting; an old table is asked for anew in the background."""
        if asyncio.get_running_loop().time() - self._asked_at > _TABLE_AGE_SECONDS:
            self._ask_again()
        return self._table

    async def fresh_table(self) -> HostTable:
        """Return a table that was asked for just now, or the last one there was. Raises Unavailable."""
        if asyncio.get_running_loop().time() - self._asked_at > _LOOK_SECONDS:
            try:
                await asyncio.shield(self._ask_again())
            except Unavailable:
                if not self._table:
                    raise
        return self._table

    def _ask_again(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._refresh())
            self._asking.add_done_callback(_heard)
        return self._asking

    async def _refresh(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        table = await self._ask()
        self._asked_at = asked_at
        self._table = {name: self._as_seen_here(place) for name, place in table.items()}
        present = {place.incarnation for place in self._table.values()}
        for incarnation in [each for each, link in self._links.items() if each not in present and link.ended]:
            del self._links[incarnation]

    def _as_seen_here(self, place: HostPlace) -> HostPlace:
        """What is known here to be gone or to leave does so, even if the fleet has not said it yet."""
        if place.incarnation in self._gone:
            return replace(place, state=HostState.REPLACED, incarnation=None)
        return replace(place, leaving=True) if place.incarnation in self._leaving else place

    def note_leaving(self, incarnation: str) -> None:
        """Keep new calls away from an incarnation that has refused one: it takes none any more."""
        self._note(self._leaving, incarnation)

    def _note(self, known: OrderedDict[str, None], incarnation: str) -> None:
        known[incarnation] = None
        while len(known) > _REMEMBERED:
            known.popitem(last=False)
        self._table = {name: self._as_seen_here(place) for name, place in self._table.items()}

    # -- links -----------------------------------------------------------------------------------

    async def call(self, incarnation: str, method: str, args: tuple[Any, ...], *, timeout: float) -> None:
        """Have a host do what it may do twice; made again when the link breaks. Raises IncarnationGone, Unavailable."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    link = await self.link(incarnation)
                    with suppress(LinkDown, LinkLost):
                        return await link.call("call", method, args, timeout=timeout)
        except TimeoutError:
            raise Unavailable(f"the sandbox host {incarnation} did not answer within {timeout:g} s") from None

    async def link(self, incarnation: str) -> LinkClient:
        """Return an open link, however long it takes. Raises IncarnationGone."""
        since = asyncio.get_running_loop().time()
        while incarnation not in self._gone:
            if (link := self._linked(incarnation)) is not None:
                try:
                    await link.connect()
                    return link
                except LinkDown:
                    if isinstance(link.failure, ConnectionRefusedError):
                        self._note(self._gone, incarnation)
                        break
            await self._judge(incarnation, since)
            await asyncio.sleep(_LOOK_SECONDS)
        raise IncarnationGone

    def _linked(self, incarnation: str) -> LinkClient | None:
        link = self._links.get(incarnation)
        if link is not None and not link.ended:
            return link
        place = self._table.get(host_of(incarnation))
        if place is None or place.incarnation != incarnation or place.address is None:
            return None
        link = self._links[incarnation] = _link_to(incarnation, place.address)
        return link

    async def _judge(self, incarnation: str, since: float) -> None:
        """Ask the fleet whether that life, known *since* then, is over."""
        try:
            table = await self.fresh_table()
        except Unavailable:
            return
        if self._asked_at >= since and is_gone(table, incarnation):
            self._note(self._gone, incarnation)


def _link_to(incarnation: str, address: Endpoint) -> LinkClient:
    async def find() -> Endpoint:
        return address

    return LinkClient(f"sandbox host {incarnation}", find, reopen=False)


def _heard(asking: asyncio.Task[None]) -> None:
    """Take note of a failure: whoever waits for the table hears of it, and nobody has to wait."""
    if not asking.cancelled():
        asking.exception()
