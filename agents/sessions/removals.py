"""What is left of deleted sessions is removed, sooner or later, by whoever owns their partition then.

The log notes a deleted session in the transaction that deletes it; the note goes when sandbox, files and
checkpoints are gone. Removing twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from agents.clock import Clock
from agents.errors import HecatonError
from agents.hands.port import Hands
from agents.ids import SessionId
from agents.sessions.log import EventLog

logger = logging.getLogger(__name__)

_REMOVAL_SECONDS = 60.0
_AT_ONCE = 8
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0


class Removals:
    """The removals under way in one harness."""

    def __init__(self, log: EventLog, hands: Hands, clock: Clock, *, ours: Callable[[SessionId], bool]) -> None:
        """*ours* says whether a session's partition is held here: somebody else sees to it once it is not."""
        self._log = log
        self._hands = hands
        self._clock = clock
        self._ours = ours
        self._under_way: dict[SessionId, asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, session_ids: Iterable[SessionId]) -> None:
        """See that these deleted sessions are removed."""
        for session_id in session_ids:
            if session_id not in self._under_way:
                task = asyncio.create_task(self._remove(session_id), name=f"removal of {session_id}")
                self._under_way[session_id] = task
                task.add_done_callback(lambda _, session_id=session_id: self._under_way.pop(session_id, None))

    async def _remove(self, session_id: SessionId) -> None:
        delay = _FIRST_DELAY_SECONDS
        while self._ours(session_id):
            try:
                async with self._gate, asyncio.timeout(_REMOVAL_SECONDS):
                    await self._hands.release(session_id, destroy=True)
                    await self._log.forget_deleted(session_id)
                return
            except (HecatonError, OSError) as error:
                logger.warning("what is left of %s is not removed yet: %s: %s", session_id, type(error).__name__, error)
            await self._clock.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    async def stop(self) -> None:
        """Leave the rest to the next owner."""
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
