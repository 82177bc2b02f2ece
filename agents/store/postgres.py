"""PostgreSQL through asyncpg: a pool for reading and the catalog, one direct connection for the log.

Connections die: the server restarts, fails over, or something between cuts what was idle. A call never
fails for that alone; it is tried again on another connection until its deadline (``patience``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from agents.store.engine import DEADLINE_SECONDS, Result, Transaction, Work
from agents.store.faults import READ_ONLY, Fault, driver_errors, fault_of, name_of, sqlstate_of, told
from agents.store.patience import Attempt, ride_out
from agents.store.postgres_line import DirectLine

logger = logging.getLogger(__name__)

_FIRST_SHARE = 1 / 3
"""Share of a deadline after which the first attempt is cut: an answer that hangs may come on another connection."""
_LOCK_SHARE = 0.8
"""Share of the first attempt after which the server itself gives up on a lock, so that it says why."""
_MIGRATION_SECONDS = 120.0
_FROZEN_SECONDS = 2.0
"""A process that stops in the middle of a transaction keeps the others from its rows for so long: its partitions
must be free by the time that its leases are over."""
_POOL_SIZE = 8
_RECYCLE_SECONDS = 300.0
"""Older connections are made anew: load balancers and firewalls forget idle ones after a few minutes, silently."""


class PostgresDatabase:
    """The Database of a PostgreSQL server, or of a primary with standbys."""

    def __init__(self, url: str, *, deadline: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline
        first = self._first_limit = deadline * _FIRST_SHARE
        given = make_url(url)
        arguments: dict[str, Any] = {
            "timeout": first,
            "server_settings": {
                "application_name": "hecaton",
                # Compiling pays for long queries, and it mistakes ours for such on tables that were never analysed.
                "jit": "off",
                "lock_timeout": _milliseconds(first * _LOCK_SHARE),
                "idle_in_transaction_session_timeout": _milliseconds(_FROZEN_SECONDS),
            },
        }
        # A standby, or a former primary, is not taken for the database: we wait until somebody may write.
        if "target_session_attrs" not in given.query:
            arguments["target_session_attrs"] = "read-write"
        self._engine = create_async_engine(
            given,
            pool_size=_POOL_SIZE,
            max_overflow=0,
            pool_timeout=first,
            pool_recycle=_RECYCLE_SECONDS,
            connect_args=arguments,
        )
        event.listen(self._engine.sync_engine, "invalidate", _cut)
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        _, options = self._engine.dialect.create_connect_args(given)
        self._line = DirectLine({**options, **arguments}, idle=_RECYCLE_SECONDS)
        self._lost = False

    async def read(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        return await self._ride_out(partial(self._read, work), deadline, repeatable=True)

    async def write(self, work: Work[Result], *, deadline: float | None = None, repeatable: bool = False) -> Result:
        return await self._ride_out(partial(self._write, work), deadline, repeatable=repeatable)

    async def transact(
        self, script: Transaction[Result], *, deadline: float, changes: int = 0, more: bool = False
    ) -> Result:
        del changes, more
        # Not a share of what is left of a caller's time: the group would be cut for the sake of its oldest member.
        return await self._ride_out(
            partial(self._line.play, script), deadline, repeatable=True, limit=self._first_limit
        )

    async def migrate(self, work: Work[None]) -> None:
        await self.read(lambda connection: connection.execute(text("SELECT 1")).close())  # is it there at all?
        await ride_out(
            partial(self._write, work), deadline=_MIGRATION_SECONDS, first_limit=_MIGRATION_SECONDS, repeatable=False
        )

    async def close(self) -> None:
        self._line.drop()
        try:
            async with asyncio.timeout(self._deadline):
                await self._engine.dispose()
        except driver_errors() as error:
            raise told(error, uncertain=False) from error

    async def _read(self, work: Work[Result], attempt: Attempt) -> Result:
        del attempt
        async with self._snapshot.begin() as connection:
            return await connection.run_sync(work)

    async def _write(self, work: Work[Result], attempt: Attempt) -> Result:
        async with self._engine.connect() as connection:
            result = await connection.run_sync(work)
            attempt.committing = True
            await connection.commit()
            return result

    async def _ride_out(
        self,
        work: Callable[[Attempt], Awaitable[Result]],
        deadline: float | None,
        *,
        repeatable: bool,
        limit: float | None = None,
    ) -> Result:
        async def noticed(attempt: Attempt) -> Result:
            try:
                result = await work(attempt)
            except driver_errors() as error:
                await self._notice(error)
                raise
            if self._lost:
                self._lost = False
                logger.warning("the database answers again")
            return result

        within = min(deadline or self._deadline, self._deadline)
        limit = limit or within * _FIRST_SHARE
        return await ride_out(noticed, deadline=within, first_limit=limit, repeatable=repeatable)

    async def _notice(self, error: BaseException) -> None:
        if fault_of(error) is Fault.PASSES and not self._lost:
            self._lost = True
            logger.warning("the database is away or too busy (%s); trying again", name_of(error))
        if sqlstate_of(error) == READ_ONLY:
            # Its server is no longer the primary, so none of the pool's connections leads there.
            await self._engine.dispose()


def _cut(connection: Any, _record: object, _error: object) -> None:
    # Else it would be asked to close, and waited for, though it may never answer.
    connection.driver_connection.terminate()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
