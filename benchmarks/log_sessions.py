"""Sessions and commits for the benchmarks of the log, and the two databases that they are written to."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from agents import ids
from agents.sessions.events import Event, EventType, SessionRecord
from agents.sessions.log import Commit, Lease
from agents.store.database import SqlStore, open_store
from tests.contract.postgres_server import PostgresServer

STORES = ("sqlite", "postgresql")
TEXT = {"content": [{"type": "text", "text": "x" * 350}]}
AGENT = {"name": "bench", "system": "You are a helpful agent. " * 120}


@contextlib.contextmanager
def databases(store: str, directory: Path, names: tuple[str, ...]) -> Iterator[list[str]]:
    """Where empty databases are: files in a directory of their own, or in a server of their own (durable: fsync)."""
    if store == "sqlite":
        with tempfile.TemporaryDirectory(dir=directory, prefix=".bench-log-") as folder:
            yield [str(Path(folder) / f"{name}.db") for name in names]
        return
    server = PostgresServer("-c max_connections=60")
    server.start()
    try:
        yield [server.new_database() for _ in names]
    finally:
        server.remove()


@contextlib.asynccontextmanager
async def leased(where: str) -> AsyncIterator[tuple[SqlStore, Lease]]:
    """Open a store and own its partition 0."""
    store = await open_store(where)
    try:
        generation = await store.leases.join("bench", ttl=3600)
        (lease,) = await store.leases.claim("bench", generation, [0], ttl=3600)
        yield store, lease
    finally:
        await store.close()


def session() -> SessionRecord:
    now = datetime.now(UTC)
    return SessionRecord(
        id=ids.new_session_id(),
        partition=0,
        created_at=now,
        updated_at=now,
        agent=AGENT,
        agent_id="agent_1",
        agent_version=1,
        environment_id="env_1",
        environment={"config": {"type": "cloud"}},
        thread_id=ids.new_thread_id(),
    )


def commits(lease: Lease, record: SessionRecord, count: int, events: int = 2) -> list[Commit]:
    """The next commits of a session, each with so many events of about 400 bytes."""
    made: list[Commit] = []
    for _ in range(count):
        now = datetime.now(UTC)
        said = tuple(Event(ids.new_event_id(), EventType.AGENT_MESSAGE, TEXT, now) for _ in range(events))
        made.append(Commit(lease, record.seq, replace(record, seq=record.seq + events, updated_at=now), said))
        record = made[-1].record
    return made
