"""Who owns which partition, decided in one transaction per claim.

Invariants: the epoch of a partition only grows, and every claim makes it grow, also one by the same
owner; so a writer from before the claim is told apart from one after it. A released partition keeps
its row, because its epoch must not start again; so does a member that left, because of its generation.
Time is the claimant's clock: when clocks differ, a lease may change hands early, which the epoch makes
harmless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from agents.clock import Clock
from agents.errors import Fenced
from agents.sessions.log import Lease, LeaseTable
from agents.store.codec import Row, RowView, micros, moment_at
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.tables import leases, members

_LOCKED = (
    select(leases)
    .where(leases.c.partition.in_(bindparam("partitions", expanding=True)))
    .order_by(leases.c.partition)
    # Who holds a row now may be frozen: the others of the claim need not wait for it, and it is claimed again soon.
    .with_for_update(skip_locked=True)
)
_GRANT = (
    update(leases)
    .where(leases.c.partition == bindparam("key"))
    .values(owner=bindparam("owner"), epoch=bindparam("epoch"), expires_at=bindparam("expires_at"))
)
_OF_MEMBER = update(leases).where(leases.c.owner == bindparam("name"))
_FREE_ALL = _OF_MEMBER.values(owner=None, expires_at=0)
_ORPHAN_ALL = _OF_MEMBER.values(owner=None)
"""An expiry without an owner says until when somebody held the partition who never gave it back."""
FREE: Mapping[str, Any] = {"owner": None, "epoch": 0, "expires_at": 0}
_INSERT_MISSING = insert_new(leases)
_INSERT_MEMBER = insert_new(members)
_MEMBER = select(members).where(members.c.name == bindparam("key")).with_for_update()
_SET_MEMBER = (
    update(members)
    .where(members.c.name == bindparam("key"))
    .values(generation=bindparam("generation"), expires_at=bindparam("expires_at"))
)
_SHORT_SECONDS = 5.0
"""Nobody waits long to give back or to look: it is soon done anew, or by others. The rest waits its ttl at most."""
LEFT = 0
"""Expiry of a member that left. One that is merely late comes back by renewing."""


def claimable(row: RowView, owner: str, now: int) -> bool:
    """Whether *owner* may take the partition of a lease row at *now* (microseconds)."""
    return row["owner"] in (None, owner) or row["expires_at"] <= now


def claimed(row: RowView, owner: str) -> Lease:
    """Return the lease that *owner* gets by claiming the partition of a lease row."""
    lapsed_at = moment_at(row["expires_at"]) if row["expires_at"] else None
    return Lease(row["partition"], owner, row["epoch"] + 1, lapsed_at)


def expiry(clock: Clock, ttl: float) -> int:
    return micros(clock.now() + timedelta(seconds=ttl))


def check_generation(row: RowView | None, name: str, generation: int) -> None:
    """Raise Fenced unless the member row is of this generation and has not left."""
    if row is None or row["generation"] != generation:
        raise Fenced(f"{name}: a later process has taken this name over (generation {generation} is past)")
    if row["expires_at"] == LEFT:
        raise Fenced(f"{name}: generation {generation} has left")


class SqlLeases:
    """The Leases of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def fix_partitions(self, count: int) -> int:
        """Settle how many partitions there are, when nobody has yet; returns the number for good. Raises Unavailable.

        A session's partition is stored with it, and found by hashing its id into their number.
        """

        def work(connection: Connection) -> int:
            known = connection.execute(select(func.count()).select_from(leases)).scalar_one()
            if known == 0:
                insert_missing = _INSERT_MISSING[connection.dialect.name]
                connection.execute(insert_missing, [{"partition": partition, **FREE} for partition in range(count)])
            return known or count

        return await self._database.write(work, repeatable=True)

    async def join(self, name: str, *, ttl: float) -> int:
        """Start a new generation of *name*; what an earlier one held is free. Raises Unavailable."""
        expires_at = expiry(self._clock, ttl)

        def work(connection: Connection) -> int:
            insert = _INSERT_MEMBER[connection.dialect.name]
            connection.execute(insert, [{"name": name, "generation": 0, "expires_at": 0}])
            generation = connection.execute(_MEMBER, {"key": name}).mappings().one()["generation"] + 1
            connection.execute(_SET_MEMBER, _membership(name, generation, expires_at))
            connection.execute(_ORPHAN_ALL, {"name": name}).close()
            return generation

        return await self._database.write(work, deadline=ttl, repeatable=True)

    async def claim(self, name: str, generation: int, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        """Take what is free, expired or *name*'s, and not just being written. Raises Fenced, Unavailable."""
        wanted = sorted(set(partitions))
        now, expires_at = micros(self._clock.now()), expiry(self._clock, ttl)

        def work(connection: Connection) -> list[Lease]:
            _check_member(connection, name, generation)
            if not wanted:
                return []
            insert_missing = _INSERT_MISSING[connection.dialect.name]
            connection.execute(insert_missing, [{"partition": partition, **FREE} for partition in wanted])
            rows = connection.execute(_LOCKED, {"partitions": wanted}).mappings()
            taken = [claimed(row, name) for row in rows if claimable(row, name, now)]
            if taken:
                connection.execute(_GRANT, [_grant(lease, expires_at) for lease in taken])
            return taken

        return await self._database.write(work, deadline=ttl, repeatable=True)

    async def renew(self, name: str, generation: int, *, ttl: float, staying: bool = True) -> Sequence[Lease]:
        """Extend what *name* holds, also when it expired and nobody took it. Raises Fenced, Unavailable."""
        expires_at, member_until = expiry(self._clock, ttl), expiry(self._clock, ttl if staying else 0)

        def work(connection: Connection) -> list[Lease]:
            _check_member(connection, name, generation)
            connection.execute(_SET_MEMBER, _membership(name, generation, member_until))
            mine = select(leases.c.partition, leases.c.epoch).where(leases.c.owner == name)
            rows = connection.execute(mine.order_by(leases.c.partition).with_for_update()).all()
            held = [Lease(row.partition, name, row.epoch) for row in rows]
            if held:
                connection.execute(_GRANT, [_grant(lease, expires_at) for lease in held])
            return held

        return await self._database.write(work, deadline=ttl, repeatable=True)

    async def release(self, name: str, generation: int, partitions: Sequence[int]) -> None:
        """Give partitions back. Raises Fenced, Unavailable."""
        given = sorted(set(partitions))

        def work(connection: Connection) -> None:
            _check_member(connection, name, generation)
            mine = leases.c.owner == name, leases.c.partition.in_(given)
            connection.execute(update(leases).where(*mine).values(owner=None, expires_at=0)).close()

        await self._database.write(work, deadline=_SHORT_SECONDS, repeatable=True)

    async def leave(self, name: str, generation: int) -> None:
        """Give everything of *name* back and end its membership. Raises Unavailable."""

        def work(connection: Connection) -> None:
            row = connection.execute(_MEMBER, {"key": name}).mappings().first()
            if row is None or row["generation"] != generation:
                return
            connection.execute(_SET_MEMBER, _membership(name, generation, LEFT))
            connection.execute(_FREE_ALL, {"name": name}).close()

        await self._database.write(work, deadline=_SHORT_SECONDS, repeatable=True)

    async def table(self) -> LeaseTable:
        """Read owners and members; what expired counts as none. Raises Unavailable."""
        now = micros(self._clock.now())
        live = select(leases.c.partition, leases.c.owner).where(leases.c.owner.is_not(None), leases.c.expires_at > now)
        there = select(members.c.name).where(members.c.expires_at > now).order_by(members.c.name)

        def work(connection: Connection) -> LeaseTable:
            owners = {row.partition: row.owner for row in connection.execute(live)}
            return LeaseTable(owners, tuple(connection.execute(there).scalars()))

        return await self._database.read(work, deadline=_SHORT_SECONDS)


def _check_member(connection: Connection, name: str, generation: int) -> None:
    check_generation(connection.execute(_MEMBER, {"key": name}).mappings().first(), name, generation)


def _membership(name: str, generation: int, expires_at: int) -> Row:
    return {"key": name, "generation": generation, "expires_at": expires_at}


def _grant(lease: Lease, expires_at: int) -> Row:
    return {"key": lease.partition, "owner": lease.owner, "epoch": lease.epoch, "expires_at": expires_at}
