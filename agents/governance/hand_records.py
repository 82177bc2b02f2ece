"""The port to what is known of the versions of hands: how sessions are dealt out, how their calls went.

All processes that call hands share it, and it outlives them. Its implementations are in ``agents.store``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from agents.governance.outcomes import OutcomeRow
from agents.governance.records import SplitRecords


class HandReleaseRecords(SplitRecords, Protocol):
    """What is known of releases. A change of a split forgets short spans of outcomes only. Raises Unavailable."""

    async def add_outcomes(self, rows: Sequence[OutcomeRow], *, now: int) -> None:
        """Add to what is counted, and drop what is older than its span is kept for (``KEPT_SECONDS``)."""
        ...

    async def outcomes(self, span: int, since: int, *, hand: str | None = None) -> Sequence[OutcomeRow]:
        """Return what was counted in the moments of *span* from *since* on, of one version (an id) or of all."""
        ...
