"""Whether anybody answers at the server's one address, asked several times a second.

Without a key the gateway refuses with 401: an answer, whoever gave it. A refused connection, a connection
that breaks, and the proxy's own 404 or 500 (no gateway is known to it) are none. An answer that takes
longer than a moment says nothing about the proxy: a stopped gateway keeps its connections.
"""

from __future__ import annotations

import asyncio
import time

import httpx2

from tests.chaos.record import Outage

_EVERY_SECONDS = 0.2
_ANSWER_SECONDS = 1.0
_REFUSED = 401


class Probe:
    """Asks until it is stopped; ``outages`` grows as it goes."""

    def __init__(self, url: str) -> None:
        self.outages: list[Outage] = []
        self._url = f"{url}/v1/agents"
        self._dead: Outage | None = None

    @property
    def answered(self) -> bool:
        """Whether somebody answered when it last was known."""
        return self._dead is None

    async def run(self) -> None:
        timeout = httpx2.Timeout(_ANSWER_SECONDS)
        limits = httpx2.Limits(max_keepalive_connections=0)
        async with httpx2.AsyncClient(timeout=timeout, limits=limits, trust_env=False) as http:
            while True:
                began = time.time()
                try:
                    answered = (await http.get(self._url)).status_code == _REFUSED
                except httpx2.TimeoutException:
                    answered = None
                except httpx2.HTTPError:
                    answered = False
                self._note(began, answered)
                await asyncio.sleep(_EVERY_SECONDS)

    def _note(self, began: float, answered: bool | None) -> None:
        if answered is False and self._dead is None:
            self._dead = Outage(began, began)
            self.outages.append(self._dead)
        elif self._dead is not None:
            self._dead.until = time.time()
            self._dead = None if answered else self._dead
