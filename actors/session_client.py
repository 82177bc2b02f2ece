"""The gateway's SessionHost: finds the harness that owns a session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from actors.harness_link import HarnessLink
from agents.config import Settings
from agents.ids import SessionId
from agents.sessions.events import SessionRecord
from agents.sessions.host import Frame
from agents.sessions.partition import partition_of


class SessionClient:
    """SessionHost over links to the harness actors."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = settings.harness.partitions
        self._links = [HarnessLink(index, settings) for index in range(settings.harness.actors)]

    def _link(self, session_id: str) -> HarnessLink:
        return self._links[partition_of(session_id, self._partitions) % len(self._links)]

    async def create(self, record: SessionRecord, initial_events: Sequence[dict[str, Any]]) -> SessionRecord:
        return await self._link(record.id).call("create", record, list(initial_events))

    async def send(
        self, session_id: SessionId, events: Sequence[dict[str, Any]], *, repeat_key: str | None = None
    ) -> list[dict[str, Any]]:
        return await self._link(session_id).call("send", session_id, list(events), repeat_key)

    async def update(self, session_id: SessionId, changes: dict[str, Any]) -> SessionRecord:
        return await self._link(session_id).call("update", session_id, changes)

    async def archive(self, session_id: SessionId) -> SessionRecord:
        return await self._link(session_id).call("archive", session_id)

    async def delete(self, session_id: SessionId) -> None:
        await self._link(session_id).call("delete", session_id)

    def watch(
        self, session_id: SessionId, *, previews: frozenset[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Frame]]]:
        return self._link(session_id).watch(session_id, previews)

    async def ping(self) -> list[dict[str, int]]:
        """Return each harness's figures. Raises Unavailable when one does not answer."""
        return list(await asyncio.gather(*(link.call("figures") for link in self._links)))

    async def close(self) -> None:
        await asyncio.gather(*(link.close() for link in self._links))
