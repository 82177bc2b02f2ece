"""The platform's database for a process that mostly needs none: it is opened when it is first asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.config import Settings
from agents.memory.records import MemoryRepository

if TYPE_CHECKING:
    from agents.store.database import SqlStore


class LateStore:
    """The store of a sandbox host."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._opening = asyncio.Lock()
        self._opened: SqlStore | None = None

    async def get(self) -> SqlStore:
        """Raises Unavailable, or InvalidRequest when the settings do not fit the database; the next call tries anew."""
        async with self._opening:
            if self._opened is None:
                from actors.database import open_platform_store

                self._opened = await open_platform_store(self.settings)
            return self._opened

    async def memory(self, session_id: str) -> MemoryRepository:
        """Return the memory stores, which are the same for every session. Raises as ``get``."""
        del session_id
        return (await self.get()).memory

    async def close(self) -> None:
        """Give the connections back. Raises Unavailable."""
        if self._opened is not None:
            await self._opened.close()
