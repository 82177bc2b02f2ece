"""A process that fires schedules and makes their sessions, as a gateway and an owner together would.

It looks whenever a line with a moment comes in, and says when it is done. Told to halt ``before`` or ``after`` it makes
a session, it says so and waits there to be killed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import datetime

from store_records import claimed, session

from agents.clock import ManualClock
from agents.deployments.records import DeploymentRecord, Reservation
from agents.deployments.runs import DeploymentRuns
from agents.deployments.scheduler import DeploymentScheduler
from agents.deployments.settings import DeploymentSettings
from agents.ids import SessionId, new_session_id
from agents.sessions.events import SessionRecord
from agents.sessions.log import Commit, Lease
from agents.store.database import SqlStore, open_store
from agents.telemetry.recorder import Recorder


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


class Making:
    """Makes sessions in the log, under one lease."""

    def __init__(self, store: SqlStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self.halts = ""

    def reserve(self, now: datetime) -> Reservation:
        return Reservation(new_session_id(), self._lease.partition, None, now)

    async def create(self, deployment: DeploymentRecord, reservation: Reservation) -> SessionRecord:
        await self._halt("before")
        record = session(self._lease.partition, id=reservation.session_id, deployment_id=deployment.id)
        await self._store.log.create(Commit(self._lease, 0, record))
        await self._halt("after")
        return record

    async def find(self, session_id: SessionId) -> SessionRecord:
        return await self._store.sessions.get(session_id)

    async def _halt(self, where: str) -> None:
        if self.halts == where:
            say("making")
            await asyncio.Event().wait()


async def main(where: str, partition: int) -> None:
    store = await open_store(where)
    making = Making(store, await claimed(store, partition, owner=f"process-{partition}", ttl=3600))
    settings = DeploymentSettings()
    say("ready")
    while line := await asyncio.to_thread(sys.stdin.readline):
        moment, making.halts = line.split()
        clock = ManualClock(datetime.fromisoformat(moment))
        runs = DeploymentRuns(store.deployments, making, clock, settings, Recorder())
        scheduler = DeploymentScheduler(store.deployments, runs, clock, settings)
        await scheduler.look()
        await scheduler.finished()
        say("looked")
    await store.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
