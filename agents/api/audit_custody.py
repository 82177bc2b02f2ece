"""``/-/audit/holds`` and ``/-/audit/redactions``: what must stay, and what must go (docs/audit.md).

Each is written into the trail in the transaction that does it.
"""

from __future__ import annotations

from typing import Required

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.acts import act_entry
from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.catalog.limits import check_length
from agents.clock import rfc3339
from agents.errors import NotFound
from agents.governance.audit.entries import HOLD, REDACTION, RELEASE
from agents.governance.audit.trail import Hold

_REASON_CHARS = 1000
_ID_CHARS = 100


class HoldParams(TypedDict):
    """A session to put under legal hold."""

    session_id: Required[str]
    reason: Required[str]


class HoldReport(TypedDict):
    """A session under legal hold."""

    session_id: str
    reason: str
    actor: str
    at: str


class HoldReports(TypedDict):
    """All holds."""

    data: list[HoldReport]


class RedactParams(TypedDict):
    """An event whose content is to be taken away, for ever."""

    session_id: Required[str]
    event_id: Required[str]
    reason: Required[str]


class RedactReport(TypedDict):
    """What was redacted."""

    session_id: str
    event_id: str


class AuditCustodyRoutes:
    """Hold, release; redact."""

    def __init__(self, platform: Platform) -> None:
        self._audit = platform.store.audit
        self._clock = platform.clock

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        tag, holds, redactions = "audit", "/-/audit/holds", "/-/audit/redactions"
        hold, release, redact = HoldParams, f"{holds}/{{session_id}}", RedactParams
        return [
            Operation("GET", holds, self.holds, "listHolds", tag, HoldReports),
            Operation("POST", holds, self.hold, HOLD, tag, HoldReport, body=hold, statuses=[409]),
            Operation("DELETE", release, self.release, RELEASE, tag, HoldReport),
            Operation("POST", redactions, self.redact, REDACTION, tag, RedactReport, body=redact, statuses=[409]),
        ]

    async def holds(self, request: Request) -> Response:
        del request
        return json_answer({"data": [_hold_report(hold) for hold in await self._audit.holds()]})

    async def hold(self, request: Request) -> Response:
        params = parse(HoldParams, await read_json(request))
        session_id, reason = params["session_id"], params["reason"]
        check_length("reason", reason, _REASON_CHARS, shortest=1)
        hold = Hold(session_id, reason, request.state.principal, self._clock.now())
        entry = act_entry(request, self._clock, action=HOLD, object_=session_id, detail={"reason": reason})
        await self._audit.hold(hold, entry)
        request.state.recorded = True
        return json_answer(_hold_report(hold))

    async def release(self, request: Request) -> Response:
        session_id: str = request.path_params["session_id"]
        held = await self._audit.holds(session_id)
        if not held:
            raise NotFound(f"session {session_id[:_ID_CHARS]} is not under legal hold")
        entry = act_entry(request, self._clock, action=RELEASE, object_=session_id, detail={})
        await self._audit.release(session_id, entry)
        request.state.recorded = True
        return json_answer(_hold_report(held[0]))

    async def redact(self, request: Request) -> Response:
        params = parse(RedactParams, await read_json(request))
        session_id, event_id, reason = params["session_id"], params["event_id"], params["reason"]
        check_length("reason", reason, _REASON_CHARS, shortest=1)
        detail = {"event": event_id, "reason": reason}
        entry = act_entry(request, self._clock, action=REDACTION, object_=session_id, detail=detail)
        await self._audit.redact(session_id, event_id, entry)
        request.state.recorded = True
        return json_answer({"session_id": session_id, "event_id": event_id})


def _hold_report(hold: Hold) -> HoldReport:
    return {"session_id": hold.session_id, "reason": hold.reason, "actor": hold.actor, "at": rfc3339(hold.at)}
