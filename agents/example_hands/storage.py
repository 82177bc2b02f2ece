"""The database of one hand: SQLite in a file, or PostgreSQL; its tables are made on first use.

A tool's writes and the record of its call are one transaction, so that a call that is repeated under its
idempotency key has one effect and the same answer (``once``).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, event, func, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from agents.clock import Clock, SystemClock
from agents.hands.servers.port import IDEMPOTENCY_KEY
from agents.store.inserts import insert_new
from agents.store.sqlite_line import use_wal

_log = logging.getLogger(__name__)

DATA_DIR = "EXAMPLE_HANDS_DIR"
"""Environment variable: below it lie the databases that are not put elsewhere; ``~/.hecaton/example_hands`` unset."""
DEMONSTRATION = "EXAMPLE_HANDS_DATA"
"""Environment variable: ``1`` fills new tables with demonstration data also in a database that was configured."""

Result = TypeVar("Result")
Seed = Callable[[], Mapping[Table, Sequence[Mapping[str, Any]]]]

_WAIT_SECONDS = 10.0
"""Longest wait for a connection, a lock or a statement: a hand's caller has a deadline of its own."""
_CONNECTIONS = 8
_KEY_CHARACTERS = 200
_REMEMBERED_SECONDS = 30 * 86_400
"""Nothing repeats a call after so long; older ones are forgotten when the hand starts."""


def calls_table(name: str, metadata: MetaData) -> Table:
    """Declare the table of calls that the hand *name* has carried out, in its own schema."""
    return Table(
        f"{name}_calls",
        metadata,
        Column("key", Text, primary_key=True),
        Column("digest", Text, nullable=False),
        Column("result", Text),
        Column("at", BigInteger, nullable=False),
    )


class HandDatabase:
    """One hand's tables."""

    def __init__(self, url: URL, calls: Table, *, seed: Seed | None = None, clock: Clock | None = None) -> None:
        self._engine = _engine(url)
        self._metadata = calls.metadata
        self._calls = calls
        self._insert_call = insert_new(self._calls)[url.get_backend_name()]
        self._seed = seed
        self._clock = clock or SystemClock()
        self._making = asyncio.Lock()
        self._made = False

    @property
    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self._clock.now().timestamp())

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection with one transaction that is not committed. Raises ToolError."""
        await self._make()
        with _told():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection whose transaction is committed unless something is raised. Raises ToolError."""
        await self._make()
        with _told():
            async with self._engine.execution_options(writes=True).begin() as connection:
                yield connection

    async def once(
        self, ctx: Context[HandDatabase, Any], work: Callable[[AsyncConnection], Awaitable[Result]]
    ) -> Result:
        """Do *work* in a transaction, or return what it returned under this call's idempotency key.

        Work that raises leaves nothing behind, so that its key can be tried again. Raises ToolError, also for a key
        that another call had.
        """
        key = (ctx.request_context.meta or {}).get(IDEMPOTENCY_KEY)
        if key is None:
            async with self.writing() as connection:
                return await work(connection)
        if not isinstance(key, str) or not 0 < len(key) <= _KEY_CHARACTERS or "\0" in key:
            raise ToolError(f"{IDEMPOTENCY_KEY}: must be a text of 1 to {_KEY_CHARACTERS} characters")
        digest = _digest(ctx.request_context.params or {})
        async with self.writing() as connection:
            # First of all: a second call with the key waits here for the first one's end.
            row = {"key": key, "digest": digest, "at": self.now}
            if (await connection.execute(self._insert_call.values(row))).rowcount == 1:
                result = await work(connection)
                text = json.dumps(result)
                done = self._calls.update().where(self._calls.c.key == key).values(result=text)
                await connection.execute(done)
                return result
            stored = select(self._calls.c.digest, self._calls.c.result).where(self._calls.c.key == key)
            earlier = (await connection.execute(stored)).one()
        if earlier.digest != digest:
            raise ToolError(f"idempotency key {key!r}: it belongs to another call; a new call needs a new key")
        return json.loads(earlier.result)

    async def close(self) -> None:
        """Give every connection back."""
        await self._engine.dispose()

    async def _make(self) -> None:
        async with self._making:
            if not self._made:
                with _told():
                    async with self._engine.execution_options(writes=True).begin() as connection:
                        await connection.run_sync(self._make_tables)
                self._made = True

    def _make_tables(self, connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            # Several replicas start at once; without it all but one would fail on the same table's name.
            connection.execute(select(func.pg_advisory_xact_lock(_lock_number(self._metadata))))
        new = not inspect(connection).has_table(self._calls.name)
        self._metadata.create_all(connection)
        connection.execute(self._calls.delete().where(self._calls.c.at < self.now - _REMEMBERED_SECONDS))
        if new and self._seed is not None:
            for table, rows in self._seed().items():
                connection.execute(insert(table), list(rows))


def storage(
    name: str, calls: Table, seed: Seed
) -> Callable[[MCPServer[HandDatabase]], AbstractAsyncContextManager[HandDatabase]]:
    """Return the lifespan of the server *name*: its database, where ``<NAME>_DATABASE`` says, or a file."""

    @asynccontextmanager
    async def lifespan(server: MCPServer[HandDatabase]) -> AsyncGenerator[HandDatabase]:
        del server
        variable = f"{name.upper()}_DATABASE"
        configured = os.environ.get(variable)
        url = _url(variable, configured) if configured else _file(name)
        wanted = not configured or os.environ.get(DEMONSTRATION) == "1"
        database = HandDatabase(url, calls, seed=seed if wanted else None)
        try:
            yield database
        finally:
            await database.close()

    return lifespan


def data_folder(name: str) -> Path:
    """Return where the hand *name* keeps its files when nothing else is said; it is made."""
    folder = Path(os.environ.get(DATA_DIR) or "~/.hecaton/example_hands").expanduser().absolute() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _file(name: str) -> URL:
    return URL.create("sqlite+aiosqlite", database=str(data_folder(name) / f"{name}.db"))


def _url(variable: str, given: str) -> URL:
    if "://" not in given:
        return URL.create("sqlite+aiosqlite", database=str(Path(given).expanduser().absolute()))
    try:
        url = make_url(given)
    except ArgumentError:
        # Not chained: the message would show the password.
        raise ValueError(f"{variable}: is not a URL such as postgresql://user:password@host/database") from None
    drivers = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
    if url.get_backend_name() not in drivers:
        raise ValueError(f"{variable}: must be postgresql://... or the path of an SQLite file, not {url.drivername}")
    return url.set(drivername=drivers[url.get_backend_name()])


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "postgresql":
        waits: dict[str, Any] = {"timeout": _WAIT_SECONDS, "command_timeout": _WAIT_SECONDS}
        return create_async_engine(
            url, pool_size=_CONNECTIONS, pool_timeout=_WAIT_SECONDS, pool_pre_ping=True, connect_args=waits
        )
    engine = create_async_engine(
        url, pool_size=_CONNECTIONS, pool_timeout=_WAIT_SECONDS, connect_args={"timeout": _WAIT_SECONDS}
    )
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:
    """Leave transactions to us; the driver would begin them late, and two writers would then meet in the middle."""
    del record
    connection.isolation_level = None
    use_wal(connection)
    connection.execute("PRAGMA foreign_keys=ON").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _told() -> Generator[None]:
    """Tell the model that it may try again; what the driver says is for the log."""
    try:
        yield
    except IntegrityError as error:
        raise ToolError("another call has written the same at this moment; read again what there is now") from error
    except (DBAPIError, OSError, PoolTimeout) as error:
        _log.exception("the hand's database failed")
        raise ToolError("the database of this tool can not be used at the moment; try again later") from error


def _digest(params: Mapping[str, Any]) -> str:
    call: dict[str, Any] = {"name": params.get("name"), "arguments": params.get("arguments") or {}}
    return hashlib.sha256(json.dumps(call, sort_keys=True).encode()).hexdigest()


def _lock_number(metadata: MetaData) -> int:
    """A number of 63 bits that is this schema's."""
    return int.from_bytes(hashlib.sha256(",".join(sorted(metadata.tables)).encode()).digest()[:8]) >> 1
