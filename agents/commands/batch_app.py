"""The signature of ``hecaton batch``; what it does is imported when it runs, as in ``agents.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, Config, DataDir, Url, settings_from

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def batch(
    tasks: Annotated[Path, typer.Argument(metavar="TASKS", help="JSON lines, one task each (docs/batch.md).")],
    out: Annotated[Path, typer.Option(help="The results: a .parquet file. Its journal is kept beside it.")],
    concurrency: Annotated[int, typer.Option(min=1, max=2000, help="Sessions at a time.")] = 16,
    agent: Annotated[str | None, typer.Option(help="Agent (its id) of tasks that name none.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the agent that is made for them, when --agent is not given.")
    ] = None,
    environment: Annotated[str | None, typer.Option(help="Environment (its id) of tasks that name none.")] = None,
    attempts: Annotated[int, typer.Option(min=1, max=10, help="Sessions a row may take when one fails.")] = 1,
    row_seconds: Annotated[float, typer.Option(min=1, help="How long a session may take.")] = 3600.0,
    patience: Annotated[
        float, typer.Option(min=1, help="Seconds for which a server that is away is waited for.")
    ] = 600.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Allow tool calls that ask for permission.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Run nothing when a line is no task.")] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Also run again the rows that ended in an error before.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Run every task of a file in a session of its own; given again, the command goes on where it was."""
    from agents.commands.batch import BatchOrder, run

    settings = settings_from(config, data_dir=data_dir, api_key=api_key)
    order = BatchOrder(
        tasks=tasks,
        out=out,
        concurrency=concurrency,
        agent=agent,
        model=model,
        environment=environment,
        attempts=attempts,
        row_seconds=row_seconds,
        patience=patience,
        allow=yes,
        strict=strict,
        retry_errors=retry_errors,
    )
    raise typer.Exit(run(console, stderr, settings, order, url=url, as_json=as_json))
