"""Files and their blobs, in one process's memory; nothing between two awaits changes but at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from agents.errors import Conflict
from agents.files.records import (
    BlobLeaving,
    FileKind,
    FileListing,
    FileRecord,
    OutputBounds,
    check_outputs,
    full,
    no_file,
)
from agents.store.codec import Row, micros
from agents.store.file_rows import file_of, file_row
from agents.store.memory_catalog import memory_page


class MemoryFiles:
    """The FileRecords of one process."""

    def __init__(self, has_session: Callable[[str], bool]) -> None:
        self._has_session = has_session
        self._files: dict[str, Row] = {}
        self._blobs: dict[str, Row] = {}

    async def claim(self, sha256: str, size: int, moment: datetime) -> None:
        blob = self._blobs.setdefault(sha256, {"size": size, "claimed_at": 0, "leaving": 0})
        if blob["leaving"]:
            raise BlobLeaving(f"blob {sha256} is being removed; try again")
        blob["claimed_at"] = micros(moment)

    async def insert(self, file: FileRecord, *, most_bytes: int, outputs: OutputBounds | None = None) -> None:
        row = file_row(file)
        place = (file.session_id, file.path)
        before = [
            other
            for other in self._files.values()
            if file.path is not None and (other["session_id"], other["path"]) == place
        ]
        kept = [other for other in self._files.values() if other not in before]
        if _counted(kept, file.workspace_id) + file.size > most_bytes:
            raise full(most_bytes)
        if outputs is not None:
            of_session = (file.session_id, FileKind.OUTPUT.value)
            theirs = [row["size"] for row in kept if (row["session_id"], row["kind"]) == of_session]
            check_outputs(outputs, len(theirs) + 1, sum(theirs) + file.size)
        self._delete(before, file.created_at)
        self._insert(row)

    async def insert_copy(self, file: FileRecord, source_id: str) -> None:
        row = file_row(file)
        source = self._files.get(source_id)
        if source is None or source["sha256"] != file.sha256:
            raise no_file(source_id)
        if file.id not in self._files:
            self._insert(row)

    async def get(self, file_id: str) -> FileRecord:
        row = self._files.get(file_id)
        if row is None:
            raise no_file(file_id)
        return file_of(row)

    async def list(self, query: FileListing) -> Sequence[FileRecord]:
        found = [
            file
            for file in map(file_of, self._files.values())
            if query.session_id in (None, file.session_id) and (query.ids is None or file.id in query.ids)
        ]
        return memory_page(found, query)

    async def delete(self, file_id: str, moment: datetime) -> None:
        if (row := self._files.get(file_id)) is None:
            raise no_file(file_id)
        self._delete([row], moment)

    async def delete_of_session(self, session_id: str, moment: datetime) -> None:
        self._delete([row for row in self._files.values() if row["session_id"] == session_id], moment)

    async def delete_orphans(self, moment: datetime, *, made_before: datetime) -> int:
        orphans = [row for row in self._files.values() if self._is_orphan(row, made_before)]
        self._delete(orphans, moment)
        return len(orphans)

    async def expire(self, now: datetime) -> int:
        gone = [
            row
            for row in self._files.values()
            if row["sha256"] and row["expires_at"] is not None and row["expires_at"] <= micros(now)
        ]
        self._claim_of(gone, now)
        for row in gone:
            row["sha256"] = ""
        return len(gone)

    async def leaving(
        self, moment: datetime, *, unclaimed_since: datetime, unmarked_since: datetime, limit: int
    ) -> Sequence[str]:
        used = {row["sha256"] for row in self._files.values()}
        since = {0: micros(unclaimed_since), 1: micros(unmarked_since)}
        old = [name for name, blob in self._blobs.items() if blob["claimed_at"] < since[blob["leaving"]]]
        idle = [name for name in old if name not in used]
        marked = sorted(idle, key=lambda name: (-self._blobs[name]["leaving"], self._blobs[name]["claimed_at"]))[:limit]
        for name in marked:
            self._blobs[name] |= {"leaving": 1, "claimed_at": micros(moment)}
        return sorted(marked)

    async def gone(self, sha256: str, moment: datetime) -> None:
        if self._is_marked(sha256, moment):
            del self._blobs[sha256]

    async def stay(self, sha256: str, moment: datetime) -> None:
        if self._is_marked(sha256, moment):
            self._blobs[sha256]["leaving"] = 0

    def _is_marked(self, sha256: str, moment: datetime) -> bool:
        blob = self._blobs.get(sha256)
        return blob is not None and bool(blob["leaving"]) and blob["claimed_at"] == micros(moment)

    def _is_orphan(self, row: Row, made_before: datetime) -> bool:
        of, old = row["session_id"], row["created_at"] < micros(made_before)
        return of is not None and old and not self._has_session(of)

    def _delete(self, rows: Sequence[Row], moment: datetime) -> None:
        self._claim_of(rows, moment)
        for row in rows:
            del self._files[row["id"]]

    def _claim_of(self, rows: Sequence[Row], moment: datetime) -> None:
        for row in rows:
            if (blob := self._blobs.get(row["sha256"])) is not None:
                blob["claimed_at"] = micros(moment)

    def _insert(self, row: Row) -> None:
        if row["id"] in self._files:
            raise Conflict(f"file {row['id']} already exists, or another one has its place")
        self._files[row["id"]] = row


def _counted(rows: Iterable[Row], workspace_id: str) -> int:
    return sum(
        row["size"]
        for row in rows
        if row["workspace_id"] == workspace_id and row["kind"] != FileKind.MOUNT.value and row["sha256"]
    )
