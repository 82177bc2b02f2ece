"""The signature of ``hecaton roi``; what it does is imported when it runs, as in ``agents.cli``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from agents.commands.failures import CommandFailed, need_packages
from agents.commands.options import ApiKey, Config, DataDir, Url, client_from

if TYPE_CHECKING:
    from agents.economics.roi.evaluation import Evaluation

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)
_NEEDED = ("numpy", "numpy_financial", "scipy")


class Per(StrEnum):
    """The time that the table of costs is about."""

    HOUR = "hour"
    MONTH = "month"
    HORIZON = "horizon"


class Side(StrEnum):
    """Which deployment of a scenario the meters belong to."""

    MONOLITH = "monolith"
    DECOUPLED = "decoupled"


def roi(
    scenario: Annotated[
        str, typer.Option(help="A YAML file (docs/roi.md), or a scenario of the seeds: cluster, round, spend, support.")
    ] = "support",
    per: Annotated[Per, typer.Option(help="The time that the table of costs is about.")] = Per.MONTH,
    from_meters: Annotated[
        bool, typer.Option("--from-meters", help="Take what a running server's meters say into the scenario first.")
    ] = False,
    side: Annotated[Side, typer.Option(help="With --from-meters: what that server is.")] = Side.DECOUPLED,
    since: Annotated[
        str | None, typer.Option(help="With --from-meters: a day (UTC) or an RFC 3339 time; 30 days ago when unset.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="With --from-meters: a day (UTC) or an RFC 3339 time; now when unset.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Write the scenario, with the meters in it, to this file.")] = None,
    readings: Annotated[
        bool, typer.Option("--readings", help="Show where the seeds contradict themselves, and what is taken.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it as JSON; amounts that are exact are strings.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it as a page: tables and pictures in one HTML file.")
    ] = None,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Work out what going from a monolith to brains and hands apart costs, saves and is worth."""
    need_packages("hecaton roi needs SciPy and numpy-financial: pip install 'hecaton[proof]'", *_NEEDED)
    from agents.commands.roi import show_readings, show_roi
    from agents.commands.roi_meters import metered_scenario
    from agents.economics.roi.evaluation import evaluate
    from agents.economics.roi.inputs import read_scenario, scenario_text

    if readings:
        show_readings(console, as_json=as_json)
        return
    if not from_meters and (since or until):
        raise typer.BadParameter("--since and --until go with --from-meters")
    chosen = read_scenario(scenario)
    if from_meters:
        client = client_from(url, data_dir, config, api_key)
        chosen = metered_scenario(client, chosen, side.value, since=since, until=until)
    if save is not None:
        try:
            save.write_text(scenario_text(chosen), encoding="utf-8")
        except OSError as error:
            raise CommandFailed(f"{save} can not be written: {error.strerror}") from error
        stderr.print(f"the scenario is in {save}", markup=False)
    found = evaluate(chosen)
    if report is not None:
        _write_page(report, found)
    show_roi(console, found, per, as_json=as_json)


def _write_page(path: Path, found: Evaluation) -> None:
    from agents.reports.page import write_worth

    try:
        write_worth(path, found)
    except OSError as error:
        raise CommandFailed(f"{path} can not be written: {error.strerror}") from error
    stderr.print(f"the page is {path}", markup=False)
