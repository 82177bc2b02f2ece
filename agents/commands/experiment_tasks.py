"""``hecaton experiment tasks``: gold trajectories as sessions of a platform that is started for them, and judged."""

from __future__ import annotations

import asyncio
import pkgutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from anthropic import AsyncAnthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.client import connect_async
from agents.commands.embedded import EmbeddedServer
from agents.commands.options import settings_from
from agents.commands.timeline import printable
from agents.commands.waiting import waiting
from agents.errors import InvalidRequest
from agents.experiments.tasks.domain import Domain
from agents.experiments.tasks.file_format import Task, read_tasks
from agents.experiments.tasks.replays import PreparedTask, plan_file, prepare
from agents.experiments.tasks.runner import TaskReport, TaskRunner
from agents.ports import free_port

_MOST_FAILURES = 20


def run_tasks(
    console: Console,
    file: Path,
    *,
    only: Sequence[str],
    domain: str,
    repetitions: int,
    concurrency: int,
    topology: str | None,
    config: Path | None,
    assignments: list[str] | None,
    as_json: bool,
) -> int:
    """Run the tasks of a file on a platform of their own; returns the exit code: 1 when one of them failed.

    Raises InvalidRequest for a file that is not right, CommandFailed when the platform does not start.
    """
    made = _domain(domain)
    tasks = _chosen(read_tasks(file), only)
    with tempfile.TemporaryDirectory(prefix="hecaton-tasks-") as folder:
        root = Path(folder)
        prepared = asyncio.run(prepare(made, [task for task in tasks if not task.left_out], root / "tasks"))
        plan = root / "plan.yaml"
        plan.write_text(yaml.safe_dump(plan_file(made, prepared), allow_unicode=True), encoding="utf-8")
        replay: dict[str, Any] = {"brain.engine": "replay", "brain.replay_plan": plan, "brain.replay_pace": 0}
        own: dict[str, Any] = {"data_dir": root / "data", "port": free_port(), "topology": topology}
        settings = settings_from(config, assignments, **replay, **own)
        server = EmbeddedServer(settings)
        left_out = {task.id: task.left_out for task in tasks if task.left_out}
        try:
            with waiting(console, "starting"):
                server.start()
            client = connect_async(settings, server.url)
            runner = TaskRunner(client, made, root / "databases")
            with waiting(console, f"{len(prepared) * repetitions} sessions"):
                report = asyncio.run(_run(client, runner, prepared, repetitions, concurrency, left_out))
        finally:
            server.stop()
    if as_json:
        print_json(console, report.summary())
    else:
        show_report(console, report)
    return 0 if report.passed == len(report.episodes) else 1


def _domain(name: str) -> Domain:
    try:
        found = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidRequest(f"--domain {name}: can not be imported: {error}") from error
    if not isinstance(found, Domain):
        raise InvalidRequest(f"--domain {name}: is a {type(found).__name__}, not a Domain (docs/tasks.md)")
    return found


def _chosen(tasks: Sequence[Task], only: Sequence[str]) -> list[Task]:
    if unknown := set(only) - {task.id for task in tasks}:
        raise InvalidRequest(f"--task {min(unknown)}: there is no such task in the file")
    chosen = [task for task in tasks if not only or task.id in only]
    if all(task.left_out for task in chosen):
        raise InvalidRequest(f"none of the tasks can be replayed; {chosen[0].id}: {chosen[0].left_out}")
    return chosen


async def _run(
    client: AsyncAnthropic,
    runner: TaskRunner,
    prepared: Sequence[PreparedTask],
    repetitions: int,
    concurrency: int,
    left_out: dict[str, str],
) -> TaskReport:
    async with client:
        await runner.start()
        return await runner.run(prepared, repetitions=repetitions, concurrency=concurrency, left_out=left_out)


def show_report(console: Console, report: TaskReport) -> None:
    """Print what passed, what did not and why, and how fast it was."""
    summary = report.summary()
    table = Table(box=None, header_style="bold")
    for column in ("task", "calls", "rows changed", "sessions", "passed", "checks"):
        table.add_column(column, overflow="fold", justify="left" if column == "task" else "right")
    for task in summary["tasks"]:
        style = "green" if task["passed"] == task["sessions"] else "red"
        numbers = (task["calls"], task["rows_changed"], task["sessions"])
        passed = Text(str(task["passed"]), style=style)
        table.add_row(Text(printable(task["id"])), *map(str, numbers), passed, f"{task['checks_passed']:.0%}")
    console.print(table)
    failures = [(task["id"], failure) for task in summary["tasks"] for failure in task["failures"]]
    for task, failure in failures[:_MOST_FAILURES]:
        where = f"{task}, repetition {failure['repetition']}, {failure['session'] or 'no session'}: {failure['name']}"
        console.print(Text(printable(f"{where}: {failure['why']}"), style="red"), soft_wrap=True)
    if len(failures) > _MOST_FAILURES:
        console.print(f"and {len(failures) - _MOST_FAILURES} failures more (--json has all)")
    notes = [(task["id"], note) for task in summary["tasks"] for note in task["notes"]]
    notes += [(task, f"left out: {reason}") for task, reason in summary["left_out"].items()]
    for task, note in notes:
        console.print(Text(printable(f"{task}: {note}"), style="dim"), soft_wrap=True)
    console.print(Text(_total(summary)), soft_wrap=True)


def _total(summary: dict[str, Any]) -> str:
    times = [f"{name} {value * 1000:.0f} ms" for name, value in summary["session_seconds"].items() if value is not None]
    speed = f"{summary['passed_per_second']:.1f} right sessions/s at {summary['concurrency']} at a time"
    return f"{summary['passed']} of {summary['sessions']} sessions passed; {', '.join([speed, *times])}"
