"""Adding to the trail: plain functions of one open transaction, the same on both databases.

The chain has one end, so whoever adds to it waits for the others: on PostgreSQL for an advisory lock, on SQLite for the
write lock, which the transaction has anyway. That is why entries come in groups and the sessions' logs in seals.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from agents.governance.audit.chain import FIRST_LINK, leaves_digest
from agents.governance.audit.entries import SEAL, SYSTEM, AuditEntry, ChainedEntry, chained
from agents.store.audit_rows import entry_of
from agents.store.codec import Row, micros
from agents.store.tables import audit_deletions, audit_entries, audit_leaves

_LOCK = 0x4865_6361_746F_6E01
"""An advisory lock of PostgreSQL, beside the one of migrations."""
_NEWEST = select(audit_entries).order_by(audit_entries.c.seq.desc()).limit(1)
_THERE = select(audit_entries.c.id).where(audit_entries.c.id.in_(bindparam("ids", expanding=True)))
_INSERT = insert(audit_entries)
_INSERT_LEAVES = insert(audit_leaves)
_DELETED = select(audit_deletions).order_by(audit_deletions.c.session_id).limit(bindparam("most"))
_SETTLE = delete(audit_deletions).where(audit_deletions.c.session_id.in_(bindparam("ids", expanding=True)))

LEAVES = 1000
"""Lines of one seal."""
Grown = tuple[str, int, str]
"""A session, its position, and the link there."""


def lock(connection: Connection) -> None:
    """Be the only one who adds to the trail until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK))).close()


def newest(connection: Connection) -> ChainedEntry | None:
    row = connection.execute(_NEWEST).mappings().first()
    return None if row is None else entry_of(row)


def add_entries(connection: Connection, entries: Sequence[AuditEntry]) -> list[ChainedEntry]:
    """Add entries to the chain, less those that are there already: a commit that nobody heard of is done again."""
    lock(connection)
    there = set(connection.execute(_THERE, {"ids": [entry.id for entry in entries]}).scalars())
    last = newest(connection)
    seq, before = (0, FIRST_LINK) if last is None else (last.seq, last.hash)
    added: list[ChainedEntry] = []
    rows: list[Row] = []
    for entry in entries:
        if entry.id not in there:
            seq += 1
            placed = chained(entry, seq, before, micros(entry.at))
            before = placed.hash
            added.append(placed)
            rows.append(entry_row(entry.id, placed))
    if rows:
        connection.execute(_INSERT, rows)
    return added


def seal(connection: Connection, grown: Sequence[Grown], at: datetime, entry_id: str) -> int:
    """Bring heads of sessions' logs into the chain, and the deletions that wait for it; returns how many there were."""
    lock(connection)
    gone = connection.execute(_DELETED, {"most": LEAVES}).all()
    leaves = [(*each, False) for each in grown] + [(name, seq, head, True) for name, seq, head in gone]
    if not leaves:
        return 0
    detail = {"sessions": len(leaves), "digest": leaves_digest(leaves)}
    for placed in add_entries(connection, [AuditEntry(at, SYSTEM, SEAL, detail=detail, id=entry_id)]):
        rows = [
            {"entry": placed.seq, "session_id": name, "seq": seq, "head": head, "deleted": int(deleted)}
            for name, seq, head, deleted in leaves
        ]
        connection.execute(_INSERT_LEAVES, rows)
        if gone:
            connection.execute(_SETTLE, {"ids": [row[0] for row in gone]})
    return len(leaves)


def entry_row(entry_id: str, placed: ChainedEntry) -> Row:
    return {
        "id": entry_id,
        "seq": placed.seq,
        "at": placed.at,
        "actor": placed.actor,
        "action": placed.action,
        "object": placed.object,
        "body": placed.body,
        "hash": placed.hash,
    }
