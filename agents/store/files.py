"""Files and their blobs, on a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Insert, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

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
from agents.store.codec import findable, micros
from agents.store.engine import Database
from agents.store.file_rows import file_of, file_row
from agents.store.inserts import insert_new
from agents.store.paging import page
from agents.store.tables import blobs, files, sessions

_F, _B = files.c, blobs.c
_COUNTED = (FileKind.UPLOAD.value, FileKind.OUTPUT.value)
"""Mounts take no room: their bytes are an upload's."""


def _claiming() -> Mapping[str, Insert]:
    """Return the insert of a claim, or its renewal unless the blob is leaving, by dialect."""
    made: dict[str, Insert] = {}
    for name, into in (("postgresql", postgresql.insert(blobs)), ("sqlite", sqlite.insert(blobs))):
        renewed = {"claimed_at": into.excluded.claimed_at}
        made[name] = into.on_conflict_do_update(index_elements=[_B.sha256], set_=renewed, where=_B.leaving == 0)
    return made


_CLAIM = _claiming()
_NEW_FILE = insert_new(files)


class SqlFiles:
    """The FileRecords of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, sha256: str, size: int, moment: datetime) -> None:
        """See FileRecords.claim."""
        row = {"sha256": sha256, "size": size, "claimed_at": micros(moment), "leaving": 0}

        def work(connection: Connection) -> None:
            if not connection.execute(_CLAIM[connection.dialect.name].values(row)).rowcount:
                raise BlobLeaving(f"blob {sha256} is being removed; try again")

        await self._database.write(work)

    async def insert(self, file: FileRecord, *, most_bytes: int, outputs: OutputBounds | None = None) -> None:
        """See FileRecords.insert."""
        row = file_row(file)
        # An expired file has its row still, and no bytes.
        mine = select(func.coalesce(func.sum(_F.size), 0)).where(
            _F.workspace_id == file.workspace_id, _F.kind.in_(_COUNTED), _F.sha256 != ""
        )
        theirs = select(func.count(), func.coalesce(func.sum(_F.size), 0)).where(
            _F.session_id == file.session_id, _F.kind == FileKind.OUTPUT.value
        )
        before = (_F.session_id == file.session_id, _F.path == file.path)

        def work(connection: Connection) -> None:
            if file.path is not None:
                _claim_of(connection, file.created_at, *before)
                connection.execute(delete(files).where(*before))
            if int(connection.execute(mine).scalar_one()) + file.size > most_bytes:
                raise full(most_bytes)
            if outputs is not None:
                count, size = connection.execute(theirs).one()
                check_outputs(outputs, count + 1, int(size) + file.size)
            connection.execute(insert(files), row)

        await self._database.write(work)

    async def insert_copy(self, file: FileRecord, source_id: str) -> None:
        """See FileRecords.insert_copy."""
        row = file_row(file)
        # Locked: its blob has a row at every moment, this one's or the copy's.
        source = select(_F.id).where(_F.id == source_id, _F.sha256 == file.sha256).with_for_update()

        def work(connection: Connection) -> None:
            if connection.execute(source).first() is None:
                raise no_file(source_id)
            connection.execute(_NEW_FILE[connection.dialect.name].values(row)).close()

        await self._database.write(work)

    async def get(self, file_id: str) -> FileRecord:
        """See FileRecords.get."""
        if not findable(file_id):
            raise no_file(file_id)
        wanted = select(files).where(_F.id == file_id)
        row = await self._database.read(lambda connection: connection.execute(wanted).mappings().first())
        if row is None:
            raise no_file(file_id)
        return file_of(row)

    async def list(self, query: FileListing) -> Sequence[FileRecord]:
        """See FileRecords.list."""
        wanted = select(files)
        if query.session_id is not None:
            if not findable(query.session_id):
                return []
            wanted = wanted.where(_F.session_id == query.session_id)
        if query.ids is not None:
            wanted = wanted.where(_F.id.in_([name for name in query.ids if findable(name)]))
        # No column of files says that one is archived: the listing never asks.
        statement = page(wanted, _F.created_at, _F.id, _F.expires_at, query, workspace=_F.workspace_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [file_of(row) for row in rows]

    async def delete(self, file_id: str, moment: datetime) -> None:
        """See FileRecords.delete."""
        if not findable(file_id) or not await self._delete(moment, _F.id == file_id):
            raise no_file(file_id)

    async def delete_of_session(self, session_id: str, moment: datetime) -> None:
        """See FileRecords.delete_of_session."""
        await self._delete(moment, _F.session_id == session_id)

    async def delete_orphans(self, moment: datetime, *, made_before: datetime) -> int:
        """See FileRecords.delete_orphans."""
        there = exists().where(sessions.c.id == _F.session_id)
        return await self._delete(moment, _F.session_id.is_not(None), _F.created_at < micros(made_before), ~there)

    async def expire(self, now: datetime) -> int:
        """See FileRecords.expire."""
        wanted = (_F.expires_at <= micros(now), _F.sha256 != "")

        def work(connection: Connection) -> int:
            _claim_of(connection, now, *wanted)
            return connection.execute(update(files).where(*wanted).values(sha256="")).rowcount

        return await self._database.write(work)

    async def _delete(self, moment: datetime, *wanted: ColumnElement[bool]) -> int:
        def work(connection: Connection) -> int:
            _claim_of(connection, moment, *wanted)
            return connection.execute(delete(files).where(*wanted)).rowcount

        return await self._database.write(work)

    async def leaving(
        self, moment: datetime, *, unclaimed_since: datetime, unmarked_since: datetime, limit: int
    ) -> Sequence[str]:
        """See FileRecords.leaving."""
        has_file = exists().where(_F.sha256 == _B.sha256)
        unclaimed = and_(_B.leaving == 0, _B.claimed_at < micros(unclaimed_since), ~has_file)
        left_over = and_(_B.leaving == 1, _B.claimed_at < micros(unmarked_since))
        finds = [select(_B.sha256).where(each).order_by(_B.claimed_at).limit(limit) for each in (left_over, unclaimed)]
        marking = update(blobs).values(leaving=1, claimed_at=micros(moment)).returning(_B.sha256)

        def work(connection: Connection) -> list[str]:
            names = [name for find in finds for name in connection.execute(find).scalars()][:limit]
            # Looked at again with the row locked: it may have been claimed since it was found, or another's mark.
            mine = marking.where(_B.sha256.in_(names), or_(left_over, unclaimed))
            return sorted(connection.execute(mine).scalars())

        return await self._database.write(work)

    async def gone(self, sha256: str, moment: datetime) -> None:
        """See FileRecords.gone."""
        wanted = delete(blobs).where(*_marked(sha256, moment))
        await self._database.write(lambda connection: connection.execute(wanted).close())

    async def stay(self, sha256: str, moment: datetime) -> None:
        """See FileRecords.stay."""
        wanted = update(blobs).where(*_marked(sha256, moment)).values(leaving=0)
        await self._database.write(lambda connection: connection.execute(wanted).close())


def _claim_of(connection: Connection, moment: datetime, *wanted: ColumnElement[bool]) -> None:
    """Claim the blobs of files that are about to lose them."""
    theirs = select(_F.sha256).where(*wanted)
    connection.execute(update(blobs).where(_B.sha256.in_(theirs)).values(claimed_at=micros(moment)))


def _marked(sha256: str, moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return _B.sha256 == sha256, _B.leaving == 1, _B.claimed_at == micros(moment)
