"""The trail on a database: see ``agents.governance.audit.trail`` for what each does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select, union

from agents.clock import Clock
from agents.errors import Conflict, NotFound
from agents.governance.audit.entries import AuditEntry, ChainedEntry, EntryQuery
from agents.governance.audit.trail import Hold, Leaf, LoggedRow, Standing
from agents.store.audit_pruning import prune
from agents.store.audit_recording import Recorder
from agents.store.audit_redacting import redact
from agents.store.audit_rows import entry_of, hold_of, leaf_of, logged_row, redaction_of
from agents.store.audit_writing import add_entries, newest
from agents.store.codec import clamped, findable, micros
from agents.store.engine import Database
from agents.store.sealing import Sealer
from agents.store.tables import (
    audit_deletions,
    audit_entries,
    audit_holds,
    audit_leaves,
    audit_redactions,
    events,
    sessions,
)

_KEY: BindParameter[str] = bindparam("key")
_LEAVES = select(audit_leaves).where(audit_leaves.c.entry == bindparam("entry")).order_by(audit_leaves.c.session_id)
_LEAVES_OF = (
    select(audit_leaves)
    .where(audit_leaves.c.session_id == _KEY)
    .order_by(audit_leaves.c.seq, audit_leaves.c.deleted, audit_leaves.c.entry)
)
_REDACTIONS_OF = select(audit_redactions).where(audit_redactions.c.session_id == _KEY).order_by(audit_redactions.c.seq)
_SEQ_OF = select(sessions.c.seq).where(sessions.c.id == _KEY)
_DELETED_AT = select(audit_deletions.c.seq).where(audit_deletions.c.session_id == _KEY)
_AFTER: BindParameter[Any] = bindparam("after")
_MOST: BindParameter[int] = bindparam("most")
_ROWS = select(events).where(events.c.session_id == _KEY, events.c.seq > _AFTER).order_by(events.c.seq).limit(_MOST)
_IDS = [
    select(select(column.label("name")).where(column > _AFTER).distinct().order_by(column).limit(_MOST).subquery())
    for column in (sessions.c.id, audit_leaves.c.session_id, events.c.session_id)
]
_SESSIONS = union(*_IDS).subquery()
_NAMES = select(_SESSIONS.c.name).order_by(_SESSIONS.c.name).limit(_MOST)
_HOLDS = select(audit_holds).order_by(audit_holds.c.session_id)
_RELEASE = delete(audit_holds).where(audit_holds.c.session_id == _KEY)


class SqlTrailReader:
    """The TrailReader of SQLite and PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(self, query: EntryQuery) -> Sequence[ChainedEntry]:
        """See TrailReader.entries. Raises Unavailable."""
        seq, statement = audit_entries.c.seq, select(audit_entries)
        for name in ("actor", "action", "object", "hash"):
            wanted: str | None = getattr(query, name)
            if wanted is not None:
                if not findable(wanted):
                    return []
                statement = statement.where(audit_entries.c[name] == wanted)
        if query.since is not None:
            statement = statement.where(audit_entries.c.at >= clamped(query.since))
        if query.until is not None:
            statement = statement.where(audit_entries.c.at < clamped(query.until))
        if query.after is not None:
            place = clamped(query.after)
            statement = statement.where(seq < place if query.newest_first else seq > place)
        statement = statement.order_by(seq.desc() if query.newest_first else seq).limit(query.limit)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [entry_of(row) for row in rows]

    async def head(self) -> ChainedEntry | None:
        """See AuditTrail.head. Raises Unavailable."""
        return await self._database.read(newest)

    async def leaves(self, entry: int) -> Sequence[Leaf]:
        """See TrailReader.leaves. Raises Unavailable."""
        chosen = {"entry": entry}
        rows = await self._database.read(lambda connection: connection.execute(_LEAVES, chosen).mappings().all())
        return [leaf_of(row) for row in rows]

    async def sessions(self, after: str, limit: int) -> Sequence[str]:
        """See TrailReader.sessions. Raises Unavailable."""
        if not findable(after):
            return []
        chosen = {"after": after, "most": limit}
        return await self._database.read(lambda connection: list(connection.execute(_NAMES, chosen).scalars()))

    async def standing(self, session_id: str) -> Standing:
        """See TrailReader.standing. Raises Unavailable."""
        if not findable(session_id):
            return Standing(None, None)
        return await self._database.read(partial(_standing, session_id=session_id))

    async def rows(self, session_id: str, after: int, limit: int) -> Sequence[LoggedRow]:
        """See TrailReader.rows. Raises Unavailable."""
        if not findable(session_id):
            return []
        chosen = {"key": session_id, "after": clamped(after), "most": limit}
        rows = await self._database.read(lambda connection: connection.execute(_ROWS, chosen).mappings().all())
        return [logged_row(row) for row in rows]


class SqlAuditTrail(SqlTrailReader):
    """The AuditTrail of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock, sealer: Sealer) -> None:
        super().__init__(database)
        self._clock = clock
        self._sealer = sealer
        self._recorder = Recorder(database, clock)
        self.record = self._recorder.record
        self.require_room = self._recorder.require_room
        self.seal = sealer.seal

    async def hold(self, hold: Hold, entry: AuditEntry) -> None:
        """See AuditTrail.hold. Raises NotFound, Conflict, Unavailable."""
        if not findable(hold.session_id):
            raise NotFound("session not found")
        await self._database.write(partial(_hold, hold=hold, entry=entry))

    async def release(self, session_id: str, entry: AuditEntry) -> None:
        """See AuditTrail.release. Raises NotFound, Unavailable."""
        if not findable(session_id):
            raise NotFound("session not found")
        await self._database.write(partial(_release, session_id=session_id, entry=entry))

    async def holds(self, session_id: str | None = None) -> Sequence[Hold]:
        """See AuditTrail.holds. Raises Unavailable."""
        statement = _HOLDS
        if session_id is not None:
            if not findable(session_id):
                return []
            statement = statement.where(audit_holds.c.session_id == session_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).mappings().all())
        return [hold_of(row) for row in rows]

    async def redact(self, session_id: str, event_id: str, entry: AuditEntry) -> None:
        """See AuditTrail.redact. Raises NotFound, Conflict, InvalidRequest, Unavailable."""
        if not (findable(session_id) and findable(event_id)):
            raise NotFound("event not found")
        work = partial(redact, session_id=session_id, event_id=event_id, entry=entry, now=self._clock.now())
        await self._database.write(work)

    async def prune(self, before: datetime) -> int:
        """See AuditTrail.prune. Raises Unavailable."""
        return await prune(self._database, self._clock.now(), before)

    async def close(self) -> None:
        """Write what waits, and seal what is left. Raises Unavailable."""
        try:
            await self._recorder.close()
        finally:
            await self._sealer.close()


def _standing(connection: Connection, session_id: str) -> Standing:
    chosen = {"key": session_id}
    return Standing(
        seq=connection.execute(_SEQ_OF, chosen).scalar(),
        deleted=connection.execute(_DELETED_AT, chosen).scalar(),
        leaves=[leaf_of(row) for row in connection.execute(_LEAVES_OF, chosen).mappings()],
        redactions=[redaction_of(row) for row in connection.execute(_REDACTIONS_OF, chosen).mappings()],
    )


def _hold(connection: Connection, hold: Hold, entry: AuditEntry) -> None:
    chosen = {"key": hold.session_id}
    # Locked, so that no deletion that has not seen the hold is still to come.
    if connection.execute(_SEQ_OF.with_for_update(), chosen).first() is None:
        raise NotFound(f"session {hold.session_id} not found")
    if connection.execute(_HOLDS.where(audit_holds.c.session_id == _KEY), chosen).first() is not None:
        raise Conflict(f"session {hold.session_id} is under legal hold already")
    row = {"session_id": hold.session_id, "reason": hold.reason, "actor": hold.actor, "at": micros(hold.at)}
    connection.execute(insert(audit_holds), row)
    add_entries(connection, [entry])


def _release(connection: Connection, session_id: str, entry: AuditEntry) -> None:
    if not connection.execute(_RELEASE, {"key": session_id}).rowcount:
        raise NotFound(f"session {session_id} is not under legal hold")
    add_entries(connection, [entry])
