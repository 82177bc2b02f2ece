"""``hecaton experiment capacity``: the model of a run, its error there, and what greater loads take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.experiment_files import read_run
from agents.commands.waiting import waiting
from agents.experiments.model.capacity import Need, gpus_needed
from agents.experiments.model.models import Modelled
from agents.experiments.model.validation import Comparison, learn
from agents.experiments.plan import Plan


def show_capacity(console: Console, run: Path, loads: Sequence[float], *, as_json: bool) -> None:
    """Print how far the model is from the run in a folder, and the GPUs that each topology needs for each of *loads*.

    Raises CommandFailed when the folder holds no run, InvalidRequest when it cannot be learnt from, or a package is
    missing.
    """
    kept = read_run(run)
    with waiting(console, "calibrating the model and playing the run on it"):
        models, compared = learn(kept.plan, kept.rows(), kept.figures)
    needs = [(load, name, _need(console, kept.plan, name, models[name], load)) for load in loads for name in models]
    if as_json:
        print_json(
            console,
            {
                "calibration": {name: each.calibration.as_dict() for name, each in models.items()},
                "validation": [each.as_dict() for each in compared],
                "capacity": [
                    {"topology": name, "sessions_per_second": load, "need": need and need.as_dict()}
                    for load, name, need in needs
                ],
            },
        )
        return
    console.print(_validation(compared))
    if needs:
        console.print(_capacity(needs))


def _need(console: Console, plan: Plan, name: str, modelled: Modelled, load: float) -> Need | None:
    with waiting(console, f"looking for the fewest GPUs: {name}, {load:g} sessions per second"):
        return gpus_needed(plan, name, modelled, load)


def _validation(compared: Sequence[Comparison]) -> Table:
    table = Table(title="The model against the run", title_justify="left")
    for column in ("topology", "arrivals"):
        table.add_column(column)
    for column in ("load", "sessions", "figure", "run", "model", "error"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for each in compared:
        where = [each.topology, each.arrivals, f"{each.load:g}{' *' if each.learnt_from else ''}", str(each.sessions)]
        for figure in each.figures:
            error = figure.relative_error
            said = "" if error is None else f"{error:+.1%}"
            table.add_row(*map(Text, (*where, figure.metric, f"{figure.measured:.3g}", f"{figure.modelled:.3g}", said)))
            where = [""] * len(where)
        if each.latency_distance is not None:
            table.add_row(*where, "latency: Kolmogorov-Smirnov distance", "", "", f"{each.latency_distance:.2f}")
    table.caption = "* what the model was calibrated by"
    return table


def _capacity(needs: Sequence[tuple[float, str, Need | None]]) -> Table:
    table = Table(title="Fewest GPUs with which 95 % of the sessions meet their goals", title_justify="left")
    table.add_column("topology")
    for column in ("sessions/s", "GPUs", "sessions per GPU hour", "p95 s", "places thought in", "replicas of hands"):
        table.add_column(column, justify="right")
    for load, name, need in needs:
        if need is None:
            table.add_row(Text(name), f"{load:g}", "none would do", "", "", "", "")
        else:
            hands = f"{need.hand_replicas:.0f}" if need.hand_replicas else "-"
            table.add_row(
                Text(name),
                f"{load:g}",
                str(need.gpus),
                f"{need.sessions_per_gpu_hour:.0f}",
                f"{need.latency_p95_seconds:.2f}",
                f"{need.thinking_share:.0%}",
                hands,
            )
    return table
