"""A page of a history costs the same wherever it is: counted in steps of SQLite's machine, not in time.

Bug class this catches: a listing whose plan reads everything up to the cursor, or everything of a type.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import Connection

from agents import ids
from agents.ids import SessionId
from agents.sessions.events import Event, EventType
from agents.sessions.log import Commit, Lease
from agents.store.database import SqlStore, open_store
from agents.store.ports import EventListing
from agents.store.sessions import _history
from tests.unit.store.lease_steps import new_record

SHORT, LONG = 100, 5000
SLACK = 1.2
"""A tree of 5000 is a level deeper."""
RARE = 20
"""Events of the types that are asked for, spread evenly over either history."""
SAID = (EventType.AGENT_MESSAGE, EventType.USER_MESSAGE)
SHOWN = ("agent.message", "user.message", "session.error", "no.such_type")


async def written(store: SqlStore, lease: Lease, count: int) -> SessionId:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    record = replace(new_record(ids.new_session_id(), 0), created_at=now, updated_at=now, seq=count)
    kinds = [EventType.AGENT_TOOL_USE] * count
    kinds[:: count // RARE] = SAID * (RARE // 2)
    events = tuple(Event(ids.new_event_id(), kind, {}, now) for kind in kinds)
    await store.log.create(Commit(lease, 0, record, events))
    return SessionId(record.id)


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[tuple[SqlStore, SessionId, SessionId]]:
    """A store with a short and a long history."""
    store = await open_store(tmp_path / "hecaton.db")
    generation = await store.leases.join("one", ttl=3600)
    (lease,) = await store.leases.claim("one", generation, [0], ttl=3600)
    yield store, await written(store, lease, SHORT), await written(store, lease, LONG)
    await store.close()


async def steps(store: SqlStore, session_id: SessionId, query: EventListing) -> int:
    """Count the steps that reading a page takes."""

    def work(connection: Connection) -> int:
        driver: Any = connection.connection.driver_connection
        count = 0

        def tick() -> int:
            nonlocal count
            count += 1
            return 0

        driver.set_progress_handler(tick, 1)
        assert len(_history(connection, session_id, query)) == query.limit + 1
        driver.set_progress_handler(None, 1)
        return count

    return await store._database.read(work)


async def test_a_page_costs_the_same_in_a_long_history(histories: tuple[SqlStore, SessionId, SessionId]) -> None:
    store, short, long = histories
    orders: tuple[Literal["asc", "desc"], ...] = ("asc", "desc")
    for order, types, cursor in itertools.product(orders, ((), SHOWN[:1], SHOWN), (False, True)):
        near, far = [
            await steps(store, name, EventListing(limit=4, order=order, types=types, after=middle if cursor else None))
            for name, middle in ((short, SHORT // 2), (long, LONG // 2))
        ]
        assert far <= near * SLACK, f"{order}, types {types}, cursor {cursor}"
