"""``hecaton batch``: a file of tasks through the sessions of a running server, and a file of results.

Exit status: 0 when every row is ok, 1 when all are done and some are errors, 2 for what cannot be begun, 3 when it
stopped before all rows were done, 130 after Ctrl-C or SIGTERM. After the last two the same command goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console
from rich.text import Text

from agents.batch.batch_run import Progress, run_batch
from agents.batch.batch_summary import summary_of
from agents.batch.journal import Journal, JournalUnusable, digest
from agents.batch.journal_writer import JournalWriter
from agents.batch.patience import BatchStopped, GivenUp, Patience
from agents.batch.platform_sessions import PlatformSessions, patient_client
from agents.batch.results import write_results
from agents.batch.row_runner import RowRules, RowRunner
from agents.commands.answers import print_json
from agents.commands.batch_view import BatchView, show_summary
from agents.commands.client import connect, connect_async, ensure_agent, ensure_environment, toolset
from agents.commands.cluster_url import batch_url
from agents.commands.failures import CommandFailed
from agents.config import Settings

DONE, WITH_ERRORS, STOPPED, INTERRUPTED = 0, 1, 3, 130
_MODEL = "claude-sonnet-5-5"
_NAME = "hecaton-batch"
_SYSTEM = "You work in a Linux sandbox. Use your tools to do what the user asks, then answer briefly."
_SHOWN = 20
_NOISY = ("httpx2", "httpx", "anthropic")
_CHOICES = ("agent", "model", "environment")


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What a user asked for."""

    tasks: Path
    out: Path
    concurrency: int = 16
    agent: str | None = None
    model: str | None = None
    environment: str | None = None
    attempts: int = 1
    row_seconds: float = 3600.0
    patience: float = 600.0
    allow: bool = False
    strict: bool = False
    retry_errors: bool = False

    @property
    def journal(self) -> Path:
        """Where the batch's journal is."""
        return self.out.with_name(f"{self.out.name}.journal")


def run(
    console: Console, told: Console, settings: Settings, order: BatchOrder, *, url: str | None, as_json: bool
) -> int:
    """Run the batch, or what is left of it, and return the exit status; *told* gets all but the summary.

    Raises CommandFailed for what cannot be begun.
    """
    _check(order)
    try:
        with Journal(order.journal) as journal:
            _fill(told, journal, order)
            address = batch_url(settings, url)
            with _quiet(), _ended_by_sigterm():
                code = _go_on(told, settings, journal, order, address)
            summary = summary_of(journal)
    except JournalUnusable as fault:
        raise CommandFailed(str(fault), exit_code=2) from fault
    if as_json:
        results = str(order.out) if code in (DONE, WITH_ERRORS) else None
        print_json(console, {**summary.wire(), "complete": results is not None, "results": results})
    else:
        show_summary(console, summary)
    return code


def _check(order: BatchOrder) -> None:
    if order.out.suffix != ".parquet":
        raise CommandFailed(f"--out {order.out}: name a .parquet file", exit_code=2)
    if not order.tasks.is_file():
        raise CommandFailed(f"{order.tasks}: there is no such file", exit_code=2)
    if order.agent and order.model:
        raise CommandFailed("--agent and --model: an agent has its model; leave one out", exit_code=2)
    order.out.parent.mkdir(parents=True, exist_ok=True)
    if order.out.exists() and not order.journal.exists():
        words = f"--out {order.out} exists, and is of no batch that could go on (there is no {order.journal.name})"
        raise CommandFailed(words, exit_code=2)


def _fill(told: Console, journal: Journal, order: BatchOrder) -> None:
    """Note the rows of the tasks, or see that those that were noted are of the same ones. Raises CommandFailed."""
    begun = journal.filled
    if not begun:
        chosen = {name: getattr(order, name) or "" for name in _CHOICES}
        journal.fill(order.tasks, {"batch": f"batch_{secrets.token_hex(12)}", "tasks": str(order.tasks), **chosen})
    else:
        _check_same(journal.meta(), order)
        if order.retry_errors and (count := journal.reopen_errors()):
            told.print(f"{count} rows that ended in an error are run again")
    faults = journal.invalid(_SHOWN)
    for fault in faults:
        told.print(Text(f"{order.tasks}, {fault}", style="yellow"), soft_wrap=True)
    if faults and order.strict:
        if not begun:
            journal.discard()
        raise CommandFailed("not every line is a task, and with --strict nothing is run", exit_code=2)


def _check_same(meta: dict[str, str], order: BatchOrder) -> None:
    if meta["tasks_digest"] != digest(order.tasks):
        raise CommandFailed(
            f"{order.tasks} is not what this batch was begun with; name other results, or remove {order.journal}",
            exit_code=2,
        )
    for name in _CHOICES:
        given = getattr(order, name)
        if given and given != meta[name]:
            begun = f"--{name} {meta[name]}" if meta[name] else f"no --{name}"
            raise CommandFailed(f"--{name} {given}: this batch was begun with {begun}", exit_code=2)


def _go_on(told: Console, settings: Settings, journal: Journal, order: BatchOrder, url: str) -> int:
    counts = summary_of(journal)
    progress = Progress(counts.rows, counts.done)
    view = BatchView(told, progress)
    if counts.done and counts.done > counts.invalid:
        told.print(f"{counts.done} of {counts.rows} rows have their results from before")
    try:
        if counts.done < counts.rows:
            with view.shown():
                uvloop.run(_run(settings, journal, order, url, progress, view))
    except BatchStopped as stop:
        told.print(Text(f"stopped: {stop}", style="red"), soft_wrap=True)
        return _to_go_on(told, order, STOPPED)
    except KeyboardInterrupt:
        return _to_go_on(told, order, INTERRUPTED)
    write_results(journal, order.out)
    told.print(Text(f"results are in {order.out}"), soft_wrap=True)
    return DONE if summary_of(journal).ok == counts.rows else WITH_ERRORS


def _to_go_on(told: Console, order: BatchOrder, code: int) -> int:
    words = f"what is finished is in {order.journal}, and sessions under way go on; the same command goes on, too"
    told.print(Text(words, style="yellow"), soft_wrap=True)
    return code


async def _run(
    settings: Settings, journal: Journal, order: BatchOrder, url: str, progress: Progress, view: BatchView
) -> None:
    writer = JournalWriter(journal)
    patience = Patience(order.patience, on_away=view.away)
    rules = RowRules(attempts=order.attempts, seconds=order.row_seconds, allow=order.allow)
    async with connect_async(settings, url) as plain, patient_client(plain, order.concurrency) as client:
        try:
            agent, environment = await _stage(settings, journal, order, url, patience)
            batch = journal.meta()["batch"]
            sessions = PlatformSessions(client, batch, agent=agent, environment=environment)
            runner = RowRunner(sessions, patience, writer.write, rules)
            showing = asyncio.create_task(view.tell())
            try:
                await run_batch(journal, order.tasks, runner.run, concurrency=order.concurrency, progress=progress)
            finally:
                showing.cancel()
        finally:
            await writer.close()


async def _stage(
    settings: Settings, journal: Journal, order: BatchOrder, url: str, patience: Patience
) -> tuple[str | None, str | None]:
    """Return the agent and the environment of tasks that name none: those of an earlier run, or made now."""
    meta = journal.meta()
    if "agent_used" in meta:
        return meta["agent_used"] or None, meta["environment_used"] or None
    agent, environment = order.agent, order.environment
    spec = {"name": _NAME, "model": order.model or _MODEL, "system": _SYSTEM, "tools": toolset()}
    with connect(settings, url) as client:
        try:
            if environment is None and meta["without_environment"] != "0":
                environment = await patience.ask(lambda: asyncio.to_thread(ensure_environment, client, _NAME))
            if agent is None and meta["without_agent"] != "0":
                agent = await patience.ask(lambda: asyncio.to_thread(ensure_agent, client, spec))
        except GivenUp as refusal:
            raise CommandFailed(f"the server refused: {refusal}") from refusal
    journal.note({"agent_used": agent or "", "environment_used": environment or ""})
    return agent, environment


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep the SDK's and its transport's lines, one for each request, out of what is shown."""
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """Let SIGTERM do what Ctrl-C does: ``ray job stop`` sends it."""
    asked = signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    # Where a shell script starts it in the background, it comes with SIGINT ignored.
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, asked)
        signal.signal(signal.SIGINT, interrupted)
