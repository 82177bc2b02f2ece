"""The signatures of ``hecaton traces``; what they do is imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import Config, DataDir, settings_from

traces_app = typer.Typer(help="Look at the traces of turns: by SQL, or as a waterfall.", no_args_is_help=True)
console = Console(highlight=False)
Directory = Annotated[
    Path | None, typer.Option(help="The trace store (default: that of the settings, <data-dir>/traces).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print it as CSV.")]


def _folder(directory: Path | None, data_dir: Path | None, config: Path | None) -> Path:
    if directory is not None:
        return directory
    from agents.telemetry.tracing.process_tracing import trace_folder

    return trace_folder(settings_from(config, data_dir=data_dir))


@traces_app.command("query")
def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="A query over the view spans (docs/traces.md).")],
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    directory: Directory = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Ask the trace store of this machine by SQL (DuckDB)."""
    from agents.commands.metering import Output
    from agents.commands.traces import print_query

    print_query(console, _folder(directory, data_dir, config), sql, Output.chosen(as_json=as_json, as_csv=as_csv))


@traces_app.command("show")
def show(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session (sesn_…).")],
    last: Annotated[int, typer.Option(min=0, help="Only so many traces, the newest; 0 shows all.")] = 10,
    as_json: AsJson = False,
    directory: Directory = None,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Show the turns of a session as waterfalls: what was when, how long it took, and what failed."""
    from agents.commands.traces import show_session

    show_session(console, _folder(directory, data_dir, config), session, last=last, as_json=as_json)
