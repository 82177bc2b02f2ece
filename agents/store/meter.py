"""The meter on a database: rows wait in a bounded buffer and are written in groups.

Invariant: a row leaves the buffer only when it is stored. While the database is down the buffer
fills, and then recording is refused. What a killed process had not yet written can be recorded again
from the log, because keys count once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from agents.clock import Clock
from agents.economics.meter import MeterKind, MeterRow, MeterTotal, Spending, microseconds
from agents.errors import Overloaded, Unavailable
from agents.ids import SessionId
from agents.store.codec import Row, findable, micros
from agents.store.engine import Database
from agents.store.inserts import insert_new
from agents.store.tables import meter

_BUFFER_ROWS = 20_000
"""About 10 MB of rows: several minutes of a busy harness without its database."""
_GROUP_ROWS = 1000
_GATHER_SECONDS = 0.2
"""Rows gather so long before a write: the log's commits go first."""
_RETRY_SECONDS = 2.0

_INSERT_NEW = insert_new(meter)
_SUMMED = (
    meter.c.input_tokens,
    meter.c.output_tokens,
    meter.c.cache_read_input_tokens,
    meter.c.cache_creation_5m_input_tokens,
    meter.c.cache_creation_1h_input_tokens,
    meter.c.microseconds,
    meter.c.micro_usd,
)
_GROUP = (meter.c.kind, meter.c.name, meter.c.brain)
_TOTALS = select(*_GROUP, func.count(), *(func.sum(column) for column in _SUMMED)).group_by(*_GROUP).order_by(*_GROUP)
_MINUTE = 60_000_000  # microseconds
_SPENDING = (
    select(meter.c.brain, (meter.c.at // _MINUTE).label("minute"), func.sum(meter.c.micro_usd))
    .where(meter.c.brain != "")
    .group_by("brain", "minute")
    .order_by("brain", "minute")
)


class SqlMeter:
    """The Meter of SQLite and PostgreSQL."""

    def __init__(self, database: Database, clock: Clock, *, buffer: int = _BUFFER_ROWS) -> None:
        self._database = database
        self._clock = clock
        self._limit = buffer
        self._rows: list[Row] = []
        self._writing = asyncio.Lock()
        self._background: asyncio.Task[None] | None = None

    async def record(self, rows: Sequence[MeterRow]) -> None:
        """Accept rows for the next write. Raises Overloaded when the buffer has no room for all of them."""
        if len(self._rows) + len(rows) > self._limit:
            raise Overloaded("the meter's buffer is full", retry_after=_RETRY_SECONDS)
        self._rows.extend(_row(row) for row in rows)
        if self._rows and self._background is None:
            self._background = asyncio.create_task(self._write_in_background(), name="store-meter")

    async def flush(self) -> None:
        """Write what waits. Raises Unavailable; the rows then stay."""
        async with self._writing:
            while group := self._rows[:_GROUP_ROWS]:
                await self._database.write(lambda connection, group=group: _insert(connection, group), repeatable=True)
                del self._rows[: len(group)]

    async def totals(self, session_id: SessionId | None = None) -> Sequence[MeterTotal]:
        """Add up what is stored, after writing what waits here. Raises Unavailable."""
        await self.flush()
        statement = _TOTALS
        if session_id is not None:
            if not findable(session_id):
                return []
            statement = statement.where(meter.c.session_id == session_id)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [_total_of(tuple(row)) for row in rows]

    async def spending(self, since: int) -> Sequence[Spending]:
        """See Meter.spending; reads the rows since then, by their index."""
        await self.flush()
        statement = _SPENDING.where(meter.c.at >= since * _MINUTE)
        rows = await self._database.read(lambda connection: connection.execute(statement).all())
        return [Spending(brain, int(minute), int(cost)) for brain, minute, cost in rows]

    async def close(self) -> None:
        """Stop and write what waits. Raises Unavailable."""
        if self._background is not None:
            self._background.cancel()
            await asyncio.wait([self._background])
        await self.flush()

    async def _write_in_background(self) -> None:
        try:
            while self._rows:
                await self._clock.sleep(_GATHER_SECONDS)
                try:
                    await self.flush()
                except Unavailable:
                    # Nothing is lost: the rows stay, and recording is refused once the buffer is full.
                    await self._clock.sleep(_RETRY_SECONDS)
        finally:
            self._background = None


def _insert(connection: Connection, rows: list[Row]) -> None:
    connection.execute(_INSERT_NEW[connection.dialect.name], rows)


def _row(row: MeterRow) -> Row:
    return {
        "key": row.key,
        "session_id": row.session_id,
        "kind": row.kind.value,
        "name": row.name,
        "brain": row.brain,
        "at": micros(row.at),
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cache_read_input_tokens": row.cache_read_input_tokens,
        "cache_creation_5m_input_tokens": row.cache_creation_5m_input_tokens,
        "cache_creation_1h_input_tokens": row.cache_creation_1h_input_tokens,
        "microseconds": microseconds(row.seconds),
        "micro_usd": row.micro_usd,
    }


def _total_of(row: tuple[Any, ...]) -> MeterTotal:
    kind, name, brain, *sums = row
    # PostgreSQL adds big integers up as exact decimals.
    count, inputs, outputs, read, short, long, duration, cost = map(int, sums)
    return MeterTotal(
        MeterKind(kind),
        name,
        count=count,
        input_tokens=inputs,
        output_tokens=outputs,
        cache_read_input_tokens=read,
        cache_creation_5m_input_tokens=short,
        cache_creation_1h_input_tokens=long,
        seconds=duration / 1_000_000,
        micro_usd=cost,
        brain=brain,
    )
