"""``hecaton topology``: whether new sessions go to the parts or to the standby monolith, and who took a session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.timeline import printable

_PATH = "/-/topology"
_STYLE = {"decoupled": "green", "monolith": "red", "trial": "yellow"}


def show_topology(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print where new sessions go, and why."""
    _show(console, cast("dict[str, Any]", client.get(_PATH, cast_to=object)), as_json=as_json)


def force_topology(console: Console, client: Anthropic, mode: str, *, as_json: bool) -> None:
    """Have the server send new sessions *mode*'s way (``auto``: as the breaker decides), and print what came of it."""
    _show(console, cast("dict[str, Any]", client.post(_PATH, cast_to=object, body={"mode": mode})), as_json=as_json)


def show_taker(console: Console, client: Anthropic, session: str, *, as_json: bool) -> None:
    """Print which topology a session was made for."""
    path = f"{_PATH}/sessions/{quote(session, safe='')}"
    answer = cast("dict[str, Any]", client.get(path, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(Text(printable(answer["topology"] or "made without a standby")))


def _show(console: Console, report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(console, report)
        return
    mode = str(report["mode"])
    since = report["since"]
    rows = {
        "new sessions": Text(f"{mode}{', by command' if report['forced'] else ''}", style=_STYLE.get(mode, "")),
        "to the monolith": Text(f"{report['monolith_share']:.0%}"),
        "since": Text("the start" if since is None else f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"),
        "why": Text(printable(report["reason"])),
        "parts": Text(f"{report['lost']} of {report['requests']} requests lost"),
        "away": Text(printable(report["outage"] or "")),
        "monolith": Text(", ".join(report["replicas"]) or "no replica is there"),
    }
    table = Table(box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
