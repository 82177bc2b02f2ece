"""``hecaton sessions``: look at the sessions of a server, and end them."""

from __future__ import annotations

import time

from anthropic import Anthropic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.failures import CommandFailed
from agents.commands.summary import money, usage_table
from agents.commands.timeline import part, printable
from agents.commands.timeline_view import TimelineView

_STATUS_STYLE = {"running": "green", "rescheduling": "yellow", "terminated": "dim", "idle": ""}
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 0.2


def list_sessions(console: Console, client: Anthropic, *, limit: int, archived: bool) -> None:
    """Print the newest sessions, at most *limit*."""
    table = Table(box=None, header_style="bold")
    for column in ("session", "status", "title", "agent", "created", "cost"):
        # An id that is cut cannot be copied.
        table.add_column(column, overflow="ellipsis", no_wrap=True, min_width=31 if column == "session" else None)
    shown = 0
    for session in client.beta.sessions.list(limit=min(limit, 100), include_archived=archived):
        if shown == limit:
            break
        shown += 1
        row = session.to_dict(mode="json")
        status = str(row.get("status"))
        table.add_row(
            Text(session.id),
            Text(status, style=_STATUS_STYLE.get(status, "")),
            Text(printable(str(row.get("title") or ""))),
            Text(printable(str(part(row, "agent").get("name") or ""))),
            str(row.get("created_at"))[:19].replace("T", " "),
            money(part(part(row, "usage"), "list_cost")),
        )
    if shown:
        console.print(table)
    else:
        console.print("no sessions yet")


def show_session(console: Console, client: Anthropic, session_id: str) -> None:
    """Print a session's whole history and its use."""
    session = client.beta.sessions.retrieve(session_id).to_dict(mode="json")
    view = TimelineView(console)
    for event in client.beta.sessions.events.list(session_id, limit=1000):
        view.show(event.to_dict(mode="json"))
    console.print()
    console.print(Text(f"{session_id}  {session.get('status')}"))
    console.print(usage_table(session))


def kill_session(console: Console, client: Anthropic, session_id: str, *, archive: bool, delete: bool) -> None:
    """Interrupt a session and wait until it is idle; then archive or delete it when asked to.

    Raises CommandFailed when it does not become idle in time.
    """
    if client.beta.sessions.retrieve(session_id).status in ("running", "rescheduling"):
        client.beta.sessions.events.send(session_id, events=[{"type": "user.interrupt"}])
        _wait_idle(client, session_id)
        console.print(f"{session_id}: interrupted")
    else:
        console.print(f"{session_id}: was not running")
    if delete:
        client.beta.sessions.delete(session_id)
        console.print(f"{session_id}: deleted")
    elif archive:
        client.beta.sessions.archive(session_id)
        console.print(f"{session_id}: archived")


def _wait_idle(client: Anthropic, session_id: str) -> None:
    deadline = time.monotonic() + _IDLE_SECONDS
    while client.beta.sessions.retrieve(session_id).status in ("running", "rescheduling"):
        if time.monotonic() > deadline:
            raise CommandFailed(f"{session_id} still runs {_IDLE_SECONDS:.0f} s after the interrupt")
        time.sleep(_LOOK_SECONDS)
