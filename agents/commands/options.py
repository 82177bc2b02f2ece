"""The options that several commands share, and how they become settings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.commands.failures import CommandFailed

if TYPE_CHECKING:
    from anthropic import Anthropic

    from agents.config import Settings

Host = Annotated[str | None, typer.Option(help="Address to listen on (default 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (default 8123).")]
DataDir = Annotated[Path | None, typer.Option(help="Where everything durable lives (default .hecaton).")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings (default: $HECATON_CONFIG).")]
ApiKey = Annotated[str | None, typer.Option(help="Key of the server's API; better: $HECATON_API_KEY.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other setting, such as sandbox.warm=0.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the server answers, as JSON.")]
Url = Annotated[str | None, typer.Option(help="The server (default: the one of the data directory).")]


class Topology(StrEnum):
    """How the parts of a server are divided into processes."""

    DECOUPLED = "decoupled"
    MONOLITH = "monolith"


def settings_from(
    config: Path | None = None, assignments: list[str] | None = None, **flags: str | int | Path | list[str] | None
) -> Settings:
    """Load the settings with *flags* on top. Raises InvalidSettings or CommandFailed (bad KEY=VALUE)."""
    from agents.settings_loading import load_settings  # pydantic is too slow to import for --help

    overrides: dict[str, Any] = dict(flags)
    for assignment in assignments or ():
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise CommandFailed(f"--set {assignment}: expected KEY=VALUE, such as --set sandbox.warm=0", exit_code=2)
        overrides[key.strip()] = value
    return load_settings(config, overrides)


def client_from(url: str | None, data_dir: Path | None, config: Path | None, api_key: str | None) -> Anthropic:
    """Return a client for the server that these options name. Raises InvalidSettings, CommandFailed (none answers)."""
    from agents.commands.client import open_client  # the SDK is too slow to import for --help

    return open_client(settings_from(config, data_dir=data_dir, api_key=api_key), url)
