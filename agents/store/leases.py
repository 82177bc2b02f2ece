"""Who owns which partition, decided in one transaction per claim.

Invariant: the epoch of a partition only grows, and every claim makes it grow, also one by the same
owner; so a writer from before the claim is told apart from one after it. A released partition keeps
its row, because its epoch must not start again. Time is the claimant's clock: when clocks differ, a
lease may change hands early, which the epoch makes harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agents.clock import Clock
from agents.sessions.log import Lease
from agents.store.codec import Row, RowView, micros
from agents.store.engine import Database
from agents.store.tables import leases

_LOCKED = (
    select(leases)
    .where(leases.c.partition.in_(bindparam("partitions", expanding=True)))
    .order_by(leases.c.partition)
    .with_for_update()
)
_GRANT = (
    update(leases)
    .where(leases.c.partition == bindparam("key"))
    .values(owner=bindparam("owner"), epoch=bindparam("epoch"), expires_at=bindparam("expires_at"))
)
_FREE = {"owner": None, "epoch": 0, "expires_at": 0}
_INSERT_MISSING = {
    "postgresql": postgresql.insert(leases).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(leases).on_conflict_do_nothing(),
}


def claimable(row: RowView, owner: str, now: int) -> bool:
    """Whether *owner* may take the partition of a lease row at *now* (microseconds)."""
    return row["owner"] in (None, owner) or row["expires_at"] <= now


def expiry(clock: Clock, ttl: float) -> int:
    return micros(clock.now() + timedelta(seconds=ttl))


class SqlLeases:
    """The Leases of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, owner: str, partitions: Sequence[int], *, ttl: float) -> Sequence[Lease]:
        """Take what is free, expired or *owner*'s. Raises Unavailable."""
        wanted = sorted(set(partitions))
        if not wanted:
            return []
        now, expires_at = micros(self._clock.now()), expiry(self._clock, ttl)

        def work(connection: Connection) -> list[Lease]:
            insert_missing = _INSERT_MISSING[connection.dialect.name]
            connection.execute(insert_missing, [{"partition": partition, **_FREE} for partition in wanted])
            rows = connection.execute(_LOCKED, {"partitions": wanted}).mappings()
            taken = [Lease(row["partition"], owner, row["epoch"] + 1) for row in rows if claimable(row, owner, now)]
            if taken:
                connection.execute(_GRANT, [_grant(lease, expires_at) for lease in taken])
            return taken

        return await self._database.write(work)

    async def renew(self, owner: str, *, ttl: float) -> Sequence[Lease]:
        """Extend what *owner* holds, also when it expired and nobody took it. Raises Unavailable."""
        expires_at = expiry(self._clock, ttl)

        def work(connection: Connection) -> list[Lease]:
            mine = select(leases.c.partition, leases.c.epoch).where(leases.c.owner == owner)
            rows = connection.execute(mine.order_by(leases.c.partition).with_for_update()).all()
            held = [Lease(row.partition, owner, row.epoch) for row in rows]
            if held:
                connection.execute(_GRANT, [_grant(lease, expires_at) for lease in held])
            return held

        return await self._database.write(work)

    async def release(self, owner: str) -> None:
        """Give everything of *owner* back. Raises Unavailable."""
        free = update(leases).where(leases.c.owner == owner).values(owner=None, expires_at=0)
        await self._database.write(lambda connection: connection.execute(free).close())

    async def owners(self) -> dict[int, str]:
        """Map each leased partition to its owner; an expired lease counts as none. Raises Unavailable."""
        live = select(leases.c.partition, leases.c.owner).where(
            leases.c.owner.is_not(None), leases.c.expires_at > micros(self._clock.now())
        )
        rows = await self._database.read(lambda connection: connection.execute(live).all())
        return {row.partition: row.owner for row in rows}


def _grant(lease: Lease, expires_at: int) -> Row:
    return {"key": lease.partition, "owner": lease.owner, "epoch": lease.epoch, "expires_at": expires_at}
