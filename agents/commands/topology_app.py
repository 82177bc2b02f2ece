"""The signature of ``hecaton topology``; what it does is imported when it runs, as in ``agents.cli``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

console = Console(highlight=False)


class TopologyMode(StrEnum):
    """Where new sessions go on a platform with a standby."""

    AUTO = "auto"
    DECOUPLED = "decoupled"
    MONOLITH = "monolith"


def topology(
    mode: Annotated[
        TopologyMode | None, typer.Argument(metavar="[MODE]", help="auto, decoupled or monolith; shows it when unset.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="Show which one took this session (its id) instead.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Show whether new sessions go to the parts or to the standby monolith, or say where they shall go."""
    from agents.commands.topology import force_topology, show_taker, show_topology

    if mode is not None and session is not None:
        raise typer.BadParameter("either a mode or --session")
    client = client_from(url, data_dir, config, api_key)
    if session is not None:
        show_taker(console, client, session, as_json=as_json)
    elif mode is not None:
        force_topology(console, client, mode.value, as_json=as_json)
    else:
        show_topology(console, client, as_json=as_json)
