"""``/-/audit``: the audit trail and its head (docs/audit.md).

Ours, not the vendor's; it takes a key with the scope admin, and reading it is in the trail itself.
"""

from __future__ import annotations

from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter
from agents.clock import parse_day_or_time, rfc3339
from agents.errors import InvalidRequest
from agents.governance.audit.chain import FIRST_LINK
from agents.governance.audit.checkpoint import Checkpoint, sign, signing_key
from agents.governance.audit.entries import ChainedEntry, EntryQuery
from agents.store.codec import micros

_ENTRIES_AT_ONCE = 1000
_TEXT = {"type": "string"}


class AuditEntryReport(TypedDict):
    """An entry; ``text`` is what ``hash`` is made of, together with the hash of the entry before."""

    seq: int
    id: str
    at: str
    actor: str
    action: str
    object: str
    origin: str
    request_id: str
    outcome: str
    detail: dict[str, Any]
    hash: str
    text: str


class AuditEntryReports(TypedDict):
    """A page of entries; ``next`` is the ``after`` of the next one."""

    data: list[AuditEntryReport]
    next: int | None


class CheckpointReport(TypedDict):
    """The newest entry, signed where ``audit.signing_key`` is set."""

    seq: int
    hash: str
    at: str
    signature: str | None
    public_key: str | None


class AuditRoutes:
    """List, head."""

    def __init__(self, platform: Platform) -> None:
        self._audit = platform.store.audit
        self._clock = platform.clock
        key = platform.settings.audit.signing_key
        self._key = None if key is None else signing_key(key.get_secret_value())

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag = "/-/audit", "audit"
        whole = {"type": "integer", "minimum": 1}
        listing = [
            Parameter("limit", {**whole, "maximum": _ENTRIES_AT_ONCE}, "entries at most; 100 by default"),
            Parameter("after", whole, "go on after this entry"),
            Parameter("order", {"type": "string", "enum": ["asc", "desc"]}, "newest first (desc) by default"),
            Parameter("actor", _TEXT, "only what this key did"),
            Parameter("action", _TEXT, "only this operation"),
            Parameter("object", _TEXT, "only what was done to this"),
            Parameter("hash", _TEXT, "only the entry with this hash"),
            Parameter("since", _TEXT, "a day (UTC) or an RFC 3339 time, included"),
            Parameter("until", _TEXT, "a day (UTC) or an RFC 3339 time, not included"),
        ]
        return [
            Operation("GET", f"{path}/entries", self.list, "listAudit", tag, AuditEntryReports, parameters=listing),
            Operation("GET", f"{path}/head", self.head, "getAuditHead", tag, CheckpointReport),
        ]

    async def list(self, request: Request) -> Response:
        query = Query(request.query_params)
        limit = query.limit(100, _ENTRIES_AT_ONCE)
        entries = await self._audit.entries(
            EntryQuery(
                limit=limit,
                after=query.integer("after"),
                newest_first=query.order("desc") == "desc",
                actor=query.text("actor"),
                action=query.text("action"),
                object=query.text("object"),
                hash=query.text("hash"),
                since=_moment(query, "since"),
                until=_moment(query, "until"),
            )
        )
        more = entries[-1].seq if len(entries) == limit else None
        return json_answer({"data": [entry_report(entry) for entry in entries], "next": more})

    async def head(self, request: Request) -> Response:
        del request
        head = await self._audit.head()
        seq, hash_ = (0, FIRST_LINK) if head is None else (head.seq, head.hash)
        checkpoint = Checkpoint(seq, hash_, rfc3339(self._clock.now()))
        signature, public_key = (None, None) if self._key is None else sign(checkpoint, self._key)
        report: CheckpointReport = {
            "seq": seq,
            "hash": hash_,
            "at": checkpoint.at,
            "signature": signature,
            "public_key": public_key,
        }
        return json_answer(report)


def entry_report(entry: ChainedEntry) -> AuditEntryReport:
    """Return an entry as it is shown."""
    return cast(AuditEntryReport, {**orjson.loads(entry.body), "hash": entry.hash, "text": entry.body})


def _moment(query: Query, name: str) -> int | None:
    text = query.text(name)
    if text is None:
        return None
    try:
        moment = parse_day_or_time(text)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {error}") from None
    return micros(moment)
