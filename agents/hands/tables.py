"""Arrow tables as results of a hand's tools: the model reads a bounded preview, the platform gets the table itself.

An MCP result is JSON and holds no table, so it names it: the table waits in this process under an id that the
result's ``_meta`` carries, and what runs the hand takes it from there (once) and passes it on by reference. Where
nobody does, as behind a plain MCP client, the oldest tables go when the bounds are reached, and the preview is all
there is.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from mcp_types import CallToolResult

TABLES = "hecaton/tables"
"""The key in a result's ``_meta`` that lists the ids of its tables."""
PREVIEW_ROWS = 20
PREVIEW_CHARACTERS = 4000
"""About a thousand tokens: as much as a model needs to say what is in a table."""
_CELL_CHARACTERS = 60
_MOST_COLUMNS = 30
_MOST_TABLES = 64
_MOST_BYTES = 256 * 1024**2


class ArrowColumn(Protocol):
    """What is used of a column of ``pyarrow``, which has no types of its own."""

    def to_pylist(self) -> list[Any]: ...


class ArrowTable(Protocol):
    """What is used of ``pyarrow.Table``."""

    @property
    def num_rows(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def column_names(self) -> list[str]: ...
    def column(self, i: int) -> ArrowColumn: ...
    def slice(self, offset: int, length: int) -> ArrowTable: ...


class WaitingTables:
    """Tables between the tool that made them and what passes them on; bounded, the oldest go first."""

    def __init__(self, *, most: int = _MOST_TABLES, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._tables: dict[str, ArrowTable] = {}
        self._lock = Lock()  # tools that are plain functions run in threads

    def put(self, table: ArrowTable) -> str:
        """Keep a table; returns its id. One that alone is over the bounds is not kept."""
        name = f"tbl_{uuid.uuid4().hex}"
        with self._lock:
            self._tables[name] = table
            while self._tables and not self._fits():
                del self._tables[next(iter(self._tables))]
        return name

    def take(self, name: str) -> ArrowTable | None:
        """Hand a table out, once; None when it is gone."""
        with self._lock:
            return self._tables.pop(name, None)

    def _fits(self) -> bool:
        held = sum(table.nbytes for table in self._tables.values())
        return len(self._tables) <= self._most and held <= self._most_bytes


_waiting = WaitingTables()


def table_result(table: ArrowTable, *, title: str = "", waiting: WaitingTables = _waiting) -> CallToolResult:
    """Return what a tool answers with to return *table*: its preview as text, the table under an id."""
    from mcp_types import CallToolResult, TextContent

    text = f"{title}\n\n{preview(table)}" if title else preview(table)
    content = [TextContent(type="text", text=text)]
    return CallToolResult(content=list(content), _meta={TABLES: [waiting.put(table)]})


def take_tables(meta: Mapping[str, Any] | None, *, waiting: WaitingTables = _waiting) -> list[ArrowTable]:
    """Take the tables that a result's ``_meta`` names; those that are gone, or of another process, are left out."""
    named: object = (meta or {}).get(TABLES)
    names = cast(list[object], named) if isinstance(named, list) else []
    taken = (waiting.take(name) for name in names if isinstance(name, str))
    return [table for table in taken if table is not None]


_given: ContextVar[Mapping[str, Any]] = ContextVar("given_tables")


@contextmanager
def giving(tables: Mapping[str, Any]) -> Generator[None]:
    """Let a tool find *tables*, by the handles in its input; None among them is one that is gone."""
    token = _given.set(tables)
    try:
        yield
    finally:
        _given.reset(token)


def given_table(handle: str) -> ArrowTable:
    """Return the table whose *handle* a tool was given as an argument. Raises ToolError, which the model reads."""
    from mcp.server.mcpserver.exceptions import ToolError

    table = _given.get({}).get(handle)
    if table is None:
        raise ToolError(f"there is no table {handle[:80]!r} any more; make it again")
    return table


def preview(table: ArrowTable, *, rows: int = PREVIEW_ROWS, characters: int = PREVIEW_CHARACTERS) -> str:
    """Return the head of a table in Markdown, within the bounds, and how much of it that is."""
    names = table.column_names
    shown = names[:_MOST_COLUMNS]
    # Column by column: a query may give two columns one name, which a row as a mapping could not tell apart.
    head = [table.slice(0, rows).column(index).to_pylist() for index in range(len(shown))]
    header = [_line(shown), _line("---" for _ in shown)]
    lines = [_line(map(_cell, row)) for row in zip(*head, strict=True)]
    # A row is shown whole or not at all.
    sizes = itertools.accumulate((len(line) + 1 for line in lines), initial=sum(len(line) + 1 for line in header))
    fitting = sum(size <= characters for size in itertools.islice(sizes, 1, None))
    return "\n".join([*header, *lines[:fitting], "", _extent(table.num_rows, fitting, len(names), len(shown))])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_escaped, cells))} |"


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _escaped(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= _CELL_CHARACTERS else f"{flat[: _CELL_CHARACTERS - 1]}…"


def _extent(rows: int, shown_rows: int, columns: int, shown_columns: int) -> str:
    counted = f"{rows} {'row' if rows == 1 else 'rows'}"
    parts = [counted if shown_rows == rows else f"{shown_rows} of {counted} shown"]
    if shown_columns < columns:
        parts.append(f"{shown_columns} of {columns} columns shown")
    return f"({', '.join(parts)})"
