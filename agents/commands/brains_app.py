"""The signatures of ``hecaton brains``; what its commands do is imported when they run, as in ``agents.cli``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

brains_app = typer.Typer(help="Look at the versions of brains, and move sessions between them.", no_args_is_help=True)
console = Console(highlight=False)

BrainName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the brain, as it is declared.")]
BrainVersion = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]


@brains_app.command("list")
def brains_list(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """List the brains, their versions, and what part of the new sessions each gets."""
    from agents.commands.brains import list_brains

    list_brains(console, client_from(url, data_dir, config, api_key), as_json=as_json)


@brains_app.command("release")
def brains_release(
    name: BrainName,
    version: BrainVersion,
    weight: Annotated[int, typer.Option(min=0, max=100, help="Percent of the new sessions that it gets.")],
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Put a version on trial: it gets a part of the new sessions, and is taken back when it breaks its bounds."""
    from agents.commands.brains import change_brain

    body = {"version": version, "weight": weight}
    change_brain(console, client_from(url, data_dir, config, api_key), name, "release", body, as_json=as_json)


@brains_app.command("promote")
def brains_promote(
    name: BrainName,
    version: BrainVersion,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Make a version the current one: new sessions are its; those there are stay with theirs."""
    from agents.commands.brains import change_brain

    body = {"version": version}
    change_brain(console, client_from(url, data_dir, config, api_key), name, "promote", body, as_json=as_json)


@brains_app.command("rollback")
def brains_rollback(
    name: BrainName,
    version: Annotated[str | None, typer.Argument(help="The version (default: the one on trial, or current).")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; the logs of its sessions will say so.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Withdraw a version: its sessions move to the current one, or to the one that was current before it."""
    from agents.commands.brains import change_brain

    body = {"version": version, "reason": reason}
    change_brain(console, client_from(url, data_dir, config, api_key), name, "rollback", body, as_json=as_json)
