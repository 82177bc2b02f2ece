"""The harness's Brain: links to the replicas of the brain deployment, least busy first (law 7)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from typing import Any

from actors.fleet import ask_fleet
from actors.link_client import LinkClient
from actors.link_server import Endpoint
from agents.brains.port import BrainFailure, BrainRequest
from agents.config import Settings
from agents.errors import Unavailable

_TABLE_SECONDS = 10.0
_TABLE_AGE_SECONDS = 5.0


class BrainClient:
    """Thinks on whichever replica has the least under way; of equals, on the one that knows the session."""

    def __init__(self, settings: Settings) -> None:
        self._most = settings.brain.max_ongoing_requests
        self._timeout = settings.brain.request_timeout_seconds
        self._links: dict[str, LinkClient] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def think(self, request: BrainRequest) -> AsyncGenerator[dict[str, Any], None]:
        """See Brain.think."""
        try:
            link = await self._choose(request.session_id)
            if not request.live:
                asked = link.call("call", "think", (request,), timeout=self._timeout, cancels=True)
                events, failure = await asked
                for event in events:
                    yield event
                if failure is not None:
                    raise failure
                return
            batches = link.stream("think", request, timeout=self._timeout)
            try:
                async for batch in batches:
                    for event in batch:
                        yield event
            finally:
                await batches.aclose()
        except Unavailable as error:
            raise BrainFailure(
                "request_failed", f"the brain replica was lost: {error.message}", transient=True
            ) from error

    async def _choose(self, session_id: str) -> LinkClient:
        await self._refresh()
        free = [name for name, link in self._links.items() if link.under_way < self._most]
        if not free:
            busy = f"all {len(self._links)} brain replicas are busy" if self._links else "no brain replica is up"
            raise BrainFailure("overloaded", busy, transient=True)

        def preference(name: str) -> tuple[int, bytes]:
            # Affinity is a hint: a replica may hold the session's prefix, but load decides first.
            return self._links[name].under_way, hashlib.blake2b(f"{name}/{session_id}".encode()).digest()

        return self._links[min(free, key=preference) if len(free) > 1 else free[0]]

    async def _refresh(self) -> None:
        """Learn of replicas that came; forget those whose link is gone."""
        loop = asyncio.get_running_loop()
        self._links = {name: link for name, link in self._links.items() if not link.ended}
        if self._links and loop.time() - self._asked_at < _TABLE_AGE_SECONDS:
            return
        async with self._asking:
            if self._links and loop.time() - self._asked_at < _TABLE_AGE_SECONDS:
                return
            self._asked_at = loop.time()
            try:
                table = await ask_fleet("brains", timeout=_TABLE_SECONDS)
            except Unavailable:
                if self._links:
                    return  # the replicas already known serve on while the fleet restarts
                raise
            for name, endpoint in table.items():
                if name not in self._links:
                    self._links[name] = _link_to(name, endpoint)


def _link_to(name: str, endpoint: Endpoint) -> LinkClient:
    async def find() -> Endpoint:
        return endpoint

    # A replica has one endpoint for life: when its link breaks it is gone.
    return LinkClient(f"brain replica {name}", find, reopen=False)
