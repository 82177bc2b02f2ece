"""Retention of the trail: old entries go, in whole ranges, and the chain stays valid without them.

An entry says which ranges are gone, each with the hash of its last entry, which the entry that follows is chained to.
It names all that were ever taken, so the entries that said so before can go in their turn. What concerns a session
under legal hold stays, and what says of an event that it was redacted. So does a seal's word on every session: before
its entry goes it is said again.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sqlalchemy import Connection, and_, bindparam, delete, exists, func, not_, or_, select

from agents.governance.audit.entries import PRUNE
from agents.governance.audit.pruning import gaps_of, missing, tombstone
from agents.ids import new_id
from agents.store.audit_rows import entry_of
from agents.store.audit_writing import LEAVES, Grown, add_entries, lock, seal
from agents.store.codec import micros
from agents.store.engine import Database
from agents.store.tables import audit_entries, audit_holds, audit_leaves, audit_redactions, sessions

_HEAD = select(func.max(audit_entries.c.seq)).scalar_subquery()
_LAST_OLD = select(func.max(audit_entries.c.seq)).where(
    # The newest entry stays, so that there is one to go on from.
    audit_entries.c.at < bindparam("before"),
    audit_entries.c.seq < _HEAD,
)
_later = audit_leaves.alias("later")
_ONLY_THERE = (
    select(audit_leaves.c.session_id, audit_leaves.c.seq, audit_leaves.c.head)
    .join(sessions, sessions.c.id == audit_leaves.c.session_id)
    .where(
        audit_leaves.c.entry <= bindparam("last"),
        audit_leaves.c.deleted == 0,
        ~exists().where(
            _later.c.session_id == audit_leaves.c.session_id,
            and_(_later.c.seq >= audit_leaves.c.seq, _later.c.entry > bindparam("last")),
        ),
    )
    .order_by(audit_leaves.c.session_id, audit_leaves.c.seq.desc())
    .limit(LEAVES)
)
"""The word of old seals on sessions that no newer seal speaks of; the newest comes first."""
_kept = or_(
    exists().where(audit_holds.c.session_id == audit_entries.c.object),
    exists().where(audit_redactions.c.entry == audit_entries.c.seq),
)
_PORTION = 1000
"""Entries that go in one transaction: whoever acts, or commits to SQLite, waits for it."""
_PORTION_END = (
    select(audit_entries.c.seq)
    .where(audit_entries.c.seq <= bindparam("last"), not_(_kept))
    .order_by(audit_entries.c.seq)
    .offset(bindparam("portion"))
    .limit(1)
)
_OLD = select(audit_entries.c.seq, audit_entries.c.hash).where(audit_entries.c.seq <= bindparam("last"))
_TOMBSTONE = select(audit_entries).where(audit_entries.c.action == PRUNE).order_by(audit_entries.c.seq.desc()).limit(1)
_DELETE = delete(audit_entries).where(audit_entries.c.seq <= bindparam("last"), not_(_kept))
_DELETE_LEAVES = delete(audit_leaves).where(audit_leaves.c.entry <= bindparam("last"))


async def prune(database: Database, now: datetime, before: datetime) -> int:
    """Delete entries older than *before*; returns how many. Raises Unavailable."""
    last = await database.read(partial(_last_old, before=before))
    if last is None:
        return 0
    while again := await database.read(partial(_only_there, last=last)):
        await database.write(partial(seal, grown=again, at=now, entry_id=new_id("audt")), repeatable=True)
    total = 0
    while gone := await database.write(partial(_prune, last=last, now=now, before=before)):
        total += gone
    return total


def _last_old(connection: Connection, before: datetime) -> int | None:
    return connection.execute(_LAST_OLD, {"before": micros(before)}).scalar()


def _only_there(connection: Connection, last: int) -> list[Grown]:
    rows = connection.execute(_ONLY_THERE, {"last": last}).all()
    newest_of: dict[str, Grown] = {}
    for name, seq, head in rows:
        newest_of.setdefault(name, (name, seq, head))
    return list(newest_of.values())


def _prune(connection: Connection, last: int, now: datetime, before: datetime) -> int:
    lock(connection)
    beyond = connection.execute(_PORTION_END, {"last": last, "portion": _PORTION}).scalar()
    if beyond is not None:
        last = beyond - 1
    old = {row.seq: row.hash for row in connection.execute(_OLD, {"last": last})}
    tombstones = connection.execute(_TOMBSTONE).mappings()
    known = gaps_of(next((entry_of(row) for row in tombstones), None))
    gone = connection.execute(_DELETE, {"last": last}).rowcount
    if not gone:
        return 0
    connection.execute(_DELETE_LEAVES, {"last": last}).close()
    kept = [row.seq for row in connection.execute(_OLD, {"last": last})]
    gaps = missing(kept, old, known.values(), last)
    add_entries(connection, [tombstone(now, before, gone, gaps)])
    return gone
