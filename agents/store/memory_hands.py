"""Versions of hands, in one process's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agents.errors import NotFound
from agents.hands.deployed.records import HandVersion
from agents.hands.servers.port import OfferedTool
from agents.store.codec import Row
from agents.store.hands import again, hand_at, hand_row, unknown


class MemoryHandRecords:
    """The HandRecords of one process."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._sources: dict[str, bytes] = {}

    async def add(self, hand: HandVersion, archive: bytes | None = None) -> HandVersion:
        kept = again(hand_at(self._rows[hand.id]), hand) if hand.id in self._rows else hand
        if archive is not None:
            self._sources.setdefault(hand.source, archive)
        self._rows[hand.id] = hand_row(kept)
        return kept

    async def get(self, hand: str) -> HandVersion:
        if hand not in self._rows:
            raise unknown(hand)
        return hand_at(self._rows[hand])

    async def list(self) -> Sequence[HandVersion]:
        there = [row for row in self._rows.values() if row["removed_at"] is None]
        return [hand_at(row) for row in sorted(there, key=lambda row: (row["name"], row["created_at"], row["id"]))]

    async def remove(self, hand: str, moment: datetime) -> HandVersion:
        removed = replace(await self.get(hand), removed_at=moment)
        self._rows[hand] = hand_row(removed)
        return removed

    async def settle_tools(self, hand: str, tools: Sequence[OfferedTool]) -> None:
        if hand in self._rows and self._rows[hand]["tools"] is None:
            self._rows[hand] = hand_row(replace(hand_at(self._rows[hand]), tools=tuple(tools)))

    async def source(self, digest: str) -> bytes:
        if digest not in self._sources:
            raise NotFound(f"there is no source {digest[:80]!r}")
        return self._sources[digest]
