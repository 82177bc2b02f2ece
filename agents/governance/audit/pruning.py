"""What stands for entries that were pruned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from agents.clock import rfc3339
from agents.governance.audit.entries import PRUNE, SYSTEM, AuditEntry, ChainedEntry

Gap = tuple[int, int, str]
"""First and last position of entries that were pruned, and the hash of the last."""


def missing(kept: Collection[int], gone: Iterable[ChainedEntry], before: Iterable[Gap], last: int) -> Sequence[Gap]:
    """Return all gaps up to *last*, of which only *kept* is there; *before* are the gaps that there were already."""
    ends = {entry.seq: entry.hash for entry in gone} | {gap[1]: gap[2] for gap in before}
    gaps: list[Gap] = []
    first = 1
    for place in [*sorted(kept), last + 1]:
        if place > first:
            gaps.append((first, place - 1, ends[place - 1]))
        first = place + 1
    return gaps


def tombstone(now: datetime, before: datetime, entries: int, gaps: Sequence[Gap]) -> AuditEntry:
    """Return the entry that says so."""
    detail = {"before": rfc3339(before), "entries": entries, "gaps": gaps}
    return AuditEntry(now, SYSTEM, PRUNE, detail=detail)
