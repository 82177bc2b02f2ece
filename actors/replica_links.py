"""The links to the replicas of one application, from whoever sends them its requests past Serve (docs/adr/0007).

A replica is usable while its link is open and neither end has said that it takes nothing now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from actors.brain_load import ABLE, WAITING
from actors.link_client import LinkClient
from actors.link_server import Endpoint
from actors.message_stream import Message
from agents.errors import Unavailable

_DEAD_SECONDS = 2.0
# Ten seconds: another replica can do the work, but on a busy machine silence that is shorter proves nothing.
_BEATS = 5


class ReplicaLinks:
    """Opens links to replicas that are told of, and keeps who of them can be asked."""

    def __init__(
        self,
        what: str,
        *,
        missed: Callable[[], None],
        changed: Callable[[], None],
        opened: Callable[[str, LinkClient], None] = lambda _name, _link: None,
        lost: Callable[[str], None] = lambda _: None,
        told: Callable[[str, Message], None] = lambda _name, _message: None,
    ) -> None:
        """*what* names a replica in errors. *missed* is called when replicas should be looked for at once, *changed*
        when others are usable than before, *opened* and *lost* with each replica, *told* with its own messages."""
        self._what = what
        self._missed = missed
        self._changed = changed
        self._on_opened = opened
        self._on_lost = lost
        self._on_told = told
        self._links: dict[str, LinkClient] = {}
        self._away: set[str] = set()
        self._opening: dict[str, asyncio.Task[None]] = {}

    def __getitem__(self, name: str) -> LinkClient:
        return self._links[name]

    @property
    def reached(self) -> list[str]:
        """Replicas whose link is open, and that do not drain."""
        return [name for name, link in self._links.items() if link.open and not link.draining]

    def open(self, name: str) -> bool:
        """Whether a replica can be asked for what it has: also one that drains."""
        return name in self._links and self._links[name].open

    @property
    def usable(self) -> list[str]:
        """Those of them that take requests now."""
        return [name for name in self.reached if name not in self._away]

    def learn(self, table: Mapping[str, Endpoint]) -> None:
        """Open links to the replicas that are new."""
        for name, endpoint in table.items():
            if name not in self._links and name not in self._opening:
                opening = self._opening[name] = asyncio.create_task(self._open(name, endpoint))
                opening.add_done_callback(lambda _, name=name: self._opening.pop(name, None))

    def tell_waiting(self, waiting: int) -> None:
        """Tell each replica its share of what waits here for any of them, where it counts as load."""
        # Also one that can take nothing just now: what waits for it is no reason to end it.
        reached = self.reached
        for name in reached:
            self._links[name].post(WAITING, waiting / len(reached))

    async def _open(self, name: str, endpoint: Endpoint) -> None:
        async def find() -> Endpoint:
            return endpoint

        # A replica has one endpoint for life: when its link breaks it is gone, or is found in the table again.
        link = LinkClient(
            f"{self._what} {name}",
            find,
            on_message=lambda message: self._told(name, message),
            on_lost=lambda: self._lost(name),
            reopen=False,
            beats=_BEATS,
        )
        try:
            await link.connect()
        except Unavailable:
            await link.close()  # why, the link has said
            # The table names a dead replica for some seconds more.
            await asyncio.sleep(_DEAD_SECONDS)
            return
        self._links[name] = link
        self._on_opened(name, link)
        self._count()

    def _told(self, name: str, message: Message) -> None:
        match message:
            case (kind, able) if kind == ABLE:
                (self._away.discard if able else self._away.add)(name)
            case ("draining", _):
                pass  # its link knows
            case _:
                self._on_told(name, message)
                return
        self._count()

    def _lost(self, name: str) -> None:
        self._links.pop(name, None)
        self._away.discard(name)
        self._on_lost(name)
        self._count()
        self._missed()

    def _count(self) -> None:
        self._changed()
        usable = self.usable
        if len(usable) < len(self._links) or not usable:
            self._missed()

    async def close(self) -> None:
        """Hang up."""
        tasks = tuple(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in tuple(self._links.values())))
