"""What tasks work on: hands whose every session has a database of its own, with one time that stands still.

A hand's tools get one argument more, ``database``, which names a folder; in it is one SQLite file for each hand of the
domain. So thousands of sessions share a hand's replicas, and none sees what another did. The clock stands, so that an
invoice that is overdue today is overdue in a year, and what was written when can be compared.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from sqlalchemy import Connection, Engine, NullPool, Table, and_, create_engine, insert, select, update
from sqlalchemy.engine import URL

from agents.clock import ManualClock
from agents.errors import InvalidRequest
from agents.example_hands.storage import HandDatabase, Seed

DATABASE = "database"
"""The argument that tells a tool whose data it works on."""
FOLDER = "TASKS_DIR"
"""Environment variable of a domain's hands: the folder with a folder for each database."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_COMPILED: dict[Any, Any] = {}
"""The few statements that read whole tables: each file has an engine of its own, which would compile them anew."""
_MOST_OPEN = 32
"""Databases that one process keeps open beside those in use: each holds files and threads."""

Rows = Mapping[str, Sequence[tuple[Any, ...]]]
"""All rows of all tables, by the tables' names; a row's values are in the order of the table's columns."""


@dataclass(frozen=True, slots=True)
class TaskHand:
    """One hand of a domain: its tools over its tables, as the example hands have them."""

    name: str
    server: str
    """``package.module:attribute`` of the server object that ``task_server`` made of it."""
    tools: Sequence[Tool]
    calls: Table
    """The table of calls carried out (``calls_table``), in the tables' schema."""
    seed: Seed
    now: datetime

    @property
    def tables(self) -> list[Table]:
        """All tables that count, those that others refer to first."""
        return [table for table in self.calls.metadata.sorted_tables if table is not self.calls]

    def file(self, folder: Path) -> Path:
        """Return where its database is in a folder."""
        return folder / f"{self.name}.db"


@dataclass(frozen=True, slots=True)
class Domain:
    """The hands of a set of tasks; no two of them have a tool or a table of one name."""

    name: str
    hands: tuple[TaskHand, ...]

    def hand_of(self, tool: str) -> TaskHand:
        """Return the hand that has a tool. Raises InvalidRequest."""
        found = [hand for hand in self.hands if any(each.name == tool for each in hand.tools)]
        if not found:
            known = ", ".join(sorted(tool.name for hand in self.hands for tool in hand.tools))
            raise InvalidRequest(f"name: the domain {self.name} has no tool {tool!r}; it has {known}")
        return found[0]

    async def make(self, folder: Path) -> None:
        """Make the databases of the domain's first state in a new folder."""
        await asyncio.to_thread(folder.mkdir, parents=True)
        for hand in self.hands:
            database = _opened(hand, folder, seed=hand.seed)
            async with database.writing():
                pass
            await database.close()

    def lay_over(self, folder: Path, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Put rows into a folder's databases, in place of those with the same key. Raises InvalidRequest."""
        for name, given in rows.items():
            hand, table = self._table(name)
            with _engine(hand, folder).begin() as connection:
                for place, row in enumerate(given):
                    _put(connection, table, row, f"{name}.{place}")

    def _table(self, name: str) -> tuple[TaskHand, Table]:
        known = {table.name: (hand, table) for hand in self.hands for table in hand.tables}
        if name not in known:
            raise InvalidRequest(f"{name}: is no table of the domain {self.name}; it has {', '.join(sorted(known))}")
        return known[name]

    def read(self, folder: Path) -> Rows:
        """Return all rows of a folder's databases."""
        found: dict[str, Sequence[tuple[Any, ...]]] = {}
        for hand in self.hands:
            with _engine(hand, folder).connect().execution_options(compiled_cache=_COMPILED) as connection:
                for table in hand.tables:
                    found[table.name] = [tuple(row) for row in connection.execute(select(table))]
        return found


def copy_databases(source: Path, target: Path) -> None:
    """Copy the folder of databases that nobody has open."""
    shutil.copytree(source, target)


class TaskDatabases:
    """The databases of one hand that its tools work on now, and the latest they worked on."""

    def __init__(self, hand: TaskHand, root: Path) -> None:
        self._hand = hand
        self._root = root
        self._open: dict[str, HandDatabase] = {}
        """By name, the one that was lent least recently first."""
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def lend(self, name: object) -> AsyncGenerator[HandDatabase]:
        """Lend the database with a name. Raises ToolError when there is none."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not self._hand.file(self._root / name).exists():
            raise ToolError(f"{DATABASE}: there is no database {name!r}")
        database = self._open.pop(name, None) or _opened(self._hand, self._root / name)
        self._open[name] = database
        self._users[name] = self._users.get(name, 0) + 1
        try:
            yield database
        finally:
            self._users[name] -= 1
            if not self._users[name]:
                del self._users[name]
            await self._close_oldest()

    async def _close_oldest(self) -> None:
        while len(self._open) > _MOST_OPEN:
            # Looked for anew each time, for while one is closed others are lent.
            idle = next((name for name in self._open if name not in self._users), None)
            if idle is None:
                return
            await self._open.pop(idle).close()

    async def close(self) -> None:
        """Close all of them."""
        while self._open:
            await self._open.popitem()[1].close()


class SessionTool(Tool):
    """A hand's tool that works on the database which its call names."""

    @classmethod
    def of(cls, tool: Tool) -> SessionTool:
        """Return *tool* with the argument ``database``."""
        fields = {name: getattr(tool, name) for name in Tool.model_fields}
        schema = tool.parameters
        argument = {"type": "string", "pattern": f"^{_NAME.pattern}$", "description": "The database of this session"}
        fields["parameters"] = {
            **schema,
            "properties": {DATABASE: argument, **schema.get("properties", {})},
            "required": [DATABASE, *schema.get("required", [])],
        }
        return cls(**fields)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        """See Tool.run."""
        given = {name: value for name, value in arguments.items() if name != DATABASE}
        databases: TaskDatabases = context.request_context.lifespan_context
        async with databases.lend(arguments.get(DATABASE)) as database:
            request = replace(context.request_context, lifespan_context=database)
            inner: Context[Any, Any] = Context(request_context=request, mcp_server=context.mcp_server)
            return await super().run(given, inner, convert_result)


def task_server(hand: TaskHand, root: Path | None = None) -> MCPServer[TaskDatabases]:
    """Make the MCP server of a hand over the databases below *root*, by default below ``TASKS_DIR``."""

    @asynccontextmanager
    async def lifespan(server: MCPServer[TaskDatabases]) -> AsyncGenerator[TaskDatabases]:
        del server
        where = root or os.environ.get(FOLDER)
        if not where:
            raise ValueError(f"{FOLDER}: is not set; it names the folder of the tasks' databases")
        databases = TaskDatabases(hand, Path(where))
        try:
            yield databases
        finally:
            await databases.close()

    return MCPServer(
        hand.name, log_level="WARNING", lifespan=lifespan, tools=[SessionTool.of(tool) for tool in hand.tools]
    )


def _put(connection: Connection, table: Table, row: Mapping[str, Any], where: str) -> None:
    if unknown := row.keys() - set(table.columns.keys()):
        raise InvalidRequest(f"{where}.{min(unknown)}: is no column; there are {', '.join(table.columns.keys())}")
    key = [column.name for column in table.primary_key]
    if missing := [name for name in key if name not in row]:
        raise InvalidRequest(f"{where}.{missing[0]}: is missing; it says which row is meant")
    same = and_(*(table.c[name] == row[name] for name in key))
    if connection.execute(select(table).where(same)).first() is not None:
        connection.execute(update(table).where(same).values(**row))
        return
    if missing := [column.name for column in table.columns if not column.nullable and column.name not in row]:
        raise InvalidRequest(f"{where}.{missing[0]}: is missing, and there is no such row yet")
    connection.execute(insert(table).values(**row))


def _url(driver: str, hand: TaskHand, folder: Path) -> URL:
    return URL.create(driver, database=str(hand.file(folder)))


def _engine(hand: TaskHand, folder: Path) -> Engine:
    # Without a pool nothing stays open behind a connection.
    return create_engine(_url("sqlite", hand, folder), poolclass=NullPool)


def _opened(hand: TaskHand, folder: Path, seed: Seed | None = None) -> HandDatabase:
    return HandDatabase(_url("sqlite+aiosqlite", hand, folder), hand.calls, seed=seed, clock=ManualClock(hand.now))
