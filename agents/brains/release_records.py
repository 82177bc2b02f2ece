"""The port to what is known of versions for good: what they are, how sessions are dealt out, how they do.

All processes that ask brains share it, and it outlives them. Its implementations are in ``agents.store``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agents.governance.records import SplitRecords


@dataclass(frozen=True, slots=True)
class Outcome:
    """How requests to one version ended. ``slow`` are those that took longer than the bound of their brain."""

    requests: int = 0
    failed: int = 0
    slow: int = 0

    def __add__(self, more: Outcome) -> Outcome:
        return Outcome(self.requests + more.requests, self.failed + more.failed, self.slow + more.slow)


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """The outcomes of one version (an id), within some seconds that began at ``moment`` (seconds since 1970)."""

    brain: str
    moment: int
    outcome: Outcome


class ReleaseRecords(SplitRecords, Protocol):
    """What is known of versions. Every call raises Unavailable."""

    async def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what each version that ever answered is, by id."""
        ...

    async def settle(self, definitions: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep for good what versions (by id) are; one that is known already stays what it is."""
        ...

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, forget_before: int) -> None:
        """Add to what is counted; rows with a moment before *forget_before* are dropped for good."""
        ...

    async def outcomes(self, since: int) -> Sequence[OutcomeRow]:
        """Return what was counted in the moments from *since* on, by id and moment."""
        ...
