"""Keeping a host's disk in bounds: files that nobody uses leave it, as far as they are safe elsewhere.

A session's files go when a checkpoint has them and nobody has used them for long, or earlier when the disk
gets full; they come back on the session's next call. Files of sessions that were deleted while this host was
away go too. Invariant: what may be the only copy of anything stays.
"""

from __future__ import annotations

import asyncio
import logging
import time
from itertools import count

from agents.clock import Clock
from agents.config import SandboxSettings
from agents.hands.checkpoint_store import CheckpointStore, StoreUnavailable
from agents.hands.checkpoint_work import Checkpoints
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxRoot
from agents.hands.sandbox_pool import SandboxPool
from agents.hands.tombstones import deleted_sessions

log = logging.getLogger(__name__)

_SWEEP_SECONDS = 60.0
_SWEEPS_PER_LISTING = 30
"""Which sessions were deleted is asked every so many sweeps: it is a listing of the store."""
_FIRST_LISTINGS = 3
"""And in each of the first sweeps: who deletes a session as this host starts may not know yet that it is there."""


class FileEviction:
    """Takes files off one host's disk."""

    def __init__(
        self, settings: SandboxSettings, root: SandboxRoot, pool: SandboxPool, clock: Clock, shared: Checkpoints
    ) -> None:
        self._settings = settings
        self._root = root
        self._pool = pool
        self._clock = clock
        self._shared = shared

    async def sweep_forever(self) -> None:
        """Look again and again. Without checkpoints there is nothing to do, ever."""
        store = self._shared.store
        if store is None:
            return
        for number in count():
            if number < _FIRST_LISTINGS or number % _SWEEPS_PER_LISTING == 0:
                await self.remove_deleted(store)
            await self.sweep()
            await self._clock.sleep(min(_SWEEP_SECONDS, self._settings.keep_files_seconds))

    async def sweep(self) -> None:
        """Evict what was not used for long, and more when the disk is full."""
        for used, session_id in sorted((self._root.last_used(name), name) for name in self._root.sessions()):
            old = time.time() - used >= self._settings.keep_files_seconds
            if not old and self._root.free_bytes() >= self._settings.min_free_bytes:
                return
            if not self._pool.knows(session_id) and await self._pool.evict(session_id):
                self._shared.counts.files_evicted += 1
                await self._root.settle()

    async def remove_deleted(self, store: CheckpointStore) -> None:
        """Remove what is here, and what came from here since, of sessions deleted while this host was away."""
        loop = asyncio.get_running_loop()
        try:
            deleted = await loop.run_in_executor(self._shared.executor, deleted_sessions, store)
            for session_id in deleted.intersection(self._root.sessions()):
                log.info("removing the files of session %s, which was deleted while this host was away", session_id)
                try:
                    await self._pool.drop(session_id, discard=True)
                except SandboxUnavailable as error:
                    log.warning("the files of session %s stay for now: %s", session_id, error.message)
                    continue
                await self._root.remove(self._root.session_path(session_id))
                await loop.run_in_executor(self._shared.executor, store.remove_folder, session_id)
        except StoreUnavailable as error:
            log.warning("nobody knows which sessions were deleted: %s", error.message)
