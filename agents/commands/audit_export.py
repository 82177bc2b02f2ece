"""``hecaton audit export``: the trail and the sessions' logs as Parquet files, and the head that they stand under."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anthropic import Anthropic
from rich.console import Console

from agents.clock import parse_rfc3339
from agents.commands.audit import get
from agents.commands.audit_parquet import TrailWriter
from agents.commands.failures import CommandFailed

_PAGE = 1000


def export(console: Console, progress: Console, client: Anthropic, folder: Path) -> None:
    """Write everything. Raises CommandFailed when the folder holds an export already."""
    sessions = events = 0
    with TrailWriter(folder) as writer, progress.status("exporting …") as status:
        # What the trail grows by from here on belongs to the next export, also its word on sessions.
        head = get(client, "/head")
        entries = _entries(client, writer, head["seq"])
        after: str | None = None
        while True:
            answer = get(client, "/sessions", after=after)
            for standing in answer["data"]:
                events += _session(client, writer, standing, head["seq"])
                sessions += 1
                status.update(f"exporting … {sessions} sessions, {events} events")
            after = answer["next"]
            if after is None:
                break
    (folder / "head.json").write_text(json.dumps(head, indent=2) + "\n", encoding="utf-8")
    console.print(f"{entries} entries, {sessions} sessions, {events} events in {folder}", soft_wrap=True)
    console.print(f"head {head['seq']}:{head['hash']}", soft_wrap=True)


def _session(client: Anthropic, writer: TrailWriter, standing: dict[str, Any], last: int) -> int:
    if any(each["entry"] > last for each in standing["redactions"]):
        raise CommandFailed(f"session {standing['session_id']} was redacted during the export: begin again")
    writer.add("leaves", [leaf for leaf in standing["leaves"] if leaf["entry"] <= last])
    if standing["deleted"] is None:
        standing["deleted"] = next((leaf["seq"] for leaf in standing["leaves"] if leaf["deleted"]), None)
    writer.add("redactions", standing["redactions"])
    end, count = standing["seq"], 0
    after: int | None = None
    while True:
        answer = get(client, f"/sessions/{standing['session_id']}/events", after=after)
        # What came after its standing was read belongs to the next export.
        rows = [row for row in answer["data"] if end is None or row["seq"] <= end]
        writer.add("events", rows)
        count += len(rows)
        after = answer["next"]
        if after is None:
            break
    writer.add("sessions", [standing])
    return count


def _entries(client: Anthropic, writer: TrailWriter, last: int) -> int:
    count = after = 0
    while after < last:
        answer = get(client, "/entries", order="asc", limit=_PAGE, after=after or None)
        rows = [row for row in answer["data"] if row["seq"] <= last]
        writer.add("entries", [{**row, "at": _micros(row["at"]), "body": row["text"]} for row in rows])
        count += len(rows)
        if answer["next"] is None:
            break
        after = answer["next"]
    return count


def _micros(text: str) -> int:
    moment = parse_rfc3339(text)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond
