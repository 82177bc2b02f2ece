"""An export is asked as the database is: also for what was said last.

Bug class this catches: an export of a trail that was pruned often, and is verified by what its first pruning said.
"""

from __future__ import annotations

from pathlib import Path

from agents.commands.audit_parquet import ParquetTrail, TrailWriter
from agents.governance.audit.entries import PRUNE, EntryQuery
from agents.governance.audit.pruning import NEWEST

UNSAID = {"at": 0, "actor": "hecaton", "object": "", "origin": "", "request_id": "", "outcome": "ok", "body": "{}"}
ENTRIES = [
    {"seq": seq, "action": action, "hash": f"h{seq}", **UNSAID}
    for seq, action in enumerate([PRUNE, "act", PRUNE, "act"], 1)
]


async def test_entries_come_in_either_order_from_any_place(tmp_path: Path) -> None:
    with TrailWriter(tmp_path / "export") as export:
        export.add("entries", ENTRIES)
    trail = ParquetTrail(tmp_path / "export")

    async def places(query: EntryQuery) -> list[int]:
        return [entry.seq for entry in await trail.entries(query)]

    assert await places(NEWEST) == [3]
    assert await places(EntryQuery()) == [1, 2, 3, 4]
    assert await places(EntryQuery(after=2, limit=1)) == [3]
    assert await places(EntryQuery(after=3, newest_first=True)) == [2, 1]
    assert await places(EntryQuery(hash="h2", action="act")) == [2]
