"""The fleet's sum of what all processes record; it outlives the fleet, in a note beside Ray's table of actors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from ray.exceptions import RayError

from actors.cluster_notes import get_note, put_note
from agents.errors import Unavailable
from agents.telemetry.cluster_totals import ClusterTotals
from agents.telemetry.recorder import Recorded

logger = logging.getLogger(__name__)

_NOTE = "metrics"
_SAVE_SECONDS = 15.0
_LEAST_SECONDS = 1.0
_BYTES_PER_SECOND = 50_000
"""The note is written no faster than that: of a large platform it is large."""
_HEAR_SECONDS = 12.0
"""In this time every process that lives has told how it stands; before, a sum would lack some."""


class MetricsKeeper:
    """Adds up the figures of the processes that report to one fleet."""

    def __init__(self) -> None:
        self._totals = ClusterTotals()
        self._changed = False
        self._newcomer = asyncio.Event()
        self._follows_another = False
        self._began = 0.0

    async def start(self) -> None:
        """Go on with what an earlier fleet knew."""
        self._began = _now()
        try:
            note = await asyncio.to_thread(get_note, _NOTE)
            if note is not None:
                self._follows_another = True
                self._totals.restore(note)
        except (RayError, KeyError, TypeError, ValueError) as error:
            logger.warning("the figures of processes that are gone are lost: %s: %s", type(error).__name__, error)

    def take(self, process: str, recorded: Recorded) -> None:
        """Take what a process says of itself."""
        if process not in self._totals:
            # It may follow one that is gone, whose figures nobody else has.
            self._newcomer.set()
        self._totals.take(process, recorded, _now())
        self._changed = True

    def totals(self) -> Recorded:
        """Return the sums. Raises Unavailable while a fleet that follows another has not heard everybody yet."""
        if self._follows_another and _now() - self._began < _HEAR_SECONDS:
            raise Unavailable("the fleet has just started and adds the figures up anew", retry_after=_HEAR_SECONDS)
        return self._totals.totals(_now())

    async def save_forever(self) -> None:
        """Write the note from time to time."""
        size = 0
        while True:
            await asyncio.sleep(max(_LEAST_SECONDS, size / _BYTES_PER_SECOND))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._newcomer.wait(), _SAVE_SECONDS)
            self._newcomer.clear()
            if self._changed:
                self._changed = False
                size = await asyncio.to_thread(_save, self._totals.dump())


def _save(dumped: dict[str, Any]) -> int:
    """Write the note and return its size, 0 when that failed. Blocks."""
    try:
        return put_note(_NOTE, dumped)
    except RayError as error:
        logger.warning("the figures are not kept beside Ray's table of actors: %s", error)
        return 0


def _now() -> float:
    return asyncio.get_running_loop().time()
