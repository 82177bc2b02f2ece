"""``/-/audit/sessions``: what an export of the trail takes of the sessions' logs (docs/audit.md).

Events with their hashes, and what is hidden from clients only by its hash.
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter

_SESSIONS = 100
_EVENTS = 1000


class LeafReport(TypedDict):
    """A line of a seal."""

    entry: int
    session_id: str
    seq: int
    head: str
    deleted: bool


class RedactionReport(TypedDict):
    """An event that was redacted: hashes of what was there and of what is."""

    session_id: str
    seq: int
    before: str
    after: str
    entry: int


class StandingReport(TypedDict):
    """What is known of a session beside its events: ``seq`` is null when it is gone."""

    session_id: str
    seq: int | None
    deleted: int | None
    leaves: list[LeafReport]
    redactions: list[RedactionReport]


class StandingReports(TypedDict):
    """A page of sessions; ``next`` is the ``after`` of the next one."""

    data: list[StandingReport]
    next: str | None


class LoggedEventReport(TypedDict):
    """An event as it is stored: ``body`` is JSON text, ``hidden`` the SHA-256 of what no client is shown."""

    session_id: str
    seq: int
    id: str
    type: str
    processed_at: int | None
    body: str
    hidden: str
    link: str | None


class LoggedEventReports(TypedDict):
    """A page of a session's log; ``next`` is the ``after`` of the next one."""

    data: list[LoggedEventReport]
    next: int | None


class AuditExportRoutes:
    """Sessions and their events, as verification needs them."""

    def __init__(self, platform: Platform) -> None:
        self._audit = platform.store.audit

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path, tag = "/-/audit/sessions", "audit"
        one = f"{path}/{{session_id}}/events"
        whole = {"type": "integer", "minimum": 1}
        sessions = [Parameter("after", {"type": "string"}, "go on after this session")]
        events = [Parameter("after", whole, "go on after this event")]
        return [
            Operation("GET", path, self.sessions, "exportAudit", tag, StandingReports, parameters=sessions),
            Operation("GET", one, self.events, "exportAuditEvents", tag, LoggedEventReports, parameters=events),
        ]

    async def sessions(self, request: Request) -> Response:
        after = Query(request.query_params).text("after") or ""
        names = await self._audit.sessions(after, _SESSIONS)
        data = [{"session_id": name, **asdict(await self._audit.standing(name))} for name in names]
        return json_answer({"data": data, "next": names[-1] if len(names) == _SESSIONS else None})

    async def events(self, request: Request) -> Response:
        after = Query(request.query_params).integer("after") or 0
        rows = await self._audit.rows(request.path_params["session_id"], after, _EVENTS)
        more = rows[-1].seq if len(rows) == _EVENTS else None
        return json_answer({"data": [asdict(row) for row in rows], "next": more})
