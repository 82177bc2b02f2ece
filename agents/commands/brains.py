"""``hecaton brains``: the versions of brains on a server, and which of them gets the sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.timeline import printable
from agents.commands.versions import change_versions, state_of

_PATH = "/-/brains"


def list_brains(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print every brain with its versions."""
    answer = cast("dict[str, Any]", client.get(_PATH, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        _show(console, answer["data"])


def change_brain(
    console: Console, client: Anthropic, name: str, action: str, body: Mapping[str, Any], *, as_json: bool
) -> None:
    """Let the server do *action* (release, promote or rollback) with the brain *name*, and print what came of it."""
    answer = change_versions(client, _PATH, name, action, body)
    if as_json:
        print_json(console, answer)
    else:
        _show(console, [answer])


def _show(console: Console, brains: list[dict[str, Any]]) -> None:
    table = Table(box=None, header_style="bold")
    for column in ("brain", "state", "sessions", "engine", "model", "on trial", "why"):
        table.add_column(column, overflow="fold", justify="right" if column == "sessions" else "left")
    for brain in brains:
        for version in brain["versions"]:
            table.add_row(
                Text(version["id"]),
                state_of(version),
                f"{version['weight']} %",
                Text(version["engine"]),
                Text(printable(version["model"] or "")),
                _trial(version),
                Text(printable(version["reason"] or "")),
            )
    console.print(table)


def _trial(version: Mapping[str, Any]) -> str:
    if version["requests"] is None:
        return ""
    return f"{version['requests']} requests, {version['failed']} failed, {version['slow']} slow"
