"""What a driver's error means: pass by itself, or not; and what our callers are told.

The one place that knows SQLSTATEs, SQLite's result codes and the exception classes of the drivers.
"""

from __future__ import annotations

import sqlite3
import sys
from enum import Enum, auto
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from agents.errors import Conflict, HecatonError, Unavailable

_ALWAYS = (DBAPIError, sqlite3.Error, PoolTimeout, OSError, TimeoutError)


def driver_errors() -> tuple[type[BaseException], ...]:
    """Return everything that must not cross the border of the store: what ``except`` takes.

    asyncpg's own errors are among them where it is loaded, which a process on SQLite does without.
    """
    asyncpg: Any = sys.modules.get("asyncpg")
    if asyncpg is None:
        return _ALWAYS
    return (*_ALWAYS, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Fault(Enum):
    """What went wrong, by what helps."""

    PASSES = auto()
    """Connection or server are gone, starting, only reading, or locks are held: trying again may help."""
    FULL = auto()
    """The disk takes no more. Waiting helps only once somebody made space."""
    CONFLICT = auto()
    """A constraint refused the change."""
    STAYS = auto()
    """Trying again cannot help: we are turned away, the file is no database, the statement is wrong."""


READ_ONLY = "25006"
_DISK_FULL = "53100"
_PASSING_STATES = frozenset(
    {
        READ_ONLY,  # a standby: the connection's server is no longer the primary
        "25P03",  # idle in transaction for too long
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53200",  # the server is out of memory
        "53300",  # too many connections
        "55P03",  # lock_timeout
        "57014",  # the statement was cancelled
        "57P01",  # the server is shut down
        "57P02",  # the server crashed
        "57P03",  # the server starts or stops
        "57P05",  # idle for too long
    }
)
_PASSING_CLASS = "08"
_CONSTRAINT_CLASS = "23"
_SQLITE_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
_RETRY_SECONDS = 1.0
_SPACE_SECONDS = 10.0


def fault_of(error: BaseException) -> Fault:
    """Classify one of ``driver_errors``."""
    cause = _driver_error(error)
    state = sqlstate_of(cause)
    if state is not None:
        return _fault_of_state(state)
    if isinstance(cause, sqlite3.Error):
        return _fault_of_sqlite(cause)
    # asyncpg's errors without a state are connections that ended, except those about a value that we gave it.
    stays = isinstance(cause, (DBAPIError, ValueError))
    return Fault.STAYS if stays else Fault.PASSES


def sqlstate_of(error: BaseException) -> str | None:
    """Return what PostgreSQL's server said, if it was the server that spoke."""
    return getattr(_driver_error(error), "sqlstate", None)


def name_of(error: BaseException) -> str:
    """Return what to call an error: never its message, which may show addresses, names and values."""
    cause = _driver_error(error)
    return getattr(cause, "sqlite_errorname", None) or type(cause).__name__


def told(error: BaseException, *, uncertain: bool) -> HecatonError:
    """Return what a caller hears of an error that we stop trying to ride out."""
    name = name_of(error)
    match fault_of(error):
        case Fault.CONFLICT:
            return Conflict("the change contradicts what is stored")
        case Fault.FULL:
            text = f"the database's disk takes no more ({name}): nothing was stored; it goes on once there is space"
            return Unavailable(text, retry_after=_SPACE_SECONDS)
        case Fault.STAYS:
            return Unavailable(f"the database refuses to work ({name})", retry_after=_SPACE_SECONDS)
        case Fault.PASSES:
            outcome = "; whether the change was stored is not known" if uncertain else ""
            return Unavailable(f"the database does not answer ({name}){outcome}", retry_after=_RETRY_SECONDS)


def _driver_error(error: BaseException) -> BaseException:
    """Return the driver's own error from inside what SQLAlchemy and asyncio made of it."""
    known = driver_errors()
    found, inner = error, error
    while inner is not None:
        if isinstance(inner, known):
            found = inner
        inner = inner.orig if isinstance(inner, DBAPIError) else inner.__cause__
    return found


def _fault_of_state(state: str) -> Fault:
    if state == _DISK_FULL:
        return Fault.FULL
    if state.startswith(_CONSTRAINT_CLASS):
        return Fault.CONFLICT
    return Fault.PASSES if state in _PASSING_STATES or state.startswith(_PASSING_CLASS) else Fault.STAYS


def _fault_of_sqlite(error: sqlite3.Error) -> Fault:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if isinstance(error, sqlite3.IntegrityError):
        return Fault.CONFLICT
    if code in _SQLITE_FULL:
        return Fault.FULL
    return Fault.PASSES if code in _SQLITE_PASSING else Fault.STAYS
