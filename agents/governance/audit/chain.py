"""How the trail is chained: plain SHA-256 over text, so that anybody can compute it again with any tool.

A *link* is the hash of the link before and of what is added; whoever holds one link can tell whether anything before
it was changed. Each session's log has a chain of its own (its writer is the only one, so nobody waits for anybody), and
the entries of the trail have one. Seals bring the heads of the former into the latter.

What an event contains enters its chain as a hash of its own. So the content can be taken away later (redaction) while
the hash stays, and what no client is shown can be told to an auditor by its hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Protocol

FIRST_LINK = sha256(b"hecaton audit trail").hexdigest()
"""What the first entry of the trail is chained to."""


class EventRow(Protocol):
    """A row of the log, as the store keeps it."""

    def __getitem__(self, key: str, /) -> Any: ...


def session_link(session_id: str) -> str:
    """Return what the first event of a session is chained to."""
    return sha256(f"hecaton session {session_id}".encode()).hexdigest()


def hidden_digest(hidden: str | None) -> str:
    """Return the hash of an event's hidden part; empty without one."""
    return "" if hidden is None else sha256(hidden.encode()).hexdigest()


def thread_mark(thread_id: str | None, crossposted: object) -> str:
    """Return what enters the hash of an event for its thread; empty for the primary's, which has no mark of its own."""
    if thread_id is None and not crossposted:
        return ""
    return f"{thread_id or ''}{' crossposted' if crossposted else ''}"


def event_digest(
    session_id: str,
    seq: int,
    event_id: str,
    type_: str,
    processed_at: int | None,
    body: str,
    hidden: str,
    thread: str = "",
) -> str:
    """Return the hash of one event; *hidden* is the ``hidden_digest``, *thread* the ``thread_mark``.

    No field of a good row holds a line break (JSON escapes them), so no two rows have the same text. An event of the
    primary thread has no line for it, as no event had before there were others.
    """
    at = "" if processed_at is None else processed_at
    of = f"\n{thread}" if thread else ""
    return sha256(f"{session_id}\n{seq}\n{event_id}\n{type_}\n{at}\n{body}\n{hidden}{of}".encode()).hexdigest()


def row_digest(row: EventRow) -> str:
    """Return the ``event_digest`` of a row of the log."""
    return event_digest(
        row["session_id"],
        row["seq"],
        row["id"],
        row["type"],
        row["processed_at"],
        row["body"],
        hidden_digest(row["hidden"]),
        thread_mark(row["thread_id"], row["crossposted"]),
    )


def link(before: str, digest: str) -> str:
    """Return the next link of a chain."""
    return sha256(f"{before}{digest}".encode()).hexdigest()


def entry_link(before: str, body: str) -> str:
    """Return the link of an entry of the trail with this text."""
    return sha256(f"{before}\n{body}".encode()).hexdigest()


def leaves_digest(leaves: Iterable[tuple[str, int, str, bool]]) -> str:
    """Return the hash of a seal's lines: session, position, link and whether the session was deleted, in order."""
    lines = sorted(f"{session} {seq} {head}{' deleted' if gone else ''}" for session, seq, head, gone in leaves)
    return sha256("\n".join(lines).encode()).hexdigest()
