"""``hecaton webhooks``: endpoints that are told what happens (docs/webhooks.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table

from agents.commands.answers import print_json
from agents.commands.paging import every_row
from agents.commands.timeline import printable

_PATH = "/-/webhooks"
_ID_CHARS = 30
"""An id is what an endpoint is removed by: it is never cut."""


def add_webhook(console: Console, client: Anthropic, target: str, events: Sequence[str] | None, workspace: str) -> None:
    """Register an endpoint and print it, with the secret that nobody can see again."""
    body: dict[str, Any] = {"url": target, "workspace_id": workspace}
    if events:
        body["events"] = list(events)
    print_json(console, cast("dict[str, Any]", client.post(_PATH, cast_to=object, body=body)))


def list_webhooks(console: Console, client: Anthropic, workspace: str | None, *, as_json: bool) -> None:
    """Print the endpoints, without their secrets."""
    found = every_row(client, _PATH, None if workspace is None else {"workspace_id": workspace})
    if as_json:
        print_json(console, {"data": found})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", min_width=_ID_CHARS)
    for column in ("workspace", "url", "events", "status"):
        table.add_column(column, overflow="fold")
    for each in found:
        reason = f" ({printable(each['disabled_reason'])})" if each["disabled_reason"] else ""
        status, events = each["status"] + reason, ", ".join(each["events"])
        table.add_row(each["id"], each["workspace_id"], printable(each["url"]), events, status)
    console.print(table)


def enable_webhook(console: Console, client: Anthropic, webhook_id: str, *, as_json: bool) -> None:
    """Let an endpoint get what is told from now on."""
    path = f"{_PATH}/{quote(webhook_id, safe='')}/enable"
    answer = cast("dict[str, Any]", client.post(path, cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(f"{answer['id']} is enabled", markup=False)


def remove_webhook(console: Console, client: Anthropic, webhook_id: str, *, as_json: bool) -> None:
    """Forget an endpoint and what waits for it."""
    answer = cast("dict[str, Any]", client.delete(f"{_PATH}/{quote(webhook_id, safe='')}", cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(f"{answer['id']} is removed", markup=False)
