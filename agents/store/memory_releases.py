"""What is known of versions of brains, in one process's memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.brains.release_records import Outcome, OutcomeRow
from agents.governance.audit.entries import AuditEntry
from agents.store.codec import decode, encode
from agents.store.splits import MemorySplits


class MemoryReleases(MemorySplits):
    """The ReleaseRecords of one process."""

    def __init__(self, record: Callable[[AuditEntry], object] = lambda _: None) -> None:
        super().__init__("brain", record)
        self._definitions: dict[str, str] = {}
        self._outcomes: dict[tuple[str, int], Outcome] = {}

    async def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        return {brain: decode(text) for brain, text in self._definitions.items()}

    async def settle(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        for brain, definition in definitions.items():
            self._definitions.setdefault(brain, encode(definition))

    def _forget(self, versions: Sequence[str]) -> None:
        self._outcomes = {key: each for key, each in self._outcomes.items() if key[0] not in versions}

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, forget_before: int) -> None:
        self._outcomes = {key: each for key, each in self._outcomes.items() if key[1] >= forget_before}
        for row in rows:
            key = row.brain, row.moment
            self._outcomes[key] = self._outcomes.get(key, Outcome()) + row.outcome

    async def outcomes(self, since: int) -> Sequence[OutcomeRow]:
        return [OutcomeRow(*key, outcome) for key, outcome in sorted(self._outcomes.items()) if key[1] >= since]
