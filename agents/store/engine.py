"""The port to a database that runs work in transactions: SQLite (``sqlite``) or PostgreSQL (``postgres``).

*Work* is a plain function of an open connection; both databases run the same functions. A *script* (see
``script``) is the same for the hot path. No driver's error crosses this border: a violated constraint is
``Conflict``, everything else ``Unavailable``, after what may pass was ridden out (``patience``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from agents.store.script import Script

Result = TypeVar("Result")
Work = Callable[[Connection], Result]
Transaction = Callable[[], Script[Result]]
"""Makes a script anew for each attempt."""

DEADLINE_SECONDS = 15.0
"""Longest wait for one call: for a connection, for locks of other processes, for a server that restarts."""


class Database(Protocol):
    """A database that runs work in transactions."""

    async def read(self, work: Work[Result], *, deadline: float | None = None) -> Result:
        """Run *work* on one consistent state. Raises Unavailable and what *work* raises."""
        ...

    async def write(self, work: Work[Result], *, deadline: float | None = None, repeatable: bool = False) -> Result:
        """Run *work* and commit; when it raises, nothing is written. Raises Conflict, Unavailable and as *work*.

        After a connection lost during the commit the outcome is unknown: *repeatable* work is then done
        again, other work is Unavailable. After Unavailable *work* may also still be under way.
        """
        ...

    async def transact(
        self, script: Transaction[Result], *, deadline: float, changes: int = 0, more: bool = False
    ) -> Result:
        """Run a script and commit, as ``write`` of repeatable work. One at a time.

        *changes* is how many it writes, if each is of a few rows; else 0. *more* tells that others wait for its end.
        """
        ...

    async def migrate(self, work: Work[None]) -> None:
        """Run *work* once, for as long as it takes (within reason). Raises as ``write``."""
        ...

    async def close(self) -> None: ...
