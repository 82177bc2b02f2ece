"""The journal of a batch: which rows there are, which sessions are theirs, and what came of them.

It is a SQLite file beside the results. A session is noted before its task is sent to it, and a result in the same
transaction that ends the row, so whatever moment a process dies at, the next one finds every row in one state: not
begun, begun (perhaps with a session), or done. The lock that one process holds on the file lasts as long as it lives.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agents.batch.row import Attempt, OpenRow
from agents.batch.task_file import InvalidTask, Line, Task, read_lines

_FORM = 1
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE rows (
    line INTEGER PRIMARY KEY, offset INTEGER NOT NULL, length INTEGER NOT NULL, id TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, session TEXT,
    began REAL, attempt_began REAL, ended REAL,
    outcome TEXT, stop_reason TEXT, error_type TEXT, error TEXT, answer TEXT, evaluation TEXT,
    model_requests INTEGER NOT NULL DEFAULT 0, tool_calls INTEGER NOT NULL DEFAULT 0,
    input_tokens INTEGER NOT NULL DEFAULT 0, output_tokens INTEGER NOT NULL DEFAULT 0,
    cache_read_input_tokens INTEGER NOT NULL DEFAULT 0, cache_creation_input_tokens INTEGER NOT NULL DEFAULT 0,
    cost_micro_usd INTEGER NOT NULL DEFAULT 0, active_seconds REAL NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX rows_by_id ON rows (id) WHERE outcome IS NOT 'invalid';
CREATE INDEX rows_open ON rows (line) WHERE done = 0;
"""
_SUMS = (
    "model_requests",
    "tool_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "cost_micro_usd",
    "active_seconds",
)
"""What the attempts of a row add up to."""
_ADDED = ", ".join(f"{name} = {name} + :{name}" for name in _SUMS)
_LAST = ("outcome", "stop_reason", "error_type", "error", "answer", "evaluation")
"""What the last attempt says for the row."""
_TOLD = ", ".join(f"{name} = :{name}" for name in _LAST)
_PAGE = 500

Change = tuple[str, Mapping[str, Any]]


class JournalUnusable(Exception):
    """The journal cannot be used; the message says why and what to do."""


def began(line: int, attempt: int, at: float) -> Change:
    """A session will be made for the row; *at* is in seconds since 1970."""
    sql = "UPDATE rows SET attempts = :attempt, attempt_began = :at, began = coalesce(began, :at) WHERE line = :line"
    return sql, {"line": line, "attempt": attempt, "at": at}


def bound(line: int, session: str) -> Change:
    """The row's session is known; nothing was sent to it yet."""
    return "UPDATE rows SET session = :session WHERE line = :line", {"line": line, "session": session}


def finished(line: int, attempt: Attempt, at: float) -> Change:
    """The row has its result."""
    sql = f"UPDATE rows SET done = 1, ended = :at, {_TOLD}, {_ADDED} WHERE line = :line AND done = 0"  # noqa: S608
    return sql, {"line": line, "at": at, **_flat(attempt)}


def failed(line: int, attempt: Attempt) -> Change:
    """The row's session came to nothing, and another one shall be made; what it used counts."""
    sql = f"UPDATE rows SET session = NULL, attempt_began = NULL, {_TOLD}, {_ADDED} WHERE line = :line AND done = 0"  # noqa: S608
    return sql, {"line": line, **_flat(attempt)}


def _flat(attempt: Attempt) -> dict[str, Any]:
    fields = asdict(attempt)
    return {**fields, **fields.pop("spent")}


class Journal:
    """One batch's journal, open and held; its methods block. Use as a context manager."""

    def __init__(self, file: Path) -> None:
        """Open *file*, or make it. Raises JournalUnusable when another process holds it, or it is none of ours."""
        self.file = file
        # Changes are committed, and open rows read, in threads of others: one at a time.
        self._db = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._lock = threading.Lock()
        try:
            # Exclusive: one process only, and no shared memory, which network file systems lack.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            form = self._db.execute("PRAGMA user_version").fetchone()[0]
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise JournalUnusable(f"{file}: another batch is writing to it") from error
            raise JournalUnusable(f"{file} is not the journal of a batch: {error}") from error
        if form not in (0, _FORM):
            self._db.close()
            raise JournalUnusable(f"{file} was written by another version of hecaton (form {form}, not {_FORM})")
        self._filled = form == _FORM

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def discard(self) -> None:
        """Close it and remove its file: nothing of the batch was run."""
        self._db.close()
        self.file.unlink()

    @property
    def filled(self) -> bool:
        """Whether it holds the rows of a batch: an earlier run has begun it."""
        return self._filled

    def fill(self, tasks: Path, meta: Mapping[str, str]) -> None:
        """Note every line of *tasks*, all or none; lines that are no tasks are done at once. Raises OSError.

        Beside *meta* it notes the digest of the file, and how many tasks name no agent, and no environment.
        """
        without_agent = without_environment = 0
        with self._transaction():
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            for line in read_lines(tasks):
                task = self._insert(line)
                without_agent += task is not None and task.agent is None
                without_environment += task is not None and task.environment is None
            counts = {"without_agent": str(without_agent), "without_environment": str(without_environment)}
            about = {**meta, **counts, "tasks_digest": digest(tasks)}
            self._db.executemany("INSERT INTO meta VALUES (?, ?)", about.items())
            self._db.execute(f"PRAGMA user_version = {_FORM}")
        self._filled = True

    def _insert(self, line: Line) -> Task | None:
        """Note one line; returns its task, None when it is none."""
        task, row_id, told = None, str(line.number), dict[str, Any]()
        try:
            task = line.task()
            row_id = task.id or row_id
            self._check_new(row_id)
        except InvalidTask as fault:
            task, now = None, time.time()
            told = {"done": 1, "outcome": "invalid", "began": now, "ended": now}
            told |= {"error_type": "invalid_task", "error": f"line {line.number}: {fault}"}
        row = {"line": line.number, "offset": line.offset, "length": line.length, "id": row_id, **told}
        names, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        self._db.execute(f"INSERT INTO rows ({names}) VALUES ({values})", row)  # noqa: S608 - the names are ours
        return task

    def _check_new(self, row_id: str) -> None:
        sql = "SELECT line FROM rows WHERE id = ? AND outcome IS NOT 'invalid'"
        if known := self._db.execute(sql, (row_id,)).fetchone():
            raise InvalidTask(f"id: {row_id[:80]!r} is that of line {known['line']} already")

    def meta(self) -> dict[str, str]:
        """Return what was noted of the batch."""
        return dict(self._db.execute("SELECT key, value FROM meta").fetchall())

    def note(self, meta: Mapping[str, str]) -> None:
        """Add to what is noted of the batch."""
        sql = "INSERT OR REPLACE INTO meta VALUES (:key, :value)"
        self.commit((sql, {"key": key, "value": value}) for key, value in meta.items())

    def commit(self, changes: Iterable[Change]) -> None:
        """Make *changes*, all or none, and have them on the disk before it returns. Raises sqlite3.Error."""
        with self._transaction():
            for sql, values in changes:
                self._db.execute(sql, values)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        # The connection ends what is begun here: it commits, and rolls back when the body raises.
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    def open_rows(self, after: int = 0, limit: int = _PAGE) -> list[OpenRow]:
        """Return the first rows without a result whose lines come behind *after*."""
        sql = (
            "SELECT line, offset, length, attempts, session, attempt_began FROM rows"
            " WHERE done = 0 AND line > ? ORDER BY line LIMIT ?"
        )
        with self._lock:
            return [OpenRow(*row) for row in self._db.execute(sql, (after, limit))]

    def reopen_errors(self) -> int:
        """Let the rows that ended in an error be run again, with new sessions; returns how many."""
        sql = (
            "UPDATE rows SET done = 0, session = NULL, attempt_began = NULL, ended = NULL"
            " WHERE done = 1 AND outcome = 'error'"
        )
        return self._db.execute(sql).rowcount

    def rows(self) -> Iterator[list[sqlite3.Row]]:
        """Yield all rows by line, some at a time."""
        cursor = self._db.execute("SELECT * FROM rows ORDER BY line")
        while page := cursor.fetchmany(_PAGE):
            yield page

    def invalid(self, limit: int) -> list[str]:
        """Return what is wrong with the first lines that are no tasks."""
        sql = "SELECT error FROM rows WHERE outcome = 'invalid' ORDER BY line LIMIT ?"
        return [row["error"] for row in self._db.execute(sql, (limit,))]

    def query(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows that a question of ours is answered with."""
        return self._db.execute(sql, values).fetchall()


def digest(file: Path) -> str:
    """Return what tells the content of *file* from another's. Raises OSError."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
