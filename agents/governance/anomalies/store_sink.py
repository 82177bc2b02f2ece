"""Writes anomalies to the store, in the background: whoever finds one does not wait for the database.

To the audit trail, and to the outbox of webhooks.
"""

from __future__ import annotations

import asyncio
import logging

from agents.clock import Clock
from agents.errors import Overloaded, Unavailable
from agents.governance.anomalies.anomaly import Anomaly
from agents.governance.audit.entries import SYSTEM, AuditEntry, AuditLog
from agents.ids import new_id
from agents.webhooks.delivery import Webhooks

logger = logging.getLogger(__name__)

DETECTED = "detectAnomaly"
ENDED = "endAnomaly"
_MOST_WAITING = 256
_RETRY_SECONDS = 1.0
_CLOSING_SECONDS = 5.0


class StoreSink:
    """Keeps what is to be written in a bounded queue; what does not fit is logged."""

    def __init__(self, audit: AuditLog, webhooks: Webhooks, clock: Clock) -> None:
        self._audit = audit
        self._webhooks = webhooks
        self._clock = clock
        self._waiting: asyncio.Queue[Anomaly] = asyncio.Queue(_MOST_WAITING)
        self._writing: asyncio.Task[None] | None = None

    def note(self, anomaly: Anomaly) -> None:
        """See AnomalySink."""
        try:
            self._waiting.put_nowait(anomaly)
        except asyncio.QueueFull:
            logger.error("%s %s is not kept: %d wait", anomaly.event, anomaly.id, _MOST_WAITING)

    def start(self) -> None:
        """Write from now on; needs a running event loop."""
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="anomalies")

    async def stop(self) -> None:
        """Write what waits, if that takes no longer than a few seconds, and end."""
        if self._writing is None:
            return
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            logger.error("the database is away: the last anomalies are not kept, at least %d", self._waiting.qsize())
        self._writing.cancel()
        await asyncio.wait([self._writing])
        self._writing = None

    async def _write(self) -> None:
        while True:
            anomaly = await self._waiting.get()
            found, message_id = anomaly.finding, new_id("wevt")
            action = ENDED if found.over else DETECTED
            entry = AuditEntry(anomaly.at, SYSTEM, action, found.subject, detail=anomaly.wire())
            while not await self._recorded(entry):
                await self._clock.sleep(_RETRY_SECONDS)
            while not await self._sent(message_id, anomaly):
                await self._clock.sleep(_RETRY_SECONDS)
            self._waiting.task_done()

    async def _recorded(self, entry: AuditEntry) -> bool:
        try:
            await self._audit.record(entry)
        except Overloaded:
            return False
        except Unavailable as error:
            # The trail keeps it, and writes it as soon as it can.
            logger.warning("the audit trail writes %s later: %s", entry.action, error.message)
        return True

    async def _sent(self, message_id: str, anomaly: Anomaly) -> bool:
        try:
            await self._webhooks.send(message_id, anomaly.wire())
        except Unavailable as error:
            logger.warning("%s goes to the webhooks later: %s", anomaly.id, error.message)
            return False
        return True
