"""The signatures of the part of ``hecaton hands`` that is about contracts, versions and their releases.

What its commands do is imported when they run, as in ``agents.cli``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.commands.options import ApiKey, AsJson, Config, DataDir, Url, client_from

console = Console(highlight=False)

Server = Annotated[str, typer.Argument(metavar="SERVER", help="./crm.py:server, ./crm:server or package:server.")]
HandName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the hand.")]
HandVersion = Annotated[str, typer.Argument(metavar="VERSION", help="One of its versions.")]
Golden = Annotated[Path | None, typer.Option(help="Golden calls, a file of JSON lines.")]
Force = Annotated[bool, typer.Option("--force", help="Do it whatever speaks against it.")]


def hands_contract(
    server: Server,
    name: Annotated[str, typer.Option(help="Name of the hand.")],
    version: Annotated[str, typer.Option(help="Name of this code.")] = "1",
    output: Annotated[Path | None, typer.Option(help="Where to write it (default: it is printed).")] = None,
) -> None:
    """Write a contract to begin with, from what a server says of its tools."""
    from agents.commands.hand_trials import write_contract

    write_contract(console, server, name, version, output)


def hands_test(
    server: Server,
    contract: Annotated[Path | None, typer.Option(help="Its contract, a YAML file.")] = None,
    golden: Golden = None,
    record: Annotated[bool, typer.Option("--record", help="Write down what comes of calls not recorded yet.")] = False,
    against: Annotated[Path | None, typer.Option(help="The contract of the version that it shall follow.")] = None,
) -> None:
    """Hold a server to its contract, its golden calls and the version before, here and without a platform."""
    from agents.commands.hand_trials import try_hand

    try_hand(console, server, contract, golden, against, record=record)


def hands_release(
    name: HandName,
    version: HandVersion,
    weight: Annotated[int, typer.Option(min=0, max=100, help="Percent of the new sessions that it gets.")],
    golden: Golden = None,
    force: Force = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Put a version on trial, after checks: it gets a part of the new sessions until it breaks its SLA."""
    from agents.commands.hand_releases import change_hand, golden_text

    body = {"version": version, "weight": weight, "golden": golden_text(golden), "force": force or None}
    change_hand(console, client_from(url, data_dir, config, api_key), name, "release", body, as_json=as_json)


def hands_promote(
    name: HandName,
    version: HandVersion,
    golden: Golden = None,
    force: Force = False,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Make a version the current one, after checks: new sessions are its; those there are stay with theirs."""
    from agents.commands.hand_releases import change_hand, golden_text

    body = {"version": version, "golden": golden_text(golden), "force": force or None}
    change_hand(console, client_from(url, data_dir, config, api_key), name, "promote", body, as_json=as_json)


def hands_rollback(
    name: HandName,
    version: Annotated[str | None, typer.Argument(help="The version (default: the one on trial, or current).")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Withdraw a version: its sessions get the current one, or the one that was current before it."""
    from agents.commands.hand_releases import change_hand

    body = {"version": version, "reason": reason}
    change_hand(console, client_from(url, data_dir, config, api_key), name, "rollback", body, as_json=as_json)


def hands_sla(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Name of the hand (default: all).")] = None,
    as_json: AsJson = False,
    url: Url = None,
    data_dir: DataDir = None,
    config: Config = None,
    api_key: ApiKey = None,
) -> None:
    """Show what hands promised, what was measured, and what is left of their error budgets."""
    from agents.commands.hand_releases import show_sla

    show_sla(console, client_from(url, data_dir, config, api_key), name, as_json=as_json)


def add_release_commands(app: typer.Typer) -> None:
    """Add these commands to those of ``hecaton hands``."""
    commands = {
        "contract": hands_contract,
        "test": hands_test,
        "release": hands_release,
        "promote": hands_promote,
        "rollback": hands_rollback,
        "sla": hands_sla,
    }
    for command, work in commands.items():
        app.command(command)(work)
