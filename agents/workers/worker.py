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
from weakref import WeakValueDictionary

import httpx2
import orjson

from agents.errors import HecatonError
from agents.hands.port import Hands
from agents.workers.held_lease import HeldLease, LeaseEnd
from agents.workers.journal import SessionJournal, SessionJournals
from agents.workers.plain_names import is_plain, sandbox_name
from agents.workers.remote_memory import RemoteStores
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
_REQUEST = httpx2.Timeout(30.0, connect=10.0)
"""The SDK's own ten minutes would outlast any lease."""
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
        journals: SessionJournals,
        options: ServeOptions,
        *,
        concurrency: int = 4,
        shared: bool = False,
        stores: RemoteStores | None = None,
    ) -> None:
        """*client* has the environment's key; *concurrency* is how many sessions are served at a time.

        *stores* are told whose memory stores they may open; the hands' own, if they mount any.

        *shared*: whether other workers have the same hands and the same journals. Whoever has a session after this one
        then goes on with the calls that run, so that none is stopped, and no sandbox put away, when a lease is lost.
        """
        self._client = client.with_options(timeout=_REQUEST)
        self._environment_id = environment_id
        self._hands = hands
        self._journals = journals
        self._options = options
        self._free = asyncio.Semaphore(concurrency)
        self._name = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self._leaving = asyncio.Event()
        self._servers: set[SessionServer] = set()
        self._shared = shared
        self._stores = stores or RemoteStores()
        self._newest: dict[str, SessionServer] = {}
        """Who serves a session by its latest claim: one whose lease is lost may not know it yet."""
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
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
        if item.data.type != "session" or not is_plain(item.data.id):
            logger.warning("work %s is nothing that can be served here", item.id)
            await self._stop(client, item)
            return
        session_id, sandbox = item.data.id, sandbox_name(self._environment_id, item.data.id)
        lease = HeldLease(client.beta.environments.work, item)
        journal = self._journals.of(sandbox)
        server = SessionServer(
            client, session_id, sandbox, self._hands, journal, self._options, send_seconds=lambda: lease.ttl_seconds
        )
        self._newest[sandbox] = server
        self._stores.serve(sandbox, client)
        lost = False
        try:
            lost = await self._serve(lease, server, sandbox)
        except (*PASSING, HecatonError) as error:
            logger.warning("session %s cannot be served: %s", session_id, words(error))
        finally:
            # Before the item is given back: its token opens what is still to be kept of the session's memory.
            await self._put_away(sandbox, server, journal)
            if not lost:
                await self._stop(client, item)

    async def _serve(self, lease: HeldLease, server: SessionServer, sandbox: str) -> bool:
        """Serve a session under its lease; returns whether that was lost."""
        keeping = asyncio.create_task(lease.keep(), name=f"lease of {sandbox}")
        serving = asyncio.create_task(self._begin(server, sandbox), name=f"session {sandbox}")
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
            await server.abandon(stop_calls=not self._shared and self._newest.get(sandbox) is server)

    async def _begin(self, server: SessionServer, sandbox: str) -> None:
        """Serve once nothing is put away any more that an earlier claim of the session has left here."""
        async with self._turn(sandbox):
            pass
        await server.run()

    def _turn(self, sandbox: str) -> asyncio.Lock:
        return self._turns.setdefault(sandbox, asyncio.Lock())

    async def _stop(self, client: AsyncAnthropic, item: BetaSelfHostedWork) -> None:
        """Give the item back; what the server does not hear of it learns from the silence."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await client.beta.environments.work.stop(item.id, environment_id=item.environment_id, force=True)
        except (*PASSING, TimeoutError) as error:
            logger.info("work %s was not stopped: %s", item.id, words(error))

    async def _put_away(self, sandbox: str, server: SessionServer, journal: SessionJournal) -> None:
        """End the session's sandbox unless it is, or may be, in use again; its files stay for its next item."""
        async with self._turn(sandbox):
            if self._newest.get(sandbox) is not server:
                return
            del self._newest[sandbox]
            if server.deleted:
                self._stores.deleted(sandbox)
            try:
                if server.over or not self._shared:
                    await self._release(sandbox, server, journal)
            finally:
                if sandbox not in self._newest:  # nor claimed anew meanwhile
                    self._stores.leave(sandbox)

    async def _release(self, sandbox: str, server: SessionServer, journal: SessionJournal) -> None:
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._hands.release(sandbox, destroy=server.deleted)
                if server.over:
                    await journal.forget()
        except (HecatonError, OSError, TimeoutError) as error:
            logger.warning("the sandbox of %s was not released: %s", sandbox, error)


def token_of(secret: str | None) -> str | None:
    """Return the sessions token of a claimed item's secret; None when there is none to read."""
    try:
        payload: Any = orjson.loads(base64.urlsafe_b64decode((secret or "") + "=" * (-len(secret or "") % 4)))
    except (ValueError, binascii.Error):
        return None
    token = payload.get("sessions_token") if isinstance(payload, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return token if isinstance(token, str) and token else None
