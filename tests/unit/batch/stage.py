"""A batch over a fake platform, with time that passes at once."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from agents.batch.batch_run import Progress, run_batch
from agents.batch.journal import Journal
from agents.batch.journal_writer import JournalWriter
from agents.batch.patience import Patience
from agents.batch.platform_sessions import PlatformSessions
from agents.batch.row_runner import RowRules, RowRunner
from tests.unit.batch.fake_platform import FakePlatform


class Stage:
    """Runs what is open in a journal."""

    def __init__(self, journal: Journal, tasks: Path) -> None:
        self.journal = journal
        self.tasks = tasks
        self.platform = FakePlatform()
        self.slept: list[float] = []
        self.progress = Progress(0, 0)

    async def run(self, rules: RowRules | None = None, *, patience: float = 600.0, concurrency: int = 3) -> Progress:
        """Run the batch; returns what was counted."""
        writer = JournalWriter(self.journal)
        client = self.platform.client()
        sessions = PlatformSessions(client, "batch_1", agent="agent_1", environment="env_1")
        rows = RowRunner(sessions, Patience(patience, sleep=self._sleep), writer.write, rules or RowRules())
        counts = self.journal.query("SELECT count(*), sum(done) FROM rows")[0]
        self.progress = Progress(*counts)
        try:
            await run_batch(self.journal, self.tasks, rows.run, concurrency=concurrency, progress=self.progress)
        finally:
            await writer.close()
            await client.close()
        return self.progress

    def row(self, line: int) -> sqlite3.Row:
        [row] = self.journal.query("SELECT * FROM rows WHERE line = ?", line)
        return row

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
