"""Commits to the journal, off the event loop and many at a time: a slow disk costs a batch latency, not throughput."""

from __future__ import annotations

import asyncio

from agents.batch.journal import Change, Journal


class JournalWriter:
    """Writes changes in the order in which they come; one is done when it is on the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, change: Change) -> None:
        """Return when *change* will outlive this process. Raises sqlite3.Error."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def close(self) -> None:
        """Return when all that was to be written is."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._journal.commit, [change for change, _ in batch])
            except Exception as error:
                # A named border: whoever waits for a commit gets its failure.
                _settle(batch, error)
            else:
                _settle(batch, None)
        self._flushing = None


def _settle(batch: list[tuple[Change, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, done in batch:
        if done.done():
            continue  # who waited was cancelled
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
