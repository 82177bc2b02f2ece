"""Who owns which partition, as of the last look at the store.

A gateway routes by this table. It looks again when a harness refuses a call or is lost, and about once a
second in any case, so that the death of a machine, which says nothing, is noticed too. A table that is
stale does no harm: who does not own a partition refuses what concerns it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from agents.errors import Unavailable
from agents.sessions.log import Leases, LeaseTable

logger = logging.getLogger(__name__)

_NOBODY = LeaseTable({}, ())


class OwnerTable:
    """The newest lease table, kept so while there is anybody to look for."""

    def __init__(self, leases: Leases, *, age: float, on_look: Callable[[LeaseTable], None]) -> None:
        self._leases = leases
        self._age = age
        self._on_look = on_look
        self._table = _NOBODY
        self._looking: asyncio.Task[LeaseTable] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def owner(self, partition: int) -> str | None:
        """Name the owner; None when there is none just now. Raises Unavailable (no table yet, and no store)."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
            await self.look()
        return self._table.owners.get(partition)

    async def look(self) -> LeaseTable:
        """Read the table; callers at the same time share one reading. Raises Unavailable."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        return await asyncio.shield(self._looking)

    async def _look(self) -> LeaseTable:
        self._table = await self._leases.table()
        self._on_look(self._table)
        return self._table

    def _looked(self, looking: asyncio.Task[LeaseTable]) -> None:
        self._looking = None
        if not looking.cancelled():
            looking.exception()  # whoever asked is told; when nobody waits any more it is not a fault to report

    async def _watch(self) -> None:
        answers = True
        while True:
            await asyncio.sleep(self._age)
            try:
                await self.look()
                answers = True
            except Unavailable as error:
                if answers:
                    logger.warning("the owners of sessions cannot be read, the last known are asked: %s", error)
                answers = False

    async def close(self) -> None:
        for task in (self._watching, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
