"""Entries of the audit trail, and the port that everybody writes them through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson

from agents.clock import rfc3339
from agents.governance.audit.chain import entry_link
from agents.ids import new_id

SEAL = "sealSessions"
PRUNE = "pruneAudit"
REDACTION = "redactEvent"
HOLD = "holdSession"
RELEASE = "releaseSession"
SYSTEM = "hecaton"
"""Who acts when the platform itself does."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act, before it has its place in the chain.

    ``actor`` is the name of the API key (empty where the server takes any key), or ``hecaton``; ``action`` an operation
    of the API (its ``operationId`` in ``/openapi.json``) or a name of the platform's own; ``object`` an id or a name;
    ``origin`` the address that the request came from. ``outcome`` is ``ok`` or the API's ``error.type``. Nothing here
    may hold a secret: ``detail`` names what was changed, and holds values only of what everybody may know.
    """

    at: datetime
    actor: str
    action: str
    object: str = ""
    origin: str = ""
    request_id: str = ""
    outcome: str = "ok"
    detail: Mapping[str, Any] = field(default_factory=lambda: {})
    id: str = field(default_factory=lambda: new_id("audt"))


@dataclass(frozen=True, slots=True)
class ChainedEntry:
    """An entry in its place. ``body`` is its exact text, which ``hash`` is made of together with the hash before."""

    seq: int
    at: int
    actor: str
    action: str
    object: str
    body: str
    hash: str


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """A page of entries, oldest first unless ``newest_first``; ``after`` is a position in that direction, exclusive.

    Times are microseconds since the epoch; ``since`` is included, ``until`` is not.
    """

    limit: int = 100
    after: int | None = None
    newest_first: bool = False
    actor: str | None = None
    action: str | None = None
    object: str | None = None
    hash: str | None = None
    since: int | None = None
    until: int | None = None


_MOST_CHARS = 500


def chained(entry: AuditEntry, seq: int, before: str, at: int) -> ChainedEntry:
    """Put an entry in its place; *before* is the hash of the entry before, *at* its time in microseconds."""
    actor, action, object_ = _plain(entry.actor), _plain(entry.action), _plain(entry.object)
    fields = {
        "seq": seq,
        "id": entry.id,
        "at": rfc3339(entry.at),
        "actor": actor,
        "action": action,
        "object": object_,
        "origin": _plain(entry.origin),
        "request_id": _plain(entry.request_id),
        "outcome": _plain(entry.outcome),
        "detail": dict(entry.detail),
    }
    body = orjson.dumps(fields).decode()
    return ChainedEntry(seq, at, actor, action, object_, body, entry_link(before, body))


def _plain(text: str) -> str:
    # What clients put into a path or a header is recorded, but no database stores every string.
    return text[:_MOST_CHARS].encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class AuditLog(Protocol):
    """Where acts are written down."""

    async def record(self, entry: AuditEntry) -> None:
        """Write an entry; returns once it is on disk. Entries of many callers are written together.

        Raises Overloaded when too many wait (nothing is then kept), Unavailable when the database does not answer:
        the entry then stays, and is written as soon as it does.
        """
        ...
