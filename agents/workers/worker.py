"""A worker: claims items of one environment's queue and serves their sessions with hands of this platform (D.3).

Several items at a time, each with a credential, a lease and a session of its own. It speaks the protocol of the
SDK's worker, so the queue may be this server's or the vendor's cloud's. Being killed loses nothing: leases run out,
and the calls that were under way are told apart by the journal.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import random
import secrets
import socket
from typing import TYPE_CHECKING, Any

import orjson

from agents.errors import HecatonError
from agents.hands.port import Hands
from agents.workers.held_lease import HeldLease, LeaseEnd
from agents.workers.journal import CallJournal
from agents.workers.session_server import ServeOptions, SessionServer
from agents.workers.transience import PASSING, is_final, pause, words

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types.beta.environments import BetaSelfHostedWork

logger = logging.getLogger(__name__)

_BLOCK_MS = 999
_LONGEST_PAUSE_SECONDS = 60.0
_BETWEEN_POLLS_SECONDS = (0.1, 0.5)
"""The poll itself waits for a second where the server lets it."""
_STOP_SECONDS = 15.0
_RELEASE_SECONDS = 30.0
_LAST_CALLS_SECONDS = 15.0
"""After their own time, for sending the results of the last calls."""


class Worker:
    """Serves an environment's queue until it is told to leave, or refused for good."""

    def __init__(
        self,
        client: AsyncAnthropic,
        environment_id: str,
        hands: Hands,
        journal: CallJournal,
        options: ServeOptions,
        *,
        concurrency: int = 4,
    ) -> None:
        """*client* has the environment's key; *concurrency* is how many sessions are served at a time."""
        self._client = client
        self._environment_id = environment_id
        self._hands = hands
        self._journal = journal
        self._options = options
        self._free = asyncio.Semaphore(concurrency)
        self._name = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self._leaving = asyncio.Event()
        self._servers: set[SessionServer] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve. Raises APIStatusError when the server refuses the environment's key."""
        try:
            while not self._leaving.is_set():
                await self._one_free()
                item = None if self._leaving.is_set() else await self._claim()
                if item is None:
                    self._free.release()
                    continue
                task = asyncio.create_task(self._attend(item), name=f"work {item.id}")
                self._tasks.add(task)
                task.add_done_callback(self._attended)
        finally:
            self.leave()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def leave(self) -> None:
        """Claim no more; calls under way are ended and answered, then their items are given back."""
        self._leaving.set()
        for server in self._servers:
            server.finish()

    def _attended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()
        if not task.cancelled() and (fault := task.exception()) is not None:
            logger.error("an item of work failed", exc_info=fault)

    async def _one_free(self) -> None:
        """Take a place, or wait in vain until the end: then places count no more."""
        place = asyncio.create_task(self._free.acquire())
        end = asyncio.create_task(self._leaving.wait())
        await asyncio.wait({place, end}, return_when=asyncio.FIRST_COMPLETED)
        for task in (place, end):
            task.cancel()

    # -- claiming --------------------------------------------------------------------------------

    async def _claim(self) -> BetaSelfHostedWork | None:
        """Poll until there is an item, acknowledged; None when the worker is to leave."""
        attempt = 0
        while not self._leaving.is_set():
            try:
                item = await self._poll()
                if item is not None and await self._acknowledged(item):
                    return item
            except PASSING as error:
                if is_final(error):
                    raise
                attempt += 1
                logger.warning("the queue does not answer: %s", words(error))
                await self._rest(pause(attempt, _LONGEST_PAUSE_SECONDS))
                continue
            attempt = 0
            await self._rest(random.uniform(*_BETWEEN_POLLS_SECONDS))  # noqa: S311 - spreads load, guards nothing
        return None

    async def _poll(self) -> BetaSelfHostedWork | None:
        """Ask for an item; broken off when the worker is to leave, so that it takes none that it will not serve."""
        work = self._client.beta.environments.work
        asked = asyncio.ensure_future(
            work.poll(self._environment_id, block_ms=_BLOCK_MS, anthropic_worker_id=self._name)
        )
        end = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({asked, end}, return_when=asyncio.FIRST_COMPLETED)
            return await asked if asked.done() else None
        finally:
            for task in (asked, end):
                task.cancel()

    async def _acknowledged(self, item: BetaSelfHostedWork) -> bool:
        """Take the item out of the queue; one that cannot be had is left, one that is broken is ended."""
        try:
            await self._client.beta.environments.work.ack(item.id, environment_id=item.environment_id)
        except PASSING as error:
            logger.info("work %s was not acknowledged: %s", item.id, words(error))
            if is_final(error):
                await self._stop(self._client, item)
            return False
        return True

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            pass

    # -- serving ---------------------------------------------------------------------------------

    async def _attend(self, item: BetaSelfHostedWork) -> None:
        """Serve one item under its lease, and give it back unless the lease is lost."""
        client = self._client.with_options(api_key=token_of(item.secret) or self._client.api_key)
        lost = False
        try:
            if item.data.type == "session":
                lost = await self._serve(client, item)
        except PASSING as error:
            logger.warning("session %s cannot be served: %s", item.data.id, words(error))
        finally:
            if not lost:
                await self._stop(client, item)
            await self._put_away(item.data.id)

    async def _serve(self, client: AsyncAnthropic, item: BetaSelfHostedWork) -> bool:
        """Serve the item's session; returns whether the lease was lost."""
        lease = HeldLease(client.beta.environments.work, item)
        keeping = asyncio.create_task(lease.keep(), name=f"lease of {item.id}")
        server = SessionServer(
            client, item.data.id, self._hands, self._journal, self._options, send_seconds=lambda: lease.ttl_seconds
        )
        serving = asyncio.create_task(server.run(), name=f"session {item.data.id}")
        self._servers.add(server)
        if self._leaving.is_set():
            server.finish()
        try:
            await asyncio.wait({keeping, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
                return False
            if keeping.result() is LeaseEnd.LOST:
                return True
            server.finish()
            async with asyncio.timeout(self._options.call_seconds + _LAST_CALLS_SECONDS):
                await serving
            return False
        except TimeoutError:
            return False
        finally:
            self._servers.discard(server)
            for task in (keeping, serving):
                task.cancel()
            await asyncio.gather(keeping, serving, return_exceptions=True)
            await server.abandon()

    async def _stop(self, client: AsyncAnthropic, item: BetaSelfHostedWork) -> None:
        """Give the item back; what the server does not hear of it learns from the silence."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await client.beta.environments.work.stop(item.id, environment_id=item.environment_id, force=True)
        except (*PASSING, TimeoutError) as error:
            logger.info("work %s was not stopped: %s", item.id, words(error))

    async def _put_away(self, session_id: str) -> None:
        """End the session's sandbox; its files stay for the session's next item."""
        self._journal.forget(session_id)
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._hands.release(session_id, destroy=False)
        except (HecatonError, OSError, TimeoutError) as error:
            logger.warning("the sandbox of %s was not released: %s", session_id, error)


def token_of(secret: str | None) -> str | None:
    """Return the sessions token of a claimed item's secret; None when there is none to read."""
    try:
        payload: Any = orjson.loads(base64.urlsafe_b64decode((secret or "") + "=" * (-len(secret or "") % 4)))
    except (ValueError, binascii.Error):
        return None
    token = payload.get("sessions_token") if isinstance(payload, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return token if isinstance(token, str) and token else None
