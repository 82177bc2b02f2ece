"""The signatures of ``hecaton hands``; what its commands do is imported when they run, as in ``agents.cli``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

hands_app = typer.Typer(help="Add MCP servers as hands, look at them, and take them away.", no_args_is_help=True)
console = Console(highlight=False)


@hands_app.command("add")
def hands_add(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="./crm.py:server, ./crm:server or package:server.")],
    name: Annotated[str, typer.Option(help="Name of the hand; agents use it as hand://NAME.")],
    version: Annotated[str, typer.Option(help="Name of this code; it never changes under one version.")] = "1",
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    working_dir: Annotated[Path | None, typer.Option(help="A directory to send; SERVER is a module in it.")] = None,
    contract: Annotated[Path | None, typer.Option(help="Its contract, a YAML file.")] = None,
    pip: Annotated[list[str] | None, typer.Option(help="A package to install for it (repeatable).")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable for it (repeatable).")] = None,
    secret: Annotated[list[str] | None, typer.Option(help="A variable that is set where it runs (repeatable).")] = None,
    num_cpus: Annotated[float | None, typer.Option(help="CPUs that a replica reserves.")] = None,
    memory_mb: Annotated[int | None, typer.Option(help="MiB that a replica reserves.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only nodes with it (repeatable).")
    ] = None,
    min_replicas: Annotated[int | None, typer.Option(help="Fewest replicas (default 0).")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Most replicas (default 4).")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Calls that a replica runs at a time (default 16).")] = None,
    queue: Annotated[int | None, typer.Option(help="Calls that may wait (default 256).")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds that a call may take (default 60).")] = None,
    idle: Annotated[float | None, typer.Option(help="Seconds before replicas that are too many end.")] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until it runs.")] = 60.0,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Add a version of a hand: an MCP server object, in a file, a package's directory or an installed package."""
    from agents.commands.hands import add_hand, assignments

    runtime_env = {"pip": pip or [], "env_vars": assignments("--env", env or [])}
    labels = assignments("--label", label or [])
    resources = {"num_cpus": num_cpus, "memory_mb": memory_mb, "labels": labels or None}
    given = {
        "server": server,
        "version": version,
        "description": description,
        "working_dir": working_dir,
        "contract": contract,
        "runtime_env": runtime_env,
        "secrets": secret or [],
        "resources": {key: value for key, value in resources.items() if value is not None},
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
        "concurrency": concurrency,
        "queue": queue,
        "deadline_seconds": deadline,
        "idle_seconds": idle,
    }
    add_hand(console, client_from(url, data_dir, config, api_key), name, given, wait=wait, as_json=as_json)


@hands_app.command("list")
def hands_list(
    as_json: AsJson = False, url: Url = None, data_dir: DataDir = None, config: Config = None, api_key: ApiKey = None
) -> None:
    """List the hands, how many replicas each has, and why one does not run."""
    from agents.commands.hands import list_hands

    list_hands(console, client_from(url, data_dir, config, api_key), as_json=as_json)


@hands_app.command("remove")
def hands_remove(
    hand: Annotated[str, typer.Argument(metavar="NAME[@VERSION]", help="The version; the name alone if there is one.")],
    force: Annotated[bool, typer.Option("--force", help="Do it though live agents name this version.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Take a version away: its calls end, then its replicas go. What it was stays known."""
    from agents.commands.hands import remove_hand

    remove_hand(console, client_from(url, data_dir, config, api_key), hand, force=force, as_json=as_json)
