"""The queue of work for workers elsewhere, on a database.

A row is changed under its lock by the rules of ``agents.workers.rules``. Claims skip rows that another claim holds,
so that concurrent pollers each get another item and none waits (on SQLite one writes at a time). Who stops an item
locks the item's session first, as commits of the session do: so either the commit sees that the item is over and
queues another, or the stop sees what the commit wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from agents.clock import Clock
from agents.errors import NotFound
from agents.listing import Listing
from agents.store.codec import Row, findable, micros, moment_at
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.paging import page
from agents.store.tables import LIVE_WORK, sessions, work_items, work_pollers
from agents.store.work_rows import standing_of, work_of, work_row
from agents.workers import rules
from agents.workers.credentials import digest_of, new_sessions_token
from agents.workers.records import QueueStats, SessionStanding, WorkCounts, WorkItem, WorkState

T = TypeVar("T")

PRESENCE_SECONDS = 30.0
"""A worker that has polled within this time counts as polling (spec D.2)."""
_SWEPT_AT_ONCE = 32
_QUEUE = insert_new(work_items)
_STANDING = select(sessions.c.seq, sessions.c.status, sessions.c.queued, sessions.c.state)


def _seen(insert_: Any) -> Any:
    key = [work_pollers.c.environment_id, work_pollers.c.worker_id]
    return insert_.on_conflict_do_update(index_elements=key, set_={"seen_at": insert_.excluded.seen_at})


_SEEN = {
    "postgresql": _seen(postgresql.insert(work_pollers)),
    "sqlite": _seen(sqlite.insert(work_pollers)),
}


class SqlWorkQueue:
    """The WorkQueue of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.counts = WorkCounts()

    async def claim(self, environment_id: str, *, reclaim_seconds: float) -> tuple[WorkItem, str] | None:
        """See WorkQueue.claim."""
        now = self._clock.now()
        mine = and_(work_items.c.environment_id == environment_id, LIVE_WORK)
        free = and_(mine, _claimable(micros(now), reclaim_seconds))
        left = and_(mine, _left_stopping(micros(now)))
        # Reading costs no writer its turn: most polls find nothing.
        looked = select(work_items.c.state).where(or_(free, left)).limit(_SWEPT_AT_ONCE)
        found = await self._read(lambda connection: list(connection.execute(looked).scalars()))
        if WorkState.STOPPING.value in found:
            await self._sweep(environment_id)
        if not found:
            return None
        one = select(work_items).where(free).order_by(work_items.c.created_at, work_items.c.id).limit(1)

        def work(connection: Connection) -> tuple[WorkItem, str] | None:
            row = connection.execute(one.with_for_update(skip_locked=True)).mappings().first()
            if row is None:
                return None
            token = new_sessions_token(row["id"])
            before.append(work_of(row))
            item = rules.claimed(before[-1], now, digest_of(token))
            _store(connection, item)
            return item, token

        before: list[WorkItem] = []
        claim = await self._database.write(work)
        if claim is not None:
            rules.count_claim(self.counts, before[-1], now)
        return claim

    async def _sweep(self, environment_id: str) -> None:
        """End items that were to stop and whose worker is gone."""
        now = self._clock.now()
        left = and_(work_items.c.environment_id == environment_id, LIVE_WORK, _left_stopping(micros(now)))
        found = select(work_items.c.id).where(left).limit(_SWEPT_AT_ONCE)
        for work_id in await self._read(lambda connection: list(connection.execute(found).scalars())):
            await self._stop(environment_id, work_id, force=True, by_worker=True, only=rules.expired)

    async def waiting(self, environment_ids: Sequence[str]) -> Mapping[str, int]:
        """See WorkQueue.waiting."""
        now = micros(self._clock.now())
        free = and_(
            work_items.c.environment_id.in_(environment_ids),
            LIVE_WORK,
            _claimable(now, rules.DEFAULT_RECLAIM_SECONDS),
        )
        counted = select(work_items.c.environment_id, func.count()).where(free).group_by(work_items.c.environment_id)
        return dict(await self._read(lambda connection: [(row[0], row[1]) for row in connection.execute(counted)]))

    async def acknowledge(self, environment_id: str, work_id: str, *, lease_seconds: int) -> WorkItem:
        """See WorkQueue.acknowledge."""
        now = self._clock.now()

        def acknowledged(item: WorkItem) -> tuple[WorkItem, WorkItem]:
            item = rules.acknowledged(item, now, lease_seconds)
            return item, item

        return await self._change(environment_id, work_id, acknowledged)

    async def heartbeat(
        self, environment_id: str, work_id: str, *, expected: str | None, ttl_seconds: int, digest: str | None
    ) -> rules.Beat:
        """See WorkQueue.heartbeat."""
        now = self._clock.now()
        return await self._change(
            environment_id,
            work_id,
            lambda item: rules.beaten(item, now, expected=expected, ttl_seconds=ttl_seconds, digest=digest),
        )

    async def stop(
        self, environment_id: str, work_id: str, *, force: bool, by_worker: bool, digest: str | None = None
    ) -> WorkItem:
        """See WorkQueue.stop."""
        item = await self._stop(environment_id, work_id, force=force, by_worker=by_worker, digest=digest)
        assert item is not None
        return item

    async def _stop(
        self,
        environment_id: str,
        work_id: str,
        *,
        force: bool,
        by_worker: bool,
        digest: str | None = None,
        only: Callable[[WorkItem, Any], bool] = lambda item, now: True,
    ) -> WorkItem | None:
        now = self._clock.now()

        def work(connection: Connection) -> WorkItem | None:
            session_id = _item(connection, environment_id, work_id).session_id
            standing = _standing(connection, session_id)
            item = _item(connection, environment_id, work_id, lock=True)
            if not only(item, now):
                return None
            over, successor = rules.stopped(item, now, standing, force=force, by_worker=by_worker, digest=digest)
            _store(connection, over)
            if successor is not None:
                connection.execute(_QUEUE[connection.dialect.name], work_row(successor)).close()
            return over

        return await self._database.write(work)

    async def get(self, environment_id: str, work_id: str) -> WorkItem:
        """See WorkQueue.get."""
        item = await self._read(lambda connection: _item(connection, environment_id, work_id))
        return rules.as_of(item, self._clock.now())

    async def find(self, work_id: str) -> WorkItem | None:
        """See WorkQueue.find."""
        wanted = select(work_items).where(work_items.c.id == work_id)

        def work(connection: Connection) -> WorkItem | None:
            row = connection.execute(wanted).mappings().first()
            return None if row is None else work_of(row)

        return await self._read(work)

    async def change_metadata(
        self, environment_id: str, work_id: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> WorkItem:
        """See WorkQueue.change_metadata."""

        def changed(item: WorkItem) -> tuple[WorkItem, WorkItem]:
            item = replace(item, metadata=change(item.metadata))
            return item, item

        return rules.as_of(await self._change(environment_id, work_id, changed), self._clock.now())

    async def list(self, environment_id: str, query: Listing) -> Sequence[WorkItem]:
        """See WorkQueue.list."""
        columns, now = work_items.c, self._clock.now()
        mine = select(work_items).where(columns.environment_id == environment_id)
        query = replace(query, include_archived=True)
        statement = page(mine, columns.created_at, columns.id, columns.stopped_at, query)
        rows = await self._read(lambda connection: connection.execute(statement).mappings().all())
        return [rules.as_of(work_of(row), now) for row in rows]

    async def seen(self, environment_id: str, worker_id: str) -> None:
        """See WorkQueue.seen."""
        now = self._clock.now()
        row = {"environment_id": environment_id, "worker_id": worker_id, "seen_at": micros(now)}
        gone = delete(work_pollers).where(
            work_pollers.c.environment_id == environment_id,
            work_pollers.c.seen_at < micros(now - timedelta(seconds=PRESENCE_SECONDS)),
        )

        def work(connection: Connection) -> None:
            connection.execute(gone).close()
            connection.execute(_SEEN[connection.dialect.name], row).close()

        await self._database.write(work, repeatable=True)

    async def stats(self, environment_id: str) -> QueueStats:
        """See WorkQueue.stats."""
        now = self._clock.now()
        live = select(work_items).where(work_items.c.environment_id == environment_id, LIVE_WORK)
        polling = (
            select(func.count())
            .select_from(work_pollers)
            .where(
                work_pollers.c.environment_id == environment_id,
                work_pollers.c.seen_at >= micros(now - timedelta(seconds=PRESENCE_SECONDS)),
            )
        )

        def work(connection: Connection) -> QueueStats:
            items = [work_of(row) for row in connection.execute(live).mappings()]
            return rules.stats(items, now, connection.execute(polling).scalar_one())

        return await self._read(work)

    async def figures(self) -> Mapping[str, float]:
        """See WorkQueue.figures."""
        now = self._clock.now()
        columns, moment = work_items.c, micros(now)
        free, pending = _claimable(moment, rules.DEFAULT_RECLAIM_SECONDS), columns.claimed_at.is_not(None)
        held = columns.state != WorkState.QUEUED.value
        kind = case((free, "depth"), (held, "held"), (pending, "pending"), else_="later")
        counted = select(kind, func.count(), func.min(columns.available_at)).where(LIVE_WORK).group_by(kind)

        def work(connection: Connection) -> list[tuple[str, int, int]]:
            return [(row[0], row[1], row[2]) for row in connection.execute(counted)]

        found = await self._read(work)
        oldest = next((moment_at(first) for name, _, first in found if name == "depth"), None)
        return rules.figures(self.counts, {name: number for name, number, _ in found}, now, oldest)

    async def _change(self, environment_id: str, work_id: str, change: Callable[[WorkItem], tuple[WorkItem, T]]) -> T:
        def work(connection: Connection) -> T:
            stored = _item(connection, environment_id, work_id, lock=True)
            item, result = change(stored)
            if item != stored:
                _store(connection, item)
            return result

        return await self._database.write(work)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._database.read(work)


def _claimable(now: int, reclaim_seconds: float) -> ColumnElement[bool]:
    """The rule ``claimable`` as a condition, for finding rows; the row that is taken is under lock."""
    columns = work_items.c
    unclaimed = or_(columns.claimed_at.is_(None), columns.claimed_at <= now - int(reclaim_seconds * 1_000_000))
    queued = and_(columns.state == WorkState.QUEUED.value, columns.available_at <= now, unclaimed)
    lost = and_(columns.state.in_([WorkState.STARTING.value, WorkState.ACTIVE.value]), columns.lease_until <= now)
    return or_(queued, lost)


def _left_stopping(now: int) -> ColumnElement[bool]:
    return and_(work_items.c.state == WorkState.STOPPING.value, work_items.c.lease_until <= now)


def _item(connection: Connection, environment_id: str, work_id: str, *, lock: bool = False) -> WorkItem:
    row = None
    if findable(work_id) and findable(environment_id):
        wanted = select(work_items).where(work_items.c.id == work_id, work_items.c.environment_id == environment_id)
        row = connection.execute(wanted.with_for_update() if lock else wanted).mappings().first()
    if row is None:
        raise NotFound(f"work {work_id} not found in environment {environment_id}")
    return work_of(row)


def _standing(connection: Connection, session_id: str) -> SessionStanding | None:
    """Lock the session's row as its commits do."""
    row = connection.execute(_STANDING.where(sessions.c.id == session_id).with_for_update()).mappings().first()
    return None if row is None else standing_of(row)


def _store(connection: Connection, item: WorkItem) -> None:
    row: Row = work_row(item)
    connection.execute(update(work_items).where(work_items.c.id == item.id).values(row)).close()
