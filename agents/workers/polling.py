"""Waiting for work: one look at the queue for everybody who waits, however many they are.

A poll that finds nothing waits for at most a second. While anybody waits, one task asks the database a few times a
second which environments have something, and wakes as many pollers as there are items; each then claims for itself.
Whoever was wrong to hope waits on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque

from agents.clock import Clock
from agents.errors import HecatonError
from agents.workers.ports import WorkQueue
from agents.workers.records import WorkItem

logger = logging.getLogger(__name__)

_PRESENCE_EVERY_SECONDS = 10.0
"""A third of the time for which a worker that polled counts as polling: so often that is written down."""
_MOST_WORKERS = 4096
"""Workers whose last entry is remembered; of more, some are written down more often than need be."""


class PollLine:
    """The pollers of one process."""

    def __init__(self, queue: WorkQueue, clock: Clock, *, look_seconds: float) -> None:
        self._queue = queue
        self._clock = clock
        self._look_seconds = look_seconds
        self._waiting: dict[str, deque[asyncio.Event]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._present: OrderedDict[tuple[str, str], float] = OrderedDict()

    async def poll(
        self, environment_id: str, *, block_seconds: float, reclaim_seconds: float
    ) -> tuple[WorkItem, str] | None:
        """Claim an item, waiting for one for so long. Raises Unavailable."""
        end = self._clock.monotonic() + block_seconds
        while True:
            found = await self._queue.claim(environment_id, reclaim_seconds=reclaim_seconds)
            left = end - self._clock.monotonic()
            if found is not None or left <= 0 or not await self._told(environment_id, left):
                return found

    async def present(self, environment_id: str, worker_id: str) -> None:
        """Take note that a worker polls; said again within seconds it costs nothing. Raises Unavailable."""
        key, now = (environment_id, worker_id), self._clock.monotonic()
        if now - self._present.get(key, -_PRESENCE_EVERY_SECONDS) < _PRESENCE_EVERY_SECONDS:
            return
        self._present[key] = now
        self._present.move_to_end(key)
        if len(self._present) > _MOST_WORKERS:
            self._present.popitem(last=False)
        await self._queue.seen(environment_id, worker_id)

    async def _told(self, environment_id: str, seconds: float) -> bool:
        """Wait until there may be something for this poller; False when its time is up first."""
        told = asyncio.Event()
        line = self._waiting.setdefault(environment_id, deque())
        line.append(told)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="work-poll-line")
        try:
            async with asyncio.timeout(seconds):
                await told.wait()
        except TimeoutError:
            return False
        finally:
            if told in line:
                line.remove(told)
            if not line and self._waiting.get(environment_id) is line:
                del self._waiting[environment_id]
        return True

    async def _look(self) -> None:
        try:
            while True:
                await self._clock.sleep(self._look_seconds)
                if not self._waiting:
                    return
                try:
                    found = await self._queue.waiting(list(self._waiting))
                except HecatonError as error:
                    logger.warning("the queue of work cannot be looked at: %s", error.message)
                    continue
                for environment_id, number in found.items():
                    line = self._waiting.get(environment_id, deque())
                    for _ in range(min(number, len(line))):
                        line.popleft().set()
        finally:
            self._looking = None
