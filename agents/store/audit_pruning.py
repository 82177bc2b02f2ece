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
from agents.governance.audit.pruning import missing, tombstone
from agents.governance.audit.verification import gaps_of
from agents.ids import new_id
from agents.store.audit_rows import entry_of
from agents.store.audit_writing import LEAVES, Grown, add_entries, lock, newest, seal
from agents.store.codec import micros
from agents.store.engine import Database
from agents.store.tables import audit_entries, audit_holds, audit_leaves, audit_redactions, sessions

_LAST_OLD = select(func.max(audit_entries.c.seq)).where(audit_entries.c.at < bindparam("before"))
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
_OLD = select(audit_entries).where(audit_entries.c.seq <= bindparam("last")).order_by(audit_entries.c.seq)
_TOMBSTONES = select(audit_entries).where(audit_entries.c.action == PRUNE).order_by(audit_entries.c.seq)
_DELETE = delete(audit_entries).where(audit_entries.c.seq <= bindparam("last"), not_(_kept))
_DELETE_LEAVES = delete(audit_leaves).where(audit_leaves.c.entry <= bindparam("last"))


async def prune(database: Database, now: datetime, before: datetime) -> int:
    """Delete entries older than *before*; returns how many. Raises Unavailable."""
    last = await database.read(partial(_last_old, before=before))
    if last is None:
        return 0
    while again := await database.read(partial(_only_there, last=last)):
        await database.write(partial(seal, grown=again, at=now, entry_id=new_id("audt")), repeatable=True)
    work = partial(_prune, last=last, now=now, before=before)
    return await database.write(work)


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
    head = newest(connection)
    if head is None or head.seq <= last:
        # The newest entry stays, so that there is one to go on from.
        last = (head.seq if head else 0) - 1
    old = [entry_of(row) for row in connection.execute(_OLD, {"last": last}).mappings()]
    tombstones = [entry_of(row) for row in connection.execute(_TOMBSTONES).mappings()]
    known = gaps_of(tombstones)
    gone = connection.execute(_DELETE, {"last": last}).rowcount
    if not gone:
        return 0
    connection.execute(_DELETE_LEAVES, {"last": last}).close()
    kept = set(connection.execute(select(audit_entries.c.seq).where(audit_entries.c.seq <= last)).scalars())
    gaps = missing(kept, old, known.values(), last)
    add_entries(connection, [tombstone(now, before, gone, gaps)])
    return gone
