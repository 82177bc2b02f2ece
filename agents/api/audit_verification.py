"""``/-/audit/verify``: computing every hash again, a bounded step for each request (docs/audit.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Required

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.routes import Operation
from agents.api.wire import parse, read_json
from agents.catalog.limits import check_length
from agents.errors import InvalidRequest, NotFound
from agents.governance.audit.chain import FIRST_LINK
from agents.governance.audit.verification import (
    EntriesStep,
    Finding,
    SessionsStep,
    verify_entries,
    verify_session,
    verify_sessions,
)

_ENTRIES_AT_ONCE = 1000
_EVENTS_AT_ONCE = 5000
_ID_CHARS = 100
_MOST_SEQ = 2**53


class EntriesPlace(TypedDict):
    """Where the verification of entries goes on."""

    after: Required[int]
    hash: Required[str]


class SessionsPlace(TypedDict):
    """Where the verification of sessions goes on."""

    after: Required[str]


class VerifyParams(TypedDict, total=False):
    """From the beginning when nothing is said; ``session_id``: only the log of this session."""

    session_id: str
    entries: EntriesPlace
    sessions: SessionsPlace


class EntriesReached(TypedDict):
    """The last entry that was looked at."""

    after: int
    hash: str


class SessionsReached(TypedDict):
    """The last session that was looked at."""

    after: str


class NextStep(TypedDict, total=False):
    """What to send to go on."""

    entries: EntriesReached
    sessions: SessionsReached


class FindingReport(TypedDict):
    """Something wrong; ``session`` is empty for the trail itself, and ``seq`` the first bad entry or event."""

    session: str
    seq: int
    message: str


class VerifyReport(TypedDict):
    """What this step has looked at, and what to send for the next one; null: that was all."""

    entries: int
    sessions: int
    events: int
    unsealed: int
    findings: list[FindingReport]
    next: NextStep | None


class AuditVerificationRoutes:
    """Verify."""

    def __init__(self, platform: Platform) -> None:
        self._audit = platform.store.audit

    def operations(self) -> list[Operation]:
        """Return this resource's operations."""
        path = "/-/audit/verify"
        return [Operation("POST", path, self.verify, "verifyAudit", "audit", VerifyReport, body=VerifyParams)]

    async def verify(self, request: Request) -> Response:
        params = parse(VerifyParams, await read_json(request))
        request.state.recorded = "entries" in params or "sessions" in params
        if "session_id" in params:
            return json_answer(_sessions_report(await self._verify_one(params["session_id"])))
        if "sessions" in params:
            after = params["sessions"]["after"]
            check_length("sessions.after", after, _ID_CHARS)
            return json_answer(_sessions_report(await verify_sessions(self._audit, _EVENTS_AT_ONCE, after=after)))
        place = params.get("entries", {"after": 0, "hash": FIRST_LINK})
        if not 0 <= place["after"] <= _MOST_SEQ:
            raise InvalidRequest(f"entries.after: must be from 0 to {_MOST_SEQ}, not {place['after']}")
        check_length("entries.hash", place["hash"], _ID_CHARS)
        step = await verify_entries(self._audit, _ENTRIES_AT_ONCE, after=place["after"], hash_=place["hash"])
        return json_answer(_entries_report(step))

    async def _verify_one(self, session_id: str) -> SessionsStep:
        step = SessionsStep(session_id, done=True)
        standing = await self._audit.standing(session_id)
        if standing.seq is None and not standing.leaves and standing.deleted is None:
            raise NotFound(f"session {session_id[:_ID_CHARS]} not found, and no seal knows it")
        await verify_session(self._audit, session_id, step)
        return step


def _entries_report(step: EntriesStep) -> VerifyReport:
    # The sessions come after the entries, also when some entry is wrong: both are to be known.
    more: NextStep = {"entries": {"after": step.after, "hash": step.hash}}
    if step.done or step.findings:
        more = {"sessions": {"after": ""}}
    return {
        "entries": step.checked,
        "sessions": 0,
        "events": 0,
        "unsealed": 0,
        "findings": _finding_reports(step.findings),
        "next": more,
    }


def _sessions_report(step: SessionsStep) -> VerifyReport:
    return {
        "entries": 0,
        "sessions": step.sessions,
        "events": step.events,
        "unsealed": step.unsealed,
        "findings": _finding_reports(step.findings),
        "next": None if step.done else {"sessions": {"after": step.after}},
    }


def _finding_reports(findings: Sequence[Finding]) -> list[FindingReport]:
    return [{"session": each.session, "seq": each.seq, "message": each.message} for each in findings]
