"""Writing entries of the trail in groups: callers that come while a group is written share the next one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import islice

from agents.clock import Clock
from agents.errors import Overloaded, Unavailable
from agents.governance.audit.entries import AuditEntry
from agents.store.audit_writing import add_entries
from agents.store.engine import Database

logger = logging.getLogger(__name__)

_WAITING = 4096
_GROUP = 256
_STUCK = 256
"""Entries that may be left by callers who were told that the database is away, before acts are refused."""
_RETRY_SECONDS = 2.0


@dataclass(slots=True)
class _Waiter:
    entry: AuditEntry
    done: asyncio.Future[None]


class Recorder:
    """A queue of entries and the one task that writes them."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._waiting: deque[_Waiter] = deque()
        self._writer: asyncio.Task[None] | None = None

    def require_room(self) -> None:
        """See AuditTrail.require_room."""
        if len(self._waiting) >= _WAITING or sum(waiter.done.done() for waiter in self._waiting) >= _STUCK:
            raise Overloaded("the audit trail cannot be written just now", retry_after=_RETRY_SECONDS)

    async def record(self, entry: AuditEntry) -> None:
        """See AuditLog.record."""
        if len(self._waiting) >= _WAITING:
            raise Overloaded("too many entries wait for the audit trail", retry_after=_RETRY_SECONDS)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(entry, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="store-audit")
        await done

    async def close(self) -> None:
        """Write what waits. Raises Unavailable, and logs how much is lost."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait([self._writer])
        try:
            while self._waiting:
                await self._write_group()
        except Unavailable:
            logger.error("%d entries of the audit trail are lost: the database is away", len(self._waiting))
            raise

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._write_group()
                except Unavailable as error:
                    for waiter in self._waiting:
                        _settle(waiter.done, error)
                    await self._clock.sleep(_RETRY_SECONDS)
        finally:
            self._writer = None

    async def _write_group(self, most: int = _GROUP) -> None:
        group = list(islice(self._waiting, most))
        work = partial(add_entries, entries=[waiter.entry for waiter in group])
        failure: Exception | None = None
        try:
            await self._database.write(work, repeatable=True)
        except Unavailable:
            raise
        except Exception as error:  # the writer outlives an entry that cannot be written, whose caller is told
            if len(group) > 1:
                for _ in group:
                    await self._write_group(1)
                return
            logger.exception("%s is not in the audit trail", group[0].entry.action)
            failure = error
        for waiter in group:
            self._waiting.popleft()
            _settle(waiter.done, failure)


def _settle(done: asyncio.Future[None], failure: Exception | None) -> None:
    if done.done():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)
