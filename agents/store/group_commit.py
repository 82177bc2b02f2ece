"""Group commit: concurrent changes share one transaction.

Invariant: a caller hears of success only after the transaction that holds its change is on disk.
Each change is checked for itself; a refused one fails alone. A batch whose transaction is lost is tried
again as it is, and what went through unheard is known by its stamp; a caller whose deadline passes
meanwhile is told so, and leaves the batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from agents.errors import Conflict, LogConflict, Overloaded, Unavailable
from agents.store.batch import Change, Kind
from agents.store.engine import Database
from agents.store.log_writing import write_batch


@dataclass(slots=True)
class _Waiter:
    change: Change
    done: asyncio.Future[None]
    ends: float
    """When its caller is told that the database did not answer (the loop's time)."""


class GroupCommit:
    """A queue of changes and the one task that writes them."""

    def __init__(self, database: Database, *, batch: int, waiting: int, deadline: float) -> None:
        self._database = database
        self._batch = batch
        self._limit = waiting
        self._deadline = deadline
        self._waiting: deque[_Waiter] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.on_written: Callable[[int], None] = lambda _: None
        """Hears how many events each transaction has written."""

    async def write(self, change: Change) -> None:
        """Return once *change* is on disk. Raises its refusal, Overloaded, Unavailable."""
        if len(self._waiting) >= self._limit:
            raise Overloaded("too many changes wait for the database", retry_after=1.0)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiter(change, done, _now() + self._deadline))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all(), name="store-group-commit")
        await done

    async def close(self) -> None:
        """Return when everything accepted so far is written or refused."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _write_all(self) -> None:
        try:
            while batch := self._next_batch():
                await self._commit(batch)
        finally:
            self._writer = None

    def _next_batch(self) -> list[_Waiter]:
        """Take what waits, in order, up to the second change of a session: it builds on the first."""
        batch: list[_Waiter] = []
        seen: set[str] = set()
        while self._waiting and len(batch) < self._batch:
            waiter = self._waiting[0]
            if waiter.done.done():  # its caller gave up before the change was taken: it never happened
                self._waiting.popleft()
                continue
            if waiter.change.session_id in seen:
                break
            seen.add(waiter.change.session_id)
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: list[_Waiter], *, again: bool = False) -> None:
        """Settle every waiter of a batch."""
        outcomes: Sequence[Exception | None]
        why = Unavailable("too much waits for the database", retry_after=1.0)
        while batch := _without_late(batch, why):
            ends = min(waiter.ends for waiter in batch)
            script = partial(write_batch, changes=[waiter.change for waiter in batch])
            try:
                changes = 0 if _deletes(batch) else len(batch)
                more = bool(self._waiting)
                outcomes = await self._database.transact(script, deadline=ends - _now(), changes=changes, more=more)
            except Conflict as error:
                if not again:
                    # A constraint failed (an event id stored before): only the guilty change may suffer for it. Or
                    # the change's own earlier attempt was about to end: then its stamp is there to see by now.
                    for waiter in batch:
                        await self._commit([waiter], again=True)
                    return
                outcomes = [LogConflict(f"{error.message}: an id is already stored")]
            except Unavailable as error:
                if _now() >= ends:  # somebody's time is up; the others may have some left
                    why = error
                    continue
                outcomes = [error] * len(batch)
            except asyncio.CancelledError:
                for waiter in batch:
                    waiter.done.cancel()
                raise
            except Exception as error:  # the writer is a supervisor: it outlives its batch, whose callers are told
                outcomes = [error] * len(batch)
            for waiter, outcome in zip(batch, outcomes, strict=True):
                _settle(waiter.done, outcome)
            written = sum(len(each.change.events) for each, why in zip(batch, outcomes, strict=True) if why is None)
            if written:
                self.on_written(written)
            return


def _deletes(batch: Sequence[_Waiter]) -> bool:
    """Whether it may take long: a session may have any number of rows."""
    return any(waiter.change.kind is Kind.DELETE for waiter in batch)


def _without_late(batch: list[_Waiter], why: Unavailable) -> list[_Waiter]:
    """Tell those whose time is up; returns the others."""
    now = _now()
    for waiter in batch:
        if waiter.ends <= now:
            _settle(waiter.done, why)
    return [waiter for waiter in batch if waiter.ends > now]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _settle(done: asyncio.Future[None], outcome: Exception | None) -> None:
    if done.done():  # the caller was cancelled meanwhile; its change went with the batch
        return
    if outcome is None:
        done.set_result(None)
    else:
        done.set_exception(outcome)
