"""``hecaton experiment report``: what a run found, as a page, as pictures and as JSON."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from agents.commands.experiment_files import MACHINE, PLAN, KeptRun, read_run
from agents.commands.waiting import waiting
from agents.economics.roi.evaluation import evaluate
from agents.economics.roi.inputs import read_scenario
from agents.experiments.analysis.analysis import analyse
from agents.experiments.model.calibration import NothingToLearn
from agents.experiments.model.validation import Comparison, learn
from agents.experiments.trace_rows import TraceRow
from agents.reports.contents import Section
from agents.reports.page import write_report
from agents.reports.pictures import write_pictures
from agents.reports.report import Report
from agents.reports.sample import sample
from agents.reports.tables import Table

PAGE, ANALYSIS, SUMMARY, PICTURES = "report.html", "analysis.json", "README.md", "figures"
"""What a report leaves in its folder, beside the machine's description."""
_SUMMARISED = frozenset({"goals", "milestones", "mechanisms", "statistics-table", "model-agreement"})


def report_experiment(
    console: Console, run: Path, out: Path | None, *, pictures: bool, scenario: str | None = None
) -> int:
    """Report on the run in a folder, and on what the change is worth by a *scenario*; returns the exit code.

    Raises CommandFailed when the folder holds no run, InvalidRequest when what it holds does not fit together, or when
    a package or the browser for the pictures is missing.
    """
    folder = out or run
    kept = read_run(run)
    with waiting(console, "reading the trace and comparing"):
        report = report_of(kept)
    if scenario is not None:
        with waiting(console, "working out what the change is worth"):
            report = replace(report, money=evaluate(read_scenario(scenario)))
    folder.mkdir(parents=True, exist_ok=True)
    with waiting(console, "writing the report"):
        sections = write_report(folder / PAGE, report)
        _write_json(folder / ANALYSIS, _found(report))
        _write_json(folder / MACHINE, report.machine)
        if folder.resolve() != run.resolve():
            shutil.copy(run / PLAN, folder / PLAN)
    drawn: list[Path] = []
    if pictures:
        with waiting(console, "drawing the pictures"):
            drawn = write_pictures(folder / PAGE, folder / PICTURES)
    (folder / SUMMARY).write_text("\n".join(summary(report, sections, drawn)) + "\n", encoding="utf-8")
    console.print(Text(f"done; {folder / PAGE} is the page, {folder / SUMMARY} the short of it"), soft_wrap=True)
    return 0


def write_page(console: Console, run: Path, page: Path) -> None:
    """Write only the page, with the figures in it. Raises as :func:`report_experiment` does."""
    with waiting(console, "writing the report"):
        write_report(page, report_of(read_run(run)))
    console.print(Text(f"the page is {page}"), soft_wrap=True)


def report_of(run: KeptRun) -> Report:
    """Read a run's trace, but once where it is small enough to be kept whole, and analyse it.

    Raises OSError, CommandFailed, InvalidRequest.
    """
    seen = sample(run.rows())

    def rows() -> Iterable[TraceRow]:
        return seen.rows if seen.share == 1 else run.rows()

    analysis, validation = analyse(run.plan, rows(), run.figures), _validation(run, rows())
    return Report(f"Experiment {run.plan.name}", run.plan, seen, analysis, run.figures, run.machine, validation)


def _found(report: Report) -> dict[str, Any]:
    """The analysis, and how far the model is from the run: empty where it was not held against it."""
    return {**report.analysis.as_dict(), "validation": [each.as_dict() for each in report.validation]}


def _validation(run: KeptRun, rows: Iterable[TraceRow]) -> Sequence[Comparison]:
    """How far the model of larger platforms is from the run; nothing where it cannot be learnt from it."""
    try:
        return learn(run.plan, rows, run.figures)[1]
    except NothingToLearn:
        return ()


def summary(report: Report, sections: Sequence[Section], pictures: Sequence[Path]) -> Iterator[str]:
    """Yield the lines of a Markdown page: the findings in tables, the machine and the command, the pictures."""
    yield f"# {report.title}"
    tables = [part for section in sections for part in section.parts if isinstance(part, Table)]
    for table in tables:
        if table.key in _SUMMARISED:
            yield from ("", f"## {table.title}", "", table.caption, "", *_markdown(table))
    machine = report.machine
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB" if "memory_bytes" in machine else "unknown memory"
    yield from ("", "## Where and how", "")
    yield f"{machine.get('cores', '?')} cores ({machine.get('cpu', '?')}), {memory}, {machine.get('system', '?')}, "
    yield f"Python {machine.get('python', '?')}, commit {machine.get('commit') or 'unknown'}. "
    if "brains" not in report.plan.settings:
        yield f"The brain is simulated: its service times are in [{PLAN}]({PLAN})."
    if command := machine.get("command"):
        yield from ("", "```", shlex.join(["hecaton", *command[1:]]), "```")
    found = f"[{ANALYSIS}]({ANALYSIS})"
    yield from ("", f"All comparisons, and the model's errors: {found}; the machine: [{MACHINE}]({MACHINE}).")
    for picture in pictures:
        yield from ("", f"![{picture.stem}]({PICTURES}/{picture.name})")


def _markdown(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(column.title for column in table.columns)} |"
    yield f"|{'|'.join('---:' if column.number else '---' for column in table.columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(cell.text.replace('|', '/') for cell in row)} |"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
