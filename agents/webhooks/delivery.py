"""Delivering webhooks: at least once, in no fixed order, and never in anybody's way.

Messages wait in the outbox of the store, which all processes share: a restart loses none, and each is delivered by
whichever process comes to it first. Of one endpoint only so many are under way at a time, so that one which does not
answer holds up no other, and a message that waits for its next attempt holds up none behind it. Receivers tell repeats
by ``webhook-id``. The guard of outgoing connections (:mod:`agents.net.guard`) is asked at each connection, and
redirects are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import orjson

from agents.clock import Clock, rfc3339, within
from agents.errors import Unavailable
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.net.client import guarded_client
from agents.net.guard import Guard
from agents.webhooks.endpoint import Endpoint, signed_headers
from agents.webhooks.outbox import Delivery, Outbox

logger = logging.getLogger(__name__)

DISABLED = "disableWebhook"
_GONE = 410
"""A receiver that says so wants nothing more."""
_SHOWN_CHARACTERS = 200
_SETTLING_SECONDS = 45.0
"""Longer than the store may take to hear of an attempt's outcome; then others may take the message."""


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How patient a delivery is; the waits are those that the Standard Webhooks specification recommends."""

    waits: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    """Seconds before each further attempt, of which up to ``jitter`` more is added by chance."""
    jitter: float = 0.25
    queued: int = 1000
    """Messages that wait for one endpoint."""
    kept_seconds: float = 7 * 86_400.0
    """Longer than all waits together: older messages are for endpoints that the settings have no more."""
    at_once: int = 8
    """Attempts at one endpoint that one process has under way."""
    attempt_seconds: float = 15.0
    """One attempt, from looking the name up to the answer's status."""
    patience: int = 5
    """Messages in a row that an endpoint has not taken in all their attempts, when it is disabled."""
    redirects_end: bool = False
    """Whether an answer that leads elsewhere disables an endpoint at once; else it is a failure as others are."""
    disabled_seconds: float | None = 86_400.0
    """For how long; the next message that fails then disables it again. None: until somebody enables it."""
    look_seconds: float = 5.0
    """How often a process looks for what is due, beside what it adds itself."""
    tidy_seconds: float = 60.0
    """How often a process drops what is too old, or too much, of endpoints that are registered."""


REGISTERED = DeliveryLimits(
    waits=(5.0, 30.0),
    jitter=3.0,
    queued=10_000,
    patience=20,
    redirects_end=True,
    disabled_seconds=None,
    look_seconds=1.0,
)
"""Of registered endpoints (spec A.11): three attempts, 5 to 20 and 30 to 120 s apart; 3xx disables at once."""

Endpoints = Callable[[], Awaitable[Sequence[Endpoint]]]
"""Returns the endpoints that there are now. Raises Unavailable."""


class Webhooks:
    """Sends events to all of its endpoints."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        outbox: Outbox,
        guard: Guard,
        clock: Clock,
        limits: DeliveryLimits | None = None,
        registered: Endpoints | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """*registered* are asked for again and again, in place of *endpoints*; *told* hears how attempts end."""
        self._endpoints = {each.name: each for each in endpoints}
        self._outbox = outbox
        self._clock = clock
        self._limits = limits or DeliveryLimits()
        self._registered = registered
        self._told = told
        some = endpoints or registered is not None
        self._client = guarded_client(guard, headers={"user-agent": "hecaton-webhooks"}) if some else None
        self._tidied: float | None = None
        self._under_way: dict[asyncio.Task[None], str] = {}
        self._news = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Deliver from now on; needs a running event loop."""
        if self._running is None and self._client is not None:
            self._running = asyncio.create_task(self._run(self._client), name="webhooks")

    async def send(self, message_id: str, data: Mapping[str, Any]) -> None:
        """Keep an event for every endpoint; *data* says what happened, by its ``type``.

        One that is kept already is not kept again. Raises Unavailable.
        """
        if not self._endpoints:
            return
        now, limits = self._clock.now(), self._limits
        event = {"id": message_id, "type": "event", "created_at": rfc3339(now), "data": data}
        expired = now - timedelta(seconds=limits.kept_seconds)
        body = orjson.dumps(event).decode()
        for name in await self._outbox.add(
            message_id, body, self._endpoints, now=now, most=limits.queued, expired=expired
        ):
            logger.error("webhook %s is disabled, or has too much waiting: %s is dropped", name, message_id)
        self._news.set()

    async def close(self) -> None:
        """End at once; what is under way is attempted again later, by whichever process finds it."""
        tasks = [*self._under_way, *([self._running] if self._running else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running = None
        if self._client is not None:
            await self._client.aclose()

    async def _run(self, client: httpx2.AsyncClient) -> None:
        while True:
            self._news.clear()
            try:
                await self._refresh()
                await self._take(client)
            except Unavailable as error:
                logger.warning("webhooks wait for the database: %s", error.message)
            await within(self._clock, self._limits.look_seconds, self._news.wait())

    async def _refresh(self) -> None:
        """Learn which endpoints there are, and bound what waits for them."""
        if self._registered is None:
            return
        self._endpoints = {each.name: each for each in await self._registered()}
        now, limits = self._clock.monotonic(), self._limits
        if self._tidied is not None and now - self._tidied < limits.tidy_seconds:
            return
        self._tidied = now
        expired = self._clock.now() - timedelta(seconds=limits.kept_seconds)
        lost = await self._outbox.bound(most=limits.queued, expired=expired)
        for name, number in lost.items():
            logger.error("webhook %s has too much waiting: its %d oldest messages are dropped", name, number)

    async def _take(self, client: httpx2.AsyncClient) -> None:
        """Begin to deliver what is due, as far as there is room."""
        now, limits = self._clock.now(), self._limits
        busy = list(self._under_way.values())
        room = {name: limits.at_once - busy.count(name) for name in self._endpoints}
        until = now + timedelta(seconds=limits.attempt_seconds + _SETTLING_SECONDS)
        for delivery in await self._outbox.take(room, now=now, until=until):
            task = asyncio.create_task(self._deliver(client, delivery), name="webhook")
            self._under_way[task] = delivery.endpoint
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._news.set()

    async def _deliver(self, client: httpx2.AsyncClient, delivery: Delivery) -> None:
        problem, gone = "no attempt has ended", False
        # One more than that is taken when the process ended in the last one.
        if delivery.attempts <= len(self._limits.waits) + 1:
            problem, gone = await self._attempt(client, delivery)
        try:
            self._told("ok" if problem is None else "error")
            if problem is None:
                await self._outbox.delivered(delivery)
            elif gone or delivery.attempts > len(self._limits.waits):
                await self._give_up(delivery, problem, gone=gone)
            else:
                await self._postpone(delivery, problem)
        except Unavailable as error:
            logger.warning("webhook %s: %s may come twice: %s", delivery.endpoint, delivery.message_id, error.message)

    async def _postpone(self, delivery: Delivery, problem: str) -> None:
        most = 1 + self._limits.jitter
        wait = self._limits.waits[delivery.attempts - 1] * random.uniform(1, most)  # noqa: S311 - spreads load
        name, message = delivery.endpoint, delivery.message_id
        logger.warning("webhook %s: %s failed, again in %.0f s: %s", name, message, wait, problem)
        await self._outbox.postpone(delivery, self._clock.now() + timedelta(seconds=wait))

    async def _give_up(self, delivery: Delivery, problem: str, *, gone: bool) -> None:
        name, now = delivery.endpoint, self._clock.now()
        logger.error("webhook %s: %s failed for good: %s", name, delivery.message_id, problem)
        seconds = self._limits.disabled_seconds
        until = None if seconds is None else now + timedelta(seconds=seconds)
        words = "somebody enables it" if until is None else rfc3339(until)
        detail = {"until": None if until is None else words, "reason": problem}
        entry = AuditEntry(now, SYSTEM, DISABLED, name, detail=detail)
        patience = 1 if gone else self._limits.patience
        if await self._outbox.give_up(delivery, patience=patience, until=until, entry=entry, reason=problem):
            logger.error("webhook %s is disabled until %s, and what waits for it is dropped", name, words)

    async def _attempt(self, client: httpx2.AsyncClient, delivery: Delivery) -> tuple[str | None, bool]:
        """POST the message once; returns what went wrong, and whether its receiver wants nothing more."""
        endpoint, body = self._endpoints.get(delivery.endpoint), delivery.body.encode()
        if endpoint is None:
            return "there is no such endpoint any more", False
        # Signed anew for each attempt: receivers refuse what was signed long ago.
        signed_at = int(self._clock.now().timestamp())
        headers = {
            "content-type": "application/json",
            **signed_headers(endpoint.secret, delivery.message_id, signed_at, body),
        }
        try:
            async with (
                asyncio.timeout(self._limits.attempt_seconds),
                client.stream("POST", endpoint.url, content=body, headers=headers) as answer,
            ):
                ends = answer.status_code == _GONE or (self._limits.redirects_end and answer.is_redirect)
                return None if answer.is_success else f"status {answer.status_code}", ends
        except (httpx2.HTTPError, TimeoutError) as error:
            # In the receiver's own words at times, and the trail keeps them.
            return f"{type(error).__name__}: {error}"[:_SHOWN_CHARACTERS], False
