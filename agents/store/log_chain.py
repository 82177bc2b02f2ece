"""The chain of each session's log, held by its writer: hashes of events, computed as they are encoded.

The writer knows the last link of every session that it has read or written, so that a commit asks the database nothing
for it; one that it does not know is read. Bounded; it may forget what no commit under way builds on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from agents.governance.audit.chain import link, row_digest, session_link
from agents.store.batch import Change
from agents.store.codec import Row
from agents.store.engine import Database
from agents.store.tables import audit_redactions, events

_REMEMBERED = 16_384
"""Sessions. Commits are written in their order and at most 4096 wait: none that is under way is ever forgotten."""

_LAST = (
    select(events.c.seq, events.c.link)
    .where(events.c.session_id == bindparam("key"), events.c.seq <= bindparam("at"), events.c.link.is_not(None))
    .order_by(events.c.seq.desc())
    .limit(1)
)
_ROWS = (
    select(events)
    .where(events.c.session_id == bindparam("key"), events.c.seq > bindparam("after"), events.c.seq <= bindparam("at"))
    .order_by(events.c.seq)
)
_REDACTED = select(audit_redactions.c.seq, audit_redactions.c.digest_before).where(
    audit_redactions.c.session_id == bindparam("key")
)


def chain_rows(rows: Sequence[Row], before: str) -> str:
    """Give every row its link, the first one chained to *before*; returns the last."""
    for row in rows:
        before = row["link"] = link(before, row_digest(row))
    return before


def link_at(connection: Connection, session_id: str, seq: int) -> str:
    """Return the link of a session's log at a position, also where a release before the trail wrote the last events."""
    if seq == 0:
        return session_link(session_id)
    found = connection.execute(_LAST, {"key": session_id, "at": seq}).first()
    after, before = (0, session_link(session_id)) if found is None else (found[0], found[1])
    if after == seq:
        return before
    redacted = {row[0]: row[1] for row in connection.execute(_REDACTED, {"key": session_id})}
    for row in connection.execute(_ROWS, {"key": session_id, "after": after, "at": seq}).mappings():
        before = link(before, redacted.get(row["seq"]) or row_digest(row))
    return before


class LogChain:
    """The last links of the sessions that one process writes to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, tuple[int, str]] = OrderedDict()
        self._reading = asyncio.Lock()

    def linked(self, change: Change) -> bool:
        """Chain the events of a change, and build on them from now on. False when the link before is not known here."""
        rows, session_id, position = change.events, change.session_id, change.expected_seq
        if not rows:
            return True
        if position == 0:
            before = session_link(session_id)
        else:
            known = self._known.get(session_id)
            if known is None or known[0] != position:
                return False
            before = known[1]
        self._remember(session_id, position + len(rows), chain_rows(rows, before))
        return True

    async def link(self, change: Change) -> None:
        """Do the same for a session whose last link has to be read. Raises Unavailable."""
        # One at a time: a later change of the same session must find what this one has left.
        async with self._reading:
            if self.linked(change):
                return
            key, seq = change.session_id, change.expected_seq
            self._remember(key, seq, await self._database.read(lambda connection: link_at(connection, key, seq)))
            self.linked(change)

    def learn(self, session_id: str, seq: int, last: str) -> None:
        """Take note of the link of a log that was read, unless what is written here has come further."""
        if session_id not in self._known or self._known[session_id][0] < seq:
            self._remember(session_id, seq, last)

    def take_back(self, change: Change) -> None:
        """Forget what a change has added, that was not written or nobody knows."""
        if change.events:
            last = change.expected_seq + len(change.events), change.events[-1]["link"]
            if self._known.get(change.session_id) == last:
                del self._known[change.session_id]

    def forget(self, session_id: str) -> None:
        """Let go of a session that is no more."""
        self._known.pop(session_id, None)

    def _remember(self, session_id: str, seq: int, last: str) -> None:
        self._known[session_id] = seq, last
        self._known.move_to_end(session_id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
