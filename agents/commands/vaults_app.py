"""The signatures of ``hecaton vaults``; what its commands do is imported when they run, as in ``agents.cli``."""

from __future__ import annotations

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Assignments, Config, DataDir, Url, client_from, settings_from

vaults_app = typer.Typer(help="Look at vaults, and change the key that seals their secrets.", no_args_is_help=True)
console = Console(highlight=False)


@vaults_app.command("list")
def vaults_list(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """List the vaults, and what their credentials are for."""
    from agents.commands.vaults import list_vaults

    list_vaults(console, client_from(url, data_dir, config, api_key), as_json=as_json)


@vaults_app.command("rotate-key")
def vaults_rotate_key(data_dir: DataDir = None, config: Config = None, assignments: Assignments = None) -> None:
    """Seal all secrets under a new master key; sessions go on meanwhile, and an interrupted run is taken up again.

    Works on the server's own database, so it needs the server's settings. With SQLite and a key file the new key is
    made; else put it before the old one first, or let the key service change its own (docs/vaults.md).
    """
    from agents.commands.vaults import rotate_key

    rotate_key(console, settings_from(config, assignments, data_dir=data_dir))
