"""An export is asked as the database is: also for what was said last.

Bug class this catches: an export of a trail that was pruned often, and is verified by what its first pruning said.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

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


EVENT = {
    "session_id": "sesn_1",
    "seq": 1,
    "id": "sevt_1",
    "type": "user.message",
    "processed_at": 7,
    "body": "{}",
    "hidden": "",
    "link": "l1",
}


async def test_whose_an_event_is_comes_along_and_is_the_primarys_in_exports_of_earlier_releases(tmp_path: Path) -> None:
    with TrailWriter(tmp_path / "export") as export:
        export.add("events", [EVENT, {**EVENT, "seq": 2, "thread": "sthr_1"}])
    rows = await ParquetTrail(tmp_path / "export").rows("sesn_1", 0, 10)
    assert [(row.seq, row.thread) for row in rows] == [(1, ""), (2, "sthr_1")]
    events = tmp_path / "export" / "events.parquet"
    pq.write_table(pq.read_table(events).drop_columns(["thread"]), events)
    rows = await ParquetTrail(tmp_path / "export").rows("sesn_1", 0, 10)
    assert [(row.link, row.thread) for row in rows] == [("l1", ""), ("l1", "")]
