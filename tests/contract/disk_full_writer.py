"""A process whose database lies on a small disk: it fills the disk, goes on, and makes space again.

It prints what came of each step as JSON; the test next door judges.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from store_records import agent, claimed, logged, session, step

from agents.errors import HecatonError
from agents.ids import SessionId
from agents.store.database import SqlStore, open_store
from agents.store.ports import EventListing

FIELD = "x" * 20_000
Tell = dict[str, Any]


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue


def integrity(database: Path) -> str:
    connection = sqlite3.connect(database)
    (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    return answer


async def outcome(call: Callable[[], Awaitable[object]]) -> Tell:
    try:
        await call()
    except HecatonError as error:
        told = {"status": error.http_status, "retry_after": error.retry_after, "message": error.message}
        return {"error": type(error).__name__, **told}
    return {"error": None}


async def main(disk: Path) -> Tell:
    database = disk / "hecaton.db"
    store = await open_store(database)
    lease = await claimed(store, ttl=3600)
    first = step(lease, session(), logged())
    await store.log.create(first)
    record = first.record

    fill(disk)
    appends = [step(lease, record, logged(text=FIELD)) for _ in range(5)]
    created = step(lease, session(), logged(text=FIELD))
    full = [await outcome(lambda commit=commit: store.log.append(commit)) for commit in appends]
    full.append(await outcome(lambda: store.log.create(created)))
    full.append(await outcome(lambda: store.agents.insert(agent(1, body={"text": FIELD}))))
    reads = await outcome(lambda: store.sessions.events(SessionId(record.id), EventListing()))
    lengths = [len(await log_of(store, record.id))]
    checks = [integrity(database)]

    (disk / "filler").unlink()
    after = [await outcome(lambda: store.log.append(appends[0])), await outcome(lambda: store.log.create(created))]
    after.append(await outcome(lambda: store.agents.insert(agent(1))))
    lengths.append(len(await log_of(store, record.id)))
    await store.close()
    checks.append(integrity(database))
    again = await open_store(database)
    lengths.append(len(await log_of(again, record.id)))
    await again.close()
    return {"full": full, "reads": reads, "after": after, "lengths": lengths, "checks": checks}


async def log_of(store: SqlStore, session_id: str) -> list[str]:
    return [event.id for event in (await store.log.load(SessionId(session_id))).events]


print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
