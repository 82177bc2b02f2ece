"""The books of server calls: what the log lays ready goes into files, and both together answer what was used.

A call leaves the database only when a file with it is on disk. Who asks reads what waits first and the files then, so
that no call is missed on its way from one to the other; what is met in both counts once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from agents.clock import Clock
from agents.config import Settings
from agents.economics.call_files import CallFiles
from agents.economics.call_usage import CallFilter, CallTotal, Grouping, add_up, known_keys
from agents.economics.hand_calls import CallRecord, CallRecords, LogPlace
from agents.errors import Overloaded, Unavailable
from agents.periodic import PeriodicTask

P = ParamSpec("P")
T = TypeVar("T")

_GROUP = 5000
"""Calls in one file, at most: about 3 MB of memory while it is written."""
_PAGE = 500
"""Results of the log that are looked at in one query: they bring their content along."""
_MOST_WAITING = 50_000
_TRIES = 5
"""A file that is merged away while it is read is looked for again in what it was merged into."""
_LOCK_TRIES = 100
_LOCK_SECONDS = 0.1
_SECONDS = 60.0
"""Longest that adding up, or writing a group, may take."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Calls that the log told of, how many of them the books lacked, and where to look on; None: that was all."""

    seen: int
    added: int
    after: LogPlace | None


def call_folder(settings: Settings) -> Path:
    """Return where the books lie."""
    return settings.metering.directory or settings.data_dir / "calls"


class CallBooks:
    """The books in one folder, which every process that opens them shares."""

    def __init__(self, records: CallRecords, folder: Path, clock: Clock, *, every: float = 5.0) -> None:
        """*every* so many seconds ``start`` writes down what waits."""
        self._records = records
        self._folder = folder
        self._files = CallFiles(folder)
        self._clock = clock
        self._every = every
        # Nothing is lost when it fails: what is not on disk stays in the database.
        failing = "calls wait for the books"
        self._writing = PeriodicTask("call-books", self.write, clock, every=every, failing=failing)

    def start(self) -> None:
        """Write down what waits, again and again, in the background; needs a running event loop."""
        self._writing.start()

    async def close(self) -> None:
        """Stop. What waits then stays in the database."""
        await self._writing.stop()

    async def write(self) -> int:
        """Write down everything that waits; returns how many calls. Nothing when another process is at it.

        Raises Unavailable (the database, or the disk).
        """
        written = 0
        if not (waiting := await self._records.pending(_GROUP)):
            return 0
        with self._files.alone() as alone:
            while alone and waiting:
                await self._on_disk(self._files.add, waiting)
                await self._records.settle([each.key for each in waiting])
                written += len(waiting)
                waiting = await self._records.pending(_GROUP)
            if written:
                await self._on_disk(self._files.tidy)
        return written

    async def totals(self, by: Sequence[Grouping], chosen: CallFilter) -> Sequence[CallTotal]:
        """Add up every call there is a result of in the log, by groups. Raises Unavailable, Overloaded."""
        waiting = await self._records.pending(_MOST_WAITING + 1)
        if len(waiting) > _MOST_WAITING:
            raise Overloaded("the books of calls are behind; the totals are not yet known", retry_after=self._every)
        return await self._on_disk(self._add_up, waiting, by, chosen)

    async def reconcile(self, after: LogPlace, *, pages: int = 20) -> Reconciled:
        """Add what the log tells of and the books lack, from a place on; looks at so many *pages* at most.

        Only what somebody has lost is missing there: files that were removed, or a database without its last rows.
        Raises Unavailable.
        """
        seen, added, place = 0, 0, after
        for _ in range(pages):
            logged = await self._records.logged(place, _PAGE)
            missing = await self._on_disk(self._missing, logged.calls)
            if missing:
                await self._add(missing)
            seen, added = seen + len(logged.calls), added + len(missing)
            if logged.after is None:
                return Reconciled(seen, added, None)
            place = logged.after
        return Reconciled(seen, added, place)

    async def _add(self, calls: Sequence[CallRecord]) -> None:
        """Write calls down when nobody else writes, who might tidy away what is half written. Raises Unavailable."""
        for _ in range(_LOCK_TRIES):
            with self._files.alone() as alone:
                if alone:
                    await self._on_disk(self._files.add, calls)
                    return
            await self._clock.sleep(_LOCK_SECONDS)
        raise Unavailable("another process writes the books of calls all the time")

    def _missing(self, calls: Sequence[CallRecord]) -> list[CallRecord]:
        if not calls:
            return []
        moments = [call.at for call in calls]
        known = self._again(lambda: known_keys(self._files.files(min(moments), max(moments)), calls))
        return [call for call in calls if call.key not in known]

    def _add_up(self, waiting: Sequence[CallRecord], by: Sequence[Grouping], chosen: CallFilter) -> list[CallTotal]:
        spill = self._folder / ".spill"
        return self._again(lambda: add_up(self._files.files(chosen.since, chosen.until), waiting, by, chosen, spill))

    def _again(self, work: Callable[[], T]) -> T:
        """Do work that reads files, and again when one was merged away meanwhile. Raises OSError."""
        import duckdb

        for left in reversed(range(_TRIES)):
            try:
                return work()
            except duckdb.IOException as error:
                if not left:
                    raise OSError(str(error)) from error
        raise AssertionError("not reached")

    async def _on_disk(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        try:
            async with asyncio.timeout(_SECONDS):
                return await asyncio.to_thread(work, *arguments, **named)
        except TimeoutError:
            raise Unavailable(f"the books of calls did not answer within {_SECONDS:g} s") from None
        except OSError as error:
            raise Unavailable(f"the books of calls can not be read or written: {error}") from error
