"""What stands for entries that were pruned."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import orjson

from agents.clock import rfc3339
from agents.governance.audit.entries import PRUNE, SYSTEM, AuditEntry, ChainedEntry, EntryQuery

Gap = tuple[int, int, str]
"""First and last position of entries that were pruned, and the hash of the last."""


NEWEST = EntryQuery(limit=1, newest_first=True, action=PRUNE)
"""Finds the entry that names all gaps there are."""


def gaps_of(said: ChainedEntry | None) -> dict[int, Gap]:
    """Return the gaps that the newest entry about pruning names, by their first positions."""
    gaps: list[Gap] = [] if said is None else orjson.loads(said.body)["detail"]["gaps"]
    return {first: (first, last, hash_) for first, last, hash_ in gaps}


def missing(kept: Collection[int], gone: Mapping[int, str], before: Collection[Gap], last: int) -> Sequence[Gap]:
    """Return all gaps up to *last*, of which only *kept* is there; *before* are the gaps that there were already.

    *gone* has the hashes of those that were there until now, by their positions.
    """
    ends = {**gone, **{gap[1]: gap[2] for gap in before}}
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
