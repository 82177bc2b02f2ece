"""What drivers say, and what becomes of it."""

from __future__ import annotations

import socket
import sqlite3

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agents.errors import Conflict, Unavailable
from agents.store.faults import Fault, fault_of, name_of, sqlstate_of, told


def sqlite_error(code: int, kind: type[sqlite3.Error] = sqlite3.OperationalError) -> sqlite3.Error:
    error = kind("it says so")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_SOMETHING"
    return error


def wrapped(error: BaseException) -> DBAPIError:
    """As SQLAlchemy hands on what asyncpg raised: inside an error of its dialect's."""
    adapted = Exception("adapted")
    adapted.__cause__ = error
    return DBAPIError("SELECT 1", {}, adapted)


def timed_out() -> TimeoutError:
    error = TimeoutError()
    error.__cause__ = BaseException("cancelled")
    return error


PASSES = [
    asyncpg.ConnectionDoesNotExistError("closed"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.TargetServerAttributeNotMatched("a standby"),
    asyncpg.InternalClientError("cannot switch to state"),
    asyncpg.AdminShutdownError("bye"),
    asyncpg.CrashShutdownError("bye"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.ReadOnlySQLTransactionError("a standby"),
    asyncpg.LockNotAvailableError("locked"),
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.TooManyConnectionsError("full"),
    ConnectionRefusedError(111, "refused"),
    FileNotFoundError(2, "no socket"),
    socket.gaierror("no such host"),
    timed_out(),
    PoolTimeout(),
    sqlite_error(sqlite3.SQLITE_BUSY),
    sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT),
]
FULL = [
    asyncpg.DiskFullError("could not extend file"),
    sqlite_error(sqlite3.SQLITE_FULL),
    sqlite_error(sqlite3.SQLITE_IOERR_WRITE),
    sqlite_error(sqlite3.SQLITE_IOERR_SHMSIZE),
]
CONFLICT = [asyncpg.UniqueViolationError("twice"), sqlite_error(sqlite3.SQLITE_CONSTRAINT, sqlite3.IntegrityError)]
STAYS = [
    asyncpg.InvalidPasswordError("password of secret-user is wrong"),
    asyncpg.InvalidAuthorizationSpecificationError("no entry"),
    asyncpg.InvalidCatalogNameError("no such database"),
    asyncpg.UndefinedTableError("no such table"),
    asyncpg.DataError("invalid input for query argument"),
    asyncpg.ClientConfigurationError("what host?"),
    sqlite_error(sqlite3.SQLITE_CORRUPT, sqlite3.DatabaseError),
    sqlite_error(sqlite3.SQLITE_NOTADB, sqlite3.DatabaseError),
    sqlite_error(sqlite3.SQLITE_CANTOPEN),
]
EVERY = [
    (error, fault)
    for fault, errors in (
        (Fault.PASSES, PASSES),
        (Fault.FULL, FULL),
        (Fault.CONFLICT, CONFLICT),
        (Fault.STAYS, STAYS),
    )
    for error in errors
]


@pytest.mark.parametrize(("error", "fault"), EVERY, ids=[f"{type(error).__name__}" for error, _ in EVERY])
def test_an_error_is_told_by_what_helps_also_from_inside_what_wraps_it(error: BaseException, fault: Fault) -> None:
    assert fault_of(error) is fault
    assert fault_of(wrapped(error)) is fault
    assert name_of(wrapped(error)) == name_of(error)
    assert sqlstate_of(wrapped(error)) == getattr(error, "sqlstate", None)
    answer = told(wrapped(error), uncertain=False)
    assert isinstance(answer, Conflict if fault is Fault.CONFLICT else Unavailable)
    if isinstance(answer, Unavailable):
        assert answer.retry_after
    assert not str(error) or str(error) not in answer.message, "drivers' texts show addresses, names and values"


def test_only_a_write_whose_outcome_nobody_heard_is_called_uncertain() -> None:
    lost = ConnectionResetError(104, "reset")
    assert "not known" in told(lost, uncertain=True).message
    assert "not known" not in told(lost, uncertain=False).message
