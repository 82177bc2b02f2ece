"""The port to the splits that were made while the platform ran: those of brains, and those of hands.

All processes share it, and it outlives them. Its implementations are in ``agents.store``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from agents.errors import Conflict
from agents.governance.audit.entries import SYSTEM, AuditEntry
from agents.governance.split import Split, StoredSplit, rolled_back, split_in_force

LOOK_SECONDS = 2.0
"""How old a process's view of the splits may be."""
_TRIES = 5


class SplitRecords(Protocol):
    """What is known of splits. Every call raises Unavailable."""

    async def splits(self) -> Mapping[str, StoredSplit]:
        """Return the splits that were made, by the name of the brain, or hand."""
        ...

    async def change_split(
        self, name: str, stored: StoredSplit, *, forget: Sequence[str] = (), entry: AuditEntry | None = None
    ) -> None:
        """Replace the split of revision ``stored.revision - 1``, and forget what some versions (ids) are judged by.

        An *entry* is written to the audit trail in the same transaction. Raises Conflict when the split of that
        revision is not the newest.
        """
        ...


def newest(known: Mapping[str, StoredSplit], read: Mapping[str, StoredSplit]) -> Mapping[str, StoredSplit]:
    """Return what was *read*, but for what is known to be newer: who read before a change may hear of it after."""
    newer = {name: each for name, each in known.items() if name in read and each.revision > read[name].revision}
    return {**read, **newer}


async def change_split(
    records: SplitRecords,
    name: str,
    declared: Split,
    versions: Sequence[str],
    change: Callable[[Split], Split],
    judged: Callable[[Split], Sequence[str]],
    entry: AuditEntry | None = None,
) -> None:
    """Let *change* make the next split of *name* out of the one that is in force, again if others were faster.

    A version that comes to be *judged* by it is judged by nothing that was before. An *entry* is written to the audit
    trail with the change, if there is one. Raises what *change* raises,
    Conflict when others change it all the time, Unavailable.
    """
    for left in reversed(range(_TRIES)):
        stored = (await records.splits()).get(name)
        before = split_in_force(stored, declared, versions)
        after, known = change(before), judged(before)
        if after == before:
            return
        revision = stored.revision if stored else 0
        forget = [f"{name}@{version}" for version in judged(after) if version not in known]
        try:
            await records.change_split(name, StoredSplit(after, declared, revision + 1), forget=forget, entry=entry)
        except Conflict:
            if not left:
                raise
        else:
            return


async def take_back(
    version: str,
    why: str,
    change: Callable[[Callable[[Split], Split], AuditEntry], Awaitable[Split]],
    judged: Callable[[Split], Sequence[str]],
    entry: AuditEntry,
) -> Split | None:
    """Withdraw *version* by *change*, with *entry*, while it is *judged*; returns the next split, or None: others were
    faster.

    Raises what *change* raises.
    """
    taken = False

    def withdrawn(split: Split) -> Split:
        nonlocal taken
        taken = version in judged(split)
        return rolled_back(split, version, why) if taken else split

    split = await change(withdrawn, entry)
    return split if taken else None


def withdrawal(at: datetime, action: str, name: str, version: str, why: str) -> AuditEntry:
    """Return what the audit trail has of a version that the platform itself takes back; *action* is the API's own."""
    return AuditEntry(at, SYSTEM, action, name, detail={"version": version, "reason": why})
