"""Transactions of the hot path: statements compiled once, run by the drivers themselves.

A *script* is a transaction as a generator: it yields steps and is sent the rows that each returned. So
one text of logic runs in SQLite's writing thread and, awaiting, on asyncpg, without SQLAlchemy's machinery
per statement, which costs several times the statement. The statements are SQLAlchemy expressions all the
same, compiled for both dialects at import.

Many rows are one step: SQLite runs the statement once per row, an INSERT once per group of rows (half the time,
and Python's lock is given up once, not per row); PostgreSQL gets them as one JSON array, which costs both it and
us less than a row at a time (and us less than an array per column).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeVar
from typing import cast as cast_type

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Integer,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    delete,
    func,
    select,
)
from sqlalchemy import update as update_of
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.selectable import TableValuedAlias

Result = TypeVar("Result")
Values = Mapping[str, Any]
Rows = Sequence[Sequence[Any]]
Among = Callable[[Column[Any], str], ColumnElement[bool]]
"""Makes the condition that a column is one of the values in the list that a parameter names."""

_GROUPS = (64, 8)
"""Few sizes, because each is a statement that SQLite's driver keeps compiled."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A statement's text in one dialect, and the order in which it takes its parameters."""

    text: str
    names: tuple[str, ...]


class Statement:
    """One statement for both databases, compiled at its first use."""

    def __init__(
        self, for_sqlite: ClauseElement, for_postgresql: ClauseElement, *, sqlite_groups: Sequence[int] = ()
    ) -> None:
        """*sqlite_groups* are numbers of rows, largest first, that the SQLite form, an INSERT, also takes at once."""
        self._for_sqlite = for_sqlite
        self._for_postgresql = for_postgresql
        self._sqlite_groups = sqlite_groups

    @cached_property
    def sqlite(self) -> Compiled:
        return _compiled(self._for_sqlite, SQLiteDialect())

    @cached_property
    def grouped_sqlite(self) -> Sequence[tuple[int, str]]:
        """Numbers of rows, largest first, with the text that takes so many."""
        row = f", ({', '.join('?' for _ in self.sqlite.names)})"
        return [(number, self.sqlite.text + row * (number - 1)) for number in self._sqlite_groups]

    @cached_property
    def postgresql(self) -> Compiled:
        return _compiled(self._for_postgresql, PGDialect_asyncpg())


@dataclass(slots=True)
class Ask:
    """A step that reads and is answered with rows. The values may be lists."""

    statement: Statement
    values: Values

    def for_sqlite(self) -> list[Any]:
        values = map(self.values.__getitem__, self.statement.sqlite.names)
        return [orjson.dumps(value).decode() if isinstance(value, list) else value for value in values]

    def for_postgresql(self) -> list[Any]:
        return [self.values[name] for name in self.statement.postgresql.names]


@dataclass(slots=True)
class Write:
    """A step that writes rows and is answered with none. Rows may have more columns than are written."""

    statement: Statement
    rows: Sequence[Values]

    def for_sqlite(self) -> list[Sequence[Any]]:
        names = self.statement.sqlite.names
        if len(names) == 1:
            return [(row[names[0]],) for row in self.rows]
        return list(map(cast_type("Callable[[Values], Sequence[Any]]", itemgetter(*names)), self.rows))

    def for_postgresql(self) -> str:
        return orjson.dumps(self.rows).decode()


Script = Generator[Ask | Write, Rows, Result]


def query(build: Callable[[Among], ClauseElement]) -> Statement:
    """Compile what *build* makes of each database's way to say "one of these"."""
    return Statement(build(_in_json), build(_in_array))


def insert(table: Table, *names: str, replace_on: str | None = None, keep: bool = False) -> Statement:
    """Insert rows, in the order given; with *replace_on*, a key, a row that is there gets the new values.

    With *keep* what is there stays as it is, whichever unique key it shares with the row.
    """
    given = given_rows(table, {name: name for name in names})
    one = sqlite.insert(table).values({name: bindparam(name) for name in names})
    # A lone scan of a function gives its rows in their order, so what is numbered here is numbered in it.
    many = postgresql.insert(table).from_select(list(names), select(*(given.c[name] for name in names)))
    if keep:
        one, many = one.on_conflict_do_nothing(), many.on_conflict_do_nothing()
    elif replace_on is None:
        # A failure ends the transaction anyway, so SQLite need not keep what it takes to undo the statement.
        one = one.prefix_with("OR FAIL")
    else:
        rest = [name for name in names if name != replace_on]
        one = one.on_conflict_do_update(index_elements=[replace_on], set_={name: one.excluded[name] for name in rest})
        many = many.on_conflict_do_update(
            index_elements=[replace_on], set_={name: many.excluded[name] for name in rest}
        )
    return Statement(one.inline(), many.inline(), sqlite_groups=() if replace_on or keep else _GROUPS)


def update(table: Table, keys: Mapping[str, str], *names: str) -> Statement:
    """Set *names* in the rows whose columns (the values of *keys*) equal the parameters (its keys)."""
    given = given_rows(table, {**keys, **{name: name for name in names}})
    one = update_of(table).where(*(table.c[column] == bindparam(name) for name, column in keys.items()))
    many = update_of(table).where(*(table.c[column] == given.c[name] for name, column in keys.items()))
    return Statement(
        one.values({name: bindparam(name) for name in names}), many.values({name: given.c[name] for name in names})
    )


def remove(table: Table, keys: Mapping[str, str]) -> Statement:
    """Delete the rows whose columns equal the parameters, as in ``update``."""
    given = given_rows(table, keys)
    one = delete(table).where(*(table.c[column] == bindparam(name) for name, column in keys.items()))
    many = delete(table).where(*(table.c[column] == given.c[name] for name, column in keys.items()))
    return Statement(one, many)


def given_rows(table: Table, columns: Mapping[str, str]) -> TableValuedAlias:
    """Return the rows that PostgreSQL is given as JSON, as a table with a column per parameter."""
    rows = func.json_to_recordset(cast(bindparam("rows", type_=Text()), JSON))
    typed = [Column(name, _plain(table.c[column])) for name, column in columns.items()]
    return rows.table_valued(*typed, name="given").render_derived(with_types=True)


def _plain(column: Column[Any]) -> Text | Integer | BigInteger:
    if isinstance(column.type, BigInteger):
        return BigInteger()
    return Integer() if isinstance(column.type, Integer) else Text()


def _in_json(column: Column[Any], name: str) -> ColumnElement[bool]:
    values = func.json_each(bindparam(name, type_=Text())).table_valued("value")
    return column.in_(select(values.c.value))


def _in_array(column: Column[Any], name: str) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(_plain(column))))


def _compiled(statement: ClauseElement, dialect: Dialect) -> Compiled:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    return Compiled(str(compiled), tuple(compiled.positiontup or ()))
