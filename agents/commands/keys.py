"""``hecaton keys``: API keys that the server keeps, with scope and workspace (docs/security.md)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table

from agents.clock import parse_day_or_time, rfc3339
from agents.commands.answers import print_json
from agents.commands.failures import CommandFailed
from agents.commands.paging import every_row
from agents.commands.timeline import printable

_PATH = "/-/keys"
_ID_CHARS = 33
"""An id is what a key is revoked by: it is never cut."""
_SPAN = re.compile(r"([1-9][0-9]{0,4})([hd])")


def expiry_of(text: str, now: datetime | None = None) -> str:
    """Return the RFC 3339 time that a span (``90d``, ``12h``), a day or a time means. Raises CommandFailed."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        length = timedelta(hours=int(span[1])) if span[2] == "h" else timedelta(days=int(span[1]))
        return rfc3339((now or datetime.now(UTC)) + length)
    try:
        return rfc3339(parse_day_or_time(text))
    except ValueError as error:
        raise CommandFailed(f"--expires {text}: {error}, or a span such as 90d", exit_code=2) from None


def create_key(
    console: Console,
    client: Anthropic,
    name: str,
    scope: str,
    workspace: str,
    expires_at: str | None,
    *,
    as_json: bool,
) -> None:
    """Make a key and print it: nobody can see it again."""
    body = {"name": name, "scope": scope, "workspace_id": workspace, "expires_at": expires_at}
    answer = cast("dict[str, Any]", client.post(_PATH, cast_to=object, body=body))
    if as_json:
        print_json(console, answer)
        return
    console.print(answer["key"], soft_wrap=True, markup=False)
    console.print(
        f"{answer['id']}: {scope} of workspace {workspace}; shown this once only."
        " Give it to a client as its api_key, to this command line as $HECATON_API_KEY",
        soft_wrap=True,
    )


def list_keys(console: Console, client: Anthropic, workspace: str | None, *, every: bool, as_json: bool) -> None:
    """Print the keys, without the keys themselves."""
    query = {"include_archived": "true" if every else "false"}
    if workspace is not None:
        query["workspace_id"] = workspace
    found = every_row(client, _PATH, query)
    if as_json:
        print_json(console, {"data": found})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", min_width=_ID_CHARS)
    for column in ("name", "workspace", "scope", "status", "made", "last used", "expires"):
        table.add_column(column)
    for key in found:
        moments = (key["created_at"], key["last_used_at"], key["expires_at"])
        table.add_row(
            key["id"],
            printable(key["name"]),
            key["workspace_id"],
            key["scope"],
            "revoked" if key["revoked_at"] else key["status"],
            *((moment or "")[:16] for moment in moments),
        )
    console.print(table)


def revoke_key(console: Console, client: Anthropic, key_id: str, *, as_json: bool) -> None:
    """End a key for good."""
    answer = cast("dict[str, Any]", client.delete(f"{_PATH}/{quote(key_id, safe='')}", cast_to=object))
    if as_json:
        print_json(console, answer)
    else:
        console.print(f"{answer['id']} ({printable(answer['name'])}) is revoked")
