"""The harness's Brain: links to the replicas of the brain deployment, least busy first (law 7).

Requests wait in line for a free place (``agents.brains.fair_queue``), also while there is no replica at all:
one that is lost, drains or is replaced costs its requests a moment, not a failure.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from actors.fleet_client import ask_fleet
from actors.link_client import LinkClient, LinkDown, LinkLost
from actors.link_server import Endpoint
from agents.brains.fair_queue import FairQueue
from agents.brains.port import BrainFailure, BrainLost, BrainRequest
from agents.config import Settings
from agents.errors import Unavailable

logger = logging.getLogger(__name__)

_TABLE_SECONDS = 10.0
_TABLE_AGE_SECONDS = 5.0
_SEARCH_SECONDS = 0.25
_DEAD_SECONDS = 2.0
# Ten seconds: another replica can do the work, but on a busy machine silence that is shorter proves nothing.
_BEATS = 5
# The replica itself ends a request at its deadline; this much later it is not waited for.
_GRACE_SECONDS = 15.0


class BrainClient:
    """Thinks on whichever replica has the least under way; of equals, on the one that knows the session."""

    def __init__(self, settings: Settings) -> None:
        brain = settings.brain
        self._most = brain.max_ongoing_requests
        self._timeout = brain.waiting_timeout_seconds + brain.request_timeout_seconds + _GRACE_SECONDS
        self._places = FairQueue(0, most_waiting=brain.max_waiting_requests, patience=brain.waiting_timeout_seconds)
        self._links: dict[str, LinkClient] = {}
        self._opening: dict[str, asyncio.Task[None]] = {}
        self._missed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def figures(self) -> dict[str, int]:
        """Replicas that can be asked, and requests that have a place and that wait for one."""
        return {
            "brain_replicas": len(self._usable()),
            "model_requests": self._places.taken,
            "model_requests_waiting": self._places.waiting,
        }

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See Brain.think."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_for_replicas())
        async with self._places.place(request.principal):
            link = self._choose(request.session_id)
            try:
                async with aclosing(link.stream("think", request, timeout=self._timeout)) as batches:
                    async for batch in batches:
                        for event in batch:
                            yield event
            except (LinkLost, LinkDown) as error:
                raise BrainLost(error.message) from error
            except Unavailable as error:
                raise BrainFailure("request_failed", f"the brain failed: {error.message}", transient=True) from error

    def _usable(self) -> list[str]:
        return [name for name, link in self._links.items() if link.open and not link.draining]

    def _choose(self, session_id: str) -> LinkClient:
        free = [name for name in self._usable() if self._links[name].under_way < self._most]
        if not free:
            raise BrainLost("the brain replica went away")

        def preference(name: str) -> tuple[int, bytes]:
            # Affinity is a hint: a replica may hold the session's prefix, but load decides first.
            return self._links[name].under_way, hashlib.blake2b(f"{name}/{session_id}".encode()).digest()

        return self._links[min(free, key=preference) if len(free) > 1 else free[0]]

    # -- replicas --------------------------------------------------------------------------------

    async def _look_for_replicas(self) -> None:
        """Learn of replicas that come: every few seconds, at once when one is lost, often while there is none."""
        while True:
            self._missed.clear()
            try:
                table: dict[str, Endpoint] = await ask_fleet("brains", timeout=_TABLE_SECONDS)
            except Unavailable as error:
                # The replicas already known serve on while the fleet restarts.
                logger.warning("no news of brain replicas: %s", error.message)
                table = {}
            for name, endpoint in table.items():
                if name not in self._links and name not in self._opening:
                    opening = self._opening[name] = asyncio.create_task(self._open(name, endpoint))
                    opening.add_done_callback(lambda _, name=name: self._opening.pop(name, None))
            await asyncio.sleep(_SEARCH_SECONDS)
            if self._usable():
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TABLE_AGE_SECONDS):
                        await self._missed.wait()

    async def _open(self, name: str, endpoint: Endpoint) -> None:
        async def find() -> Endpoint:
            return endpoint

        # A replica has one endpoint for life: when its link breaks it is gone, or is found in the table again.
        link = LinkClient(
            f"brain replica {name}",
            find,
            on_message=lambda _: self._count_places(),
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
        self._count_places()

    def _lost(self, name: str) -> None:
        self._links.pop(name, None)
        self._count_places()

    def _count_places(self) -> None:
        usable = self._usable()
        self._places.resize(self._most * len(usable))
        if len(usable) < len(self._links) or not usable:
            self._missed.set()

    async def close(self) -> None:
        """Hang up."""
        tasks = [task for task in (self._looking, *self._opening.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(link.close() for link in tuple(self._links.values())))
