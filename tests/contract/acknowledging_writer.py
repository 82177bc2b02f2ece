"""A process that appends from many sessions at once and says each commit that was acknowledged.

It runs until it is killed. A line is written straight to the pipe, so that it is out before the next
statement runs: what was said had been acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys

from store_records import claimed, logged, session, step

from agents.store.database import open_store

WRITERS = 16


async def main(where: str) -> None:
    store = await open_store(where)
    lease = await claimed(store, owner="writer", ttl=3600)

    async def write() -> None:
        commit = step(lease, session(), logged())
        await store.log.create(commit)
        while True:
            os.write(1, f"{commit.record.id} {commit.events[-1].id} {commit.record.seq}\n".encode())
            commit = step(lease, commit.record, logged(), logged())
            await store.log.append(commit)

    await asyncio.gather(*(write() for _ in range(WRITERS)))


asyncio.run(main(sys.argv[1]))
