"""What a run of an experiment leaves in its folder."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.commands.failures import CommandFailed
from agents.experiments.figures_of_rounds import FiguresFile, RoundFigures
from agents.experiments.plan import Plan, read_plan
from agents.experiments.trace_rows import TraceRow, read_rows

TRACE, FIGURES, MACHINE, PLAN = "trace.parquet", "figures.jsonl", "machine.json", "plan.yaml"


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run as its folder has it."""

    folder: Path
    plan: Plan
    figures: Sequence[RoundFigures]
    """What GPUs and hands did; of some rounds, or all, there may be none."""
    machine: Mapping[str, Any]
    """Where it ran; empty when nothing says so."""

    def rows(self) -> Iterator[TraceRow]:
        """Read its trace, with each call from its beginning. Raises CommandFailed for a file that is none."""
        with _faults_told(self.folder):
            yield from read_rows(self.folder / TRACE)


def read_run(folder: Path) -> KeptRun:
    """Read what *folder* has of a run beside its trace.

    Raises CommandFailed when it holds no run, that or InvalidRequest for a file of it that cannot be used.
    """
    if missing := [name for name in (PLAN, TRACE) if not (folder / name).is_file()]:
        raise CommandFailed(
            f"{folder} holds no run of `hecaton experiment run`: it lacks {', '.join(missing)}", exit_code=2
        )
    figures, machine = folder / FIGURES, folder / MACHINE
    with _faults_told(folder):
        return KeptRun(
            folder,
            read_plan(folder / PLAN),
            FiguresFile(figures).read() if figures.exists() else [],
            json.loads(machine.read_text(encoding="utf-8")) if machine.exists() else {},
        )


@contextmanager
def _faults_told(folder: Path) -> Generator[None]:
    try:
        yield
    except ValueError as error:
        raise CommandFailed(f"{folder}: {error}", exit_code=2) from error
