"""Delivering webhooks: at least once while the process lives, in no fixed order, and never in anybody's way.

Each endpoint has a queue of its own, so that one which does not answer holds up no other, and a message that waits for
its next attempt holds up none behind it. Queues are bounded and in memory: what does not fit, what has failed for the
last time and what is left when the process ends is logged and counted, not delivered. Receivers tell repeats by
``webhook-id``. The guard of outgoing connections (:mod:`agents.net.guard`) is asked at each connection, and redirects
are not followed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson

from agents.clock import Clock, rfc3339, within
from agents.ids import new_id
from agents.net.client import guarded_client
from agents.net.guard import Guard
from agents.webhooks.endpoint import Endpoint, signed_headers

logger = logging.getLogger(__name__)

_GONE = 410
"""A receiver that says so wants nothing more."""


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How patient a delivery is."""

    waits: tuple[float, ...] = (1.0, 5.0, 30.0, 120.0, 600.0)
    """Seconds before each further attempt, of which up to a quarter more is added by chance."""
    queued: int = 256
    """Messages that wait for one endpoint."""
    attempt_seconds: float = 15.0
    """One attempt, from looking the name up to the answer's status."""


@dataclass(slots=True)
class DeliveryCounts:
    """What became of messages, per endpoint and message."""

    delivered: int = 0
    failed: int = 0
    """After the last attempt, or left when the process ended."""
    dropped: int = 0
    """Not queued: the queue was full, or the endpoint wants nothing more."""


@dataclass(order=True, slots=True)
class _Waiting:
    due: float
    number: int
    message_id: str
    body: bytes
    attempts: int = 0


class Webhooks:
    """Sends events to all of its endpoints."""

    def __init__(
        self, endpoints: Sequence[Endpoint], guard: Guard, clock: Clock, limits: DeliveryLimits | None = None
    ) -> None:
        self.counts = DeliveryCounts()
        self._clock = clock
        self._outboxes: list[_Outbox] = []
        self._client = guarded_client(guard, headers={"user-agent": "hecaton-webhooks"}) if endpoints else None
        if self._client is not None:
            limits = limits or DeliveryLimits()
            self._outboxes = [_Outbox(each, self._client, clock, limits, self.counts) for each in endpoints]
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Deliver from now on; needs a running event loop."""
        if not self._running:
            self._running = [asyncio.create_task(each.run(), name="webhooks") for each in self._outboxes]

    def send(self, data: Mapping[str, Any]) -> None:
        """Queue an event for every endpoint; *data* says what happened, by its ``type``. Never waits or raises."""
        message_id = new_id("wevt")
        event = {"id": message_id, "type": "event", "created_at": rfc3339(self._clock.now()), "data": data}
        body = orjson.dumps(event)
        for outbox in self._outboxes:
            outbox.put(message_id, body)

    async def close(self) -> None:
        """End at once; what still waits is logged."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        for outbox in self._outboxes:
            outbox.give_up()
        if self._client is not None:
            await self._client.aclose()


class _Outbox:
    """What waits for one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        client: httpx2.AsyncClient,
        clock: Clock,
        limits: DeliveryLimits,
        counts: DeliveryCounts,
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self._clock = clock
        self._limits = limits
        self._counts = counts
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        self._news = asyncio.Event()
        self._gone = False

    def put(self, message_id: str, body: bytes) -> None:
        """Let a message wait for its first attempt."""
        if self._gone or len(self._waiting) >= self._limits.queued:
            self._counts.dropped += 1
            why = "wants nothing more" if self._gone else f"has {self._limits.queued} messages waiting"
            logger.warning("webhook %s %s: %s is dropped", self._endpoint.name, why, message_id)
            return
        self._push(_Waiting(self._clock.monotonic(), next(self._numbers), message_id, body))

    def _push(self, message: _Waiting) -> None:
        heapq.heappush(self._waiting, message)
        self._news.set()

    def give_up(self) -> None:
        """Take note that what waits is not delivered."""
        if self._waiting:
            logger.warning("webhook %s: %d messages were not delivered", self._endpoint.name, len(self._waiting))
        self._counts.failed += len(self._waiting)
        self._waiting.clear()

    async def run(self) -> None:
        """Deliver, for as long as the endpoint wants it."""
        while not self._gone:
            self._news.clear()
            if not self._waiting:
                await self._news.wait()
            elif (early := self._waiting[0].due - self._clock.monotonic()) > 0:
                await within(self._clock, early, self._news.wait())
            else:
                await self._deliver(self._waiting[0])
        self.give_up()

    async def _deliver(self, message: _Waiting) -> None:
        # It stays in the queue meanwhile: what is cancelled in mid-attempt was not delivered.
        problem = await self._attempt(message)
        self._waiting.remove(message)
        heapq.heapify(self._waiting)
        name, attempts = self._endpoint.name, message.attempts + 1
        if problem is None:
            self._counts.delivered += 1
        elif self._gone or attempts > len(self._limits.waits):
            self._counts.failed += 1
            logger.error("webhook %s: %s failed for good: %s", name, message.message_id, problem)
        else:
            wait = self._limits.waits[attempts - 1] * random.uniform(1, 1.25)  # noqa: S311 - spreads load
            logger.warning("webhook %s: %s failed, again in %.0f s: %s", name, message.message_id, wait, problem)
            due = self._clock.monotonic() + wait
            self._push(_Waiting(due, next(self._numbers), message.message_id, message.body, attempts))

    async def _attempt(self, message: _Waiting) -> str | None:
        """POST the message once; returns what went wrong."""
        # Signed anew for each attempt: receivers refuse what was signed long ago.
        signed_at = int(self._clock.now().timestamp())
        headers = {
            "content-type": "application/json",
            **signed_headers(self._endpoint.secret, message.message_id, signed_at, message.body),
        }
        try:
            async with (
                asyncio.timeout(self._limits.attempt_seconds),
                self._client.stream("POST", self._endpoint.url, content=message.body, headers=headers) as answer,
            ):
                self._gone = answer.status_code == _GONE
                return None if answer.is_success else f"status {answer.status_code}"
        except (httpx2.HTTPError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
