"""The signatures of ``hecaton experiment``; what its commands do is imported when they run, as in ``agents.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.failures import need_packages
from agents.commands.options import Assignments, Config, Topology

experiment_app = typer.Typer(help="Measure the platform, and check what it does.", no_args_is_help=True)
console = Console(highlight=False)
_NEEDED = ("numpy", "plotly", "scipy", "simpy")
"""Of reports and models; running an experiment does without."""


@experiment_app.command("run")
def experiment_run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The plan: benchmarks/experiments/*.yaml are some.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for trace, figures and logs (default: one in .hecaton/experiments).")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, max=1000, help="Instead of the plan's rounds.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="TOPOLOGY", help="Only this one of the plan's (repeatable).")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Then write what came out as a page; needs hecaton[proof].")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="TRACE", help="Replay this production trace instead of the plan's.")
    ] = None,
) -> None:
    """Run the same sessions on each topology of a plan, round by round, and write down all that was done."""
    if report is not None:
        _need_extra()
    from agents.commands.experiment_run import run_experiment

    raise typer.Exit(run_experiment(console, file, out, rounds, only or (), report, trace))


@experiment_app.command("report")
def experiment_report(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the report (default: the run's own).")] = None,
    pictures: Annotated[bool, typer.Option(help="Also draw each figure as an SVG file; needs chromium.")] = True,
    scenario: Annotated[
        str | None, typer.Option(help="Also show what the change is worth, by this scenario of `hecaton roi`.")
    ] = None,
) -> None:
    """Compare the topologies of a run, and say what came out: a page, pictures and JSON."""
    _need_extra()
    from agents.commands.experiment_report import report_experiment

    raise typer.Exit(report_experiment(console, run, out, pictures=pictures, scenario=scenario))


@experiment_app.command("capacity")
def experiment_capacity(
    run: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a run.")],
    load: Annotated[
        list[float] | None, typer.Option(metavar="N", help="Sessions per second to plan for (repeatable).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON, the calibration too.")] = False,
) -> None:
    """Model the platform by a run, say how far the model is from it, and how many GPUs greater loads take."""
    _need_extra()
    from agents.commands.experiment_capacity import show_capacity

    show_capacity(console, run, load or (), as_json=as_json)


@experiment_app.command("tasks")
def experiment_tasks(
    tasks: Annotated[Path, typer.Option(help="A file of tasks, as tau2-bench has them (docs/tasks.md).")],
    task: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this task (repeatable).")] = None,
    domain: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="The hands and the data that the tasks work on.")
    ] = "agents.experiments.tasks.company:COMPANY",
    repetitions: Annotated[int, typer.Option(min=1, max=100_000, help="How often each task is run.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Sessions at a time.")] = 8,
    topology: Annotated[Topology | None, typer.Option(help="Brains and hands apart (default), or in one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    config: Config = None,
    assignments: Assignments = None,
) -> None:
    """Replay tasks through a platform that is started for it, and check what each left in its database."""
    from agents.commands.experiment_tasks import run_tasks

    code = run_tasks(
        console,
        tasks,
        only=task or (),
        domain=domain,
        repetitions=repetitions,
        concurrency=concurrency,
        topology=topology,
        config=config,
        assignments=assignments,
        as_json=as_json,
    )
    raise typer.Exit(code)


def _need_extra() -> None:
    need_packages("reports and models of experiments need pip install 'hecaton[proof]'", *_NEEDED)
