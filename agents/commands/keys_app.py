"""The signatures of ``hecaton keys``; what they do is imported when they run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from agents.access.scopes import KeyScope
from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

keys_app = typer.Typer(help="Manage the API keys that a running server keeps.", no_args_is_help=True)
console = Console(highlight=False)

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key (apikey_…).")]


@keys_app.command("create")
def keys_create(
    name: Annotated[str, typer.Option(help="What people know it by, such as who has it.")],
    scope: Annotated[KeyScope, typer.Option(help="What it opens.")] = KeyScope.DEVELOPER,
    workspace: Annotated[str, typer.Option(help="Whose objects it opens and makes.")] = "default",
    expires: Annotated[
        str | None, typer.Option(help="A span such as 90d or 12h, a day (UTC) or an RFC 3339 time (default: never).")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Make a key; it is shown once."""
    from agents.commands.keys import create_key, expiry_of

    expires_at = None if expires is None else expiry_of(expires)
    client = client_from(url, data_dir, config, api_key)
    create_key(console, client, name, scope.value, workspace, expires_at, as_json=as_json)


@keys_app.command("list")
def keys_list(
    workspace: Annotated[str | None, typer.Option(help="Only keys of this workspace.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Revoked ones too.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """List the keys that the server keeps; none is shown again."""
    from agents.commands.keys import list_keys

    list_keys(console, client_from(url, data_dir, config, api_key), workspace, every=every, as_json=as_json)


@keys_app.command("revoke")
def keys_revoke(
    key: KeyId,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """End a key for good: within seconds no replica takes it any more."""
    from agents.commands.keys import revoke_key

    revoke_key(console, client_from(url, data_dir, config, api_key), key, as_json=as_json)
