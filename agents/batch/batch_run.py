"""A run of a batch: the rows that have no result yet, so many at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from agents.batch.journal import Journal
from agents.batch.patience import BatchStopped
from agents.batch.row import Attempt, OpenRow
from agents.batch.task_file import Task, parse_task

RunRow = Callable[[OpenRow, Task], Awaitable[Attempt]]


class Progress:
    """What a run has done so far; whoever shows it reads it when it likes."""

    def __init__(self, rows: int, done: int) -> None:
        self.rows = rows
        self.done = done
        self.before = done
        """Rows that had a result when the run began."""
        self.running = 0
        self.errors = 0
        self.cost_micro_usd = 0
        self.last_error = ""

    def end(self, row: OpenRow, attempt: Attempt) -> None:
        """Count a row that has its result."""
        self.done += 1
        self.cost_micro_usd += attempt.spent.cost_micro_usd
        if attempt.outcome != "ok":
            self.errors += 1
            self.last_error = f"line {row.line}: {attempt.error_type}: {attempt.error}"


async def run_batch(journal: Journal, tasks: Path, run_row: RunRow, *, concurrency: int, progress: Progress) -> None:
    """Give every open row of the journal to *run_row*, *concurrency* at a time.

    Memory is bounded by that number, not by the file. Raises BatchStopped, OSError, sqlite3.Error.
    """
    queue = asyncio.Queue[OpenRow | None](maxsize=concurrency)
    with tasks.open("rb") as source:

        async def work() -> None:
            while (row := await queue.get()) is not None:
                task = parse_task(await asyncio.to_thread(os.pread, source.fileno(), row.length, row.offset))
                progress.running += 1
                try:
                    progress.end(row, await run_row(row, task))
                finally:
                    progress.running -= 1

        try:
            async with asyncio.TaskGroup() as group:
                workers = min(concurrency, max(progress.rows - progress.done, 1))
                for _ in range(workers):
                    group.create_task(work())
                await _feed(journal, queue)
                for _ in range(workers):
                    await queue.put(None)
        except BaseExceptionGroup as failures:
            raise _worst(failures) from None


async def _feed(journal: Journal, queue: asyncio.Queue[OpenRow | None]) -> None:
    after = 0
    while page := await asyncio.to_thread(journal.open_rows, after):
        for row in page:
            await queue.put(row)
        after = page[-1].line


def _worst(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one of them: what stopped the batch, if that was it."""
    found: BaseException = failures.subgroup(BatchStopped) or failures
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseExceptionGroup[BaseException]", found).exceptions[0]
    return found
