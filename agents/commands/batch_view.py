"""How a batch looks while it runs, and what became of it: a bar on a terminal, plain lines in the log of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from agents.batch.batch_run import Progress
from agents.batch.batch_summary import BatchSummary
from agents.batch.patience import Failure, told
from agents.commands.timeline import printable, shorten

_BAR_SECONDS = 0.25
LINE_SECONDS = 10.0
_ERROR_CHARS = 300


class BatchView:
    """Shows one run; ``tell`` runs beside it."""

    def __init__(self, console: Console, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._progress = progress
        self._clock = clock
        self._began = clock()
        self._told_away = -LINE_SECONDS
        self._bar: Bar | None = None
        self._bar_task = TaskID(0)

    @contextmanager
    def shown(self) -> Generator[None]:
        """Show it while the body runs."""
        if not self._console.is_terminal:
            yield
            self._console.print(Text(self.line()), soft_wrap=True)
            return
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Bar(*columns, console=self._console) as self._bar:
            progress = self._progress
            self._bar_task = self._bar.add_task(self._counts(), total=progress.rows, completed=progress.done)
            yield
            self._update()

    async def tell(self) -> None:
        """Bring what is shown up to date, until it is cancelled."""
        while True:
            if self._bar is not None:
                self._update()
                await asyncio.sleep(_BAR_SECONDS)
            else:
                await asyncio.sleep(LINE_SECONDS)
                self._console.print(Text(self.line()), soft_wrap=True)

    def away(self, error: Failure) -> None:
        """Say, not too often, that the server is waited for."""
        if (now := self._clock()) - self._told_away >= LINE_SECONDS:
            self._told_away = now
            words = shorten(printable(f"waiting for the server: {told(error)}"), _ERROR_CHARS)
            self._console.print(Text(words, style="yellow"), soft_wrap=True)

    def line(self) -> str:
        """Return the state as one line."""
        progress, seconds = self._progress, max(self._clock() - self._began, 1e-9)
        speed = (progress.done - progress.before) / seconds
        parts = [f"{progress.done} of {progress.rows} rows", self._counts(), f"{speed:.1f} rows/s"]
        if speed and progress.done < progress.rows:
            parts.append(f"{(progress.rows - progress.done) / speed:.0f} s to go")
        if progress.last_error:
            parts.append(f"last error: {shorten(printable(progress.last_error), _ERROR_CHARS)}")
        return ", ".join(parts)

    def _counts(self) -> str:
        progress = self._progress
        return f"{progress.running} running, {progress.errors} errors, {progress.cost_micro_usd / 1_000_000:.4f} USD"

    def _update(self) -> None:
        assert self._bar is not None
        self._bar.update(self._bar_task, completed=self._progress.done, description=self._counts())


def show_summary(console: Console, summary: BatchSummary) -> None:
    """Print what became of the batch."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    seconds = {name: "-" if value is None else f"{value:.2f} s" for name, value in summary.duration_seconds.items()}
    for label, value in (
        ("rows", f"{summary.rows:,}"),
        ("ok", f"{summary.ok:,}"),
        ("errors", f"{summary.errors:,}"),
        ("no tasks", f"{summary.invalid:,}"),
        ("not done", f"{summary.rows - summary.done:,}"),
        ("sessions", f"{summary.sessions:,}"),
        ("input tokens", f"{summary.input_tokens:,}"),
        ("output tokens", f"{summary.output_tokens:,}"),
        ("list cost", f"{summary.cost_usd:.6f} USD"),
        ("row, p50 / p95 / max", " / ".join(seconds.values())),
    ):
        table.add_row(label, value)
    console.print(table)
    for kind in summary.error_kinds:
        words = f"{kind.rows} x {kind.error_type}; line {kind.first_line}: {kind.first_error}"
        console.print(Text(shorten(printable(words), _ERROR_CHARS), style="red"), soft_wrap=True)
