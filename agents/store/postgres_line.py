"""The log's own connection to PostgreSQL, used by one group commit at a time.

Its statements find rows by key, always; the planner is told so. Left to itself it would plan each
statement anew, and read whole tables that were never analysed: that is most of the cost of a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs] - it has none

from agents.store.engine import Result, Transaction
from agents.store.patience import Attempt
from agents.store.script import Ask, Rows, Script

_KEYS_ONLY = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


class _Connection(Protocol):
    """What is used of asyncpg's connection, with types."""

    async def execute(self, query: str, *values: Any) -> str: ...

    async def fetch(self, query: str, *values: Any) -> Rows: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


_connect = cast("Callable[..., Awaitable[_Connection]]", asyncpg.connect)  # pyright: ignore[reportUnknownMemberType]


class DirectLine:
    """One connection, made when it is needed and made anew after any trouble."""

    def __init__(self, options: dict[str, Any], *, idle: float) -> None:
        self._options = {**options, "server_settings": {**options["server_settings"], **_KEYS_ONLY}}
        self._options.pop("prepared_statement_cache_size", None)  # means SQLAlchemy
        self._idle = idle
        self._used = 0.0
        self._connection: _Connection | None = None
        self._one_at_a_time = asyncio.Lock()

    async def play(self, transaction: Transaction[Result], attempt: Attempt) -> Result:
        """Run a script and commit. Raises the driver's errors; the transaction is then over."""
        async with self._one_at_a_time:
            connection = await self._connected()
            try:
                await connection.execute("BEGIN")
                result = await _steps(connection, transaction())
                attempt.committing = True
                await connection.execute("COMMIT")
            except BaseException:
                # Also after a refusal that left it usable: rare, and the server rolls back when it is gone.
                self.drop()
                raise
            self._used = asyncio.get_running_loop().time()
            return result

    def drop(self) -> None:
        """Cut the connection at once, whatever is under way on it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _connected(self) -> _Connection:
        if self._connection is not None and asyncio.get_running_loop().time() - self._used > self._idle:
            self.drop()
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await _connect(**self._options)
        return connection


async def _steps(connection: _Connection, script: Script[Result]) -> Result:
    rows: Rows = ()
    try:
        step = next(script)
        while True:
            if isinstance(step, Ask):
                rows = await connection.fetch(step.statement.postgresql.text, *step.for_postgresql())
            else:
                await connection.execute(step.statement.postgresql.text, step.for_postgresql())
                rows = ()
            step = script.send(rows)
    except StopIteration as end:
        return end.value
