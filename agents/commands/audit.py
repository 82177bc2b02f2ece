"""``hecaton audit``: entries, head, holds and redaction, as the server answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.answers import print_json
from agents.commands.timeline import printable

_PAGE = 1000


def get(client: Anthropic, path: str, **asked: object) -> dict[str, Any]:
    """Return what the server answers below ``/-/audit``."""
    query = {name: value for name, value in asked.items() if value is not None}
    return cast("dict[str, Any]", client.get(f"/-/audit{path}", cast_to=object, options={"params": query}))


def post(client: Anthropic, path: str, body: Mapping[str, object]) -> dict[str, Any]:
    """Return what the server answers to *body*."""
    return cast("dict[str, Any]", client.post(f"/-/audit{path}", cast_to=object, body=body))


def list_entries(
    console: Console, client: Anthropic, asked: Mapping[str, str | None], limit: int, *, as_json: bool
) -> None:
    """Print the newest entries that fit."""
    rows: list[dict[str, Any]] = []
    after: int | None = None
    while len(rows) < limit:
        answer = get(client, "/entries", limit=min(limit - len(rows), _PAGE), after=after, **asked)
        rows += answer["data"]
        after = answer["next"]
        if after is None:
            break
    if as_json:
        print_json(console, rows)
        return
    table = Table(box=None, header_style="bold")
    for column in ("entry", "at", "who", "what", "object", "from", "outcome"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row["seq"], row["at"], row["actor"] or "(no key)", row["action"], row["object"], row["origin"])
        table.add_row(*(Text(printable(str(cell))) for cell in (*cells, row["outcome"])))
    console.print(table)


def show_head(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print the checkpoint."""
    head = get(client, "/head")
    if as_json:
        print_json(console, head)
        return
    console.print(f"{head['seq']}:{head['hash']}", soft_wrap=True)
    if head["signature"]:
        console.print(f"at {head['at']}")
        console.print(f"signature {head['signature']}", soft_wrap=True)
        console.print(f"public key {head['public_key']}", soft_wrap=True)


def redact(console: Console, client: Anthropic, session: str, event: str, reason: str) -> None:
    """Redact an event."""
    post(client, "/redactions", {"session_id": session, "event_id": event, "reason": reason})
    console.print(Text(f"{printable(event)} shows no content any more"))


def add_hold(console: Console, client: Anthropic, session: str, reason: str) -> None:
    """Put a session under hold."""
    post(client, "/holds", {"session_id": session, "reason": reason})
    console.print(Text(f"{printable(session)} is under legal hold"))


def list_holds(console: Console, client: Anthropic, *, as_json: bool) -> None:
    """Print all holds."""
    rows = get(client, "/holds")["data"]
    if as_json:
        print_json(console, rows)
        return
    table = Table(box=None, header_style="bold")
    for column in ("session", "since", "by", "reason"):
        table.add_column(column, overflow="fold")
    for row in rows:
        cells = (row["session_id"], row["at"], row["actor"] or "(no key)", row["reason"])
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)


def release_hold(console: Console, client: Anthropic, session: str) -> None:
    """End a hold."""
    client.delete(f"/-/audit/holds/{quote(session, safe='')}", cast_to=object)
    console.print(Text(f"{printable(session)} is no longer under legal hold"))
