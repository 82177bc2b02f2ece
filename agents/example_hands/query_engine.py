"""Read-only SQL over Parquet files, with DuckDB, for whoever may not be trusted with more.

DuckDB itself opens no file, loads nothing and writes nothing: its way outside is shut and its settings are locked.
The files are opened here and lent to it for one query, in a transaction that only reads. (To allow it the folder
would not do: ``WITH x AS (COPY ... TO ...)`` is a SELECT and writes there.) Time, memory and rows are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcp.server.mcpserver.exceptions import ToolError

from agents.hands.tables import ArrowTable

if TYPE_CHECKING:
    import duckdb


_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one query may take; all together share the memory."""

    seconds: float = 10.0
    memory_mb: int = 256
    rows: int = 10_000
    at_a_time: int = 2
    """More wait for their turn; DuckDB runs each on one thread."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query returned; ``more`` tells that there are rows beyond the limit."""

    table: ArrowTable
    more: bool


class QueryEngine:
    """Queries over the ``*.parquet`` files of one folder, each a table under its file's name."""

    def __init__(self, folder: Path, limits: QueryLimits = QueryLimits()) -> None:
        self._folder = folder
        self._limits = limits
        self._database = _open(limits)
        self._threads = ThreadPoolExecutor(limits.at_a_time, thread_name_prefix="analytics")
        self._stopping = set[asyncio.Task[None]]()

    async def tables(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        """Return the tables, with names and types of their columns."""
        return await asyncio.wrap_future(self._threads.submit(self._describe))

    async def run(self, sql: str, values: Sequence[object] = (), *, rows: int | None = None) -> Answer:
        """Run one SELECT. Raises ToolError, which tells what is wrong with it or which limit it met."""
        import duckdb

        cursor = self._database.cursor()
        most = min(rows or self._limits.rows, self._limits.rows)
        job = self._threads.submit(self._query, cursor, sql, list(values), most)
        work = asyncio.wrap_future(job)
        try:
            return await asyncio.wait_for(asyncio.shield(work), self._limits.seconds)
        except TimeoutError:
            raise ToolError(f"sql: the query took longer than {self._limits.seconds:g} seconds; ask for less") from None
        except duckdb.OutOfMemoryException:
            raise ToolError(f"sql: the query needs more than {self._limits.memory_mb} MB; ask for less") from None
        except duckdb.Error as error:
            raise ToolError(f"sql: {str(error).strip()[:500]}") from error
        finally:
            # Also when the caller is gone: the thread is then free again at once.
            if job.done() or job.cancel():
                cursor.close()
            else:
                stopping = asyncio.create_task(_stop(cursor, work))
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)

    async def close(self) -> None:
        """End what runs, and the database."""
        if self._stopping:
            await asyncio.wait(self._stopping)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._database.close()

    def _query(self, cursor: duckdb.DuckDBPyConnection, sql: str, values: list[object], rows: int) -> Answer:
        import duckdb

        statements = cursor.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ToolError("sql: must be one SELECT statement; nothing can be written here")
        for name, data in self._files().items():
            cursor.register(name, data)
        cursor.execute("BEGIN TRANSACTION READ ONLY")
        relation = cast(Any, cursor).sql(sql, params=values or None)
        table: ArrowTable = relation.limit(rows + 1).to_arrow_table()
        return Answer(table.slice(0, rows), more=table.num_rows > rows)

    def _files(self) -> dict[str, Any]:
        import pyarrow.dataset as arrow_dataset  # pyright: ignore[reportMissingTypeStubs]

        dataset = cast(Any, arrow_dataset).dataset  # it has no types of its own
        found = sorted(path for path in self._folder.glob("*.parquet") if path.stem.isidentifier())
        return {path.stem: dataset(path) for path in found}

    def _describe(self) -> Mapping[str, Sequence[tuple[str, str]]]:
        return {name: [(field.name, str(field.type)) for field in data.schema] for name, data in self._files().items()}


def _open(limits: QueryLimits) -> duckdb.DuckDBPyConnection:
    import duckdb

    shut: dict[str, Any] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",  # else a query could name this module's variables
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": f"{limits.memory_mb}MB",
        "max_temp_directory_size": "0B",
        "threads": "1",
    }
    database = duckdb.connect(":memory:", config=shut)
    database.execute("SET lock_configuration = true")
    return database


async def _stop(cursor: duckdb.DuckDBPyConnection, work: asyncio.Future[Answer]) -> None:
    """Interrupt a query that nobody waits for, until it has ended: what is just about to begin hears no interrupt."""
    while not work.done():
        cursor.interrupt()
        await asyncio.wait([work], timeout=_AGAIN_SECONDS)
    if not work.cancelled():
        work.exception()  # it was given up: what it ended with is no news
    cursor.close()
