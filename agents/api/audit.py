"""``/-/audit``: the audit trail, its head and its verification, legal holds, redaction (docs/audit.md).

Ours, not the vendor's; it takes a key with the scope admin, and reading it is in the trail itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Required, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from agents.api.acts import act_entry
from agents.api.answers import json_answer
from agents.api.platform import Platform
from agents.api.query import Query
from agents.api.routes import Operation, Parameter
from agents.api.wire import parse, read_json
from agents.catalog.limits import check_length
from agents.clock import parse_day_or_time, rfc3339
from agents.errors import InvalidRequest, NotFound
from agents.governance.audit.chain import FIRST_LINK
from agents.governance.audit.checkpoint import Checkpoint, sign, signing_key
from agents.governance.audit.entries import HOLD, REDACTION, RELEASE, ChainedEntry, EntryQuery
from agents.governance.audit.trail import Hold
from agents.governance.audit.verification import (
    EntriesStep,
    SessionsStep,
    verify_entries,
    verify_session,
    verify_sessions,
)
from agents.store.codec import micros

_ENTRIES_AT_ONCE = 1000
_EVENTS_AT_ONCE = 5000
_REASON_CHARS = 1000
_ID_CHARS = 100
_MOST_SEQ = 2**53
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


class AuditRoutes:
    """List, head, verify; hold, release; redact."""

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
        verify, holds, redactions = f"{path}/verify", f"{path}/holds", f"{path}/redactions"
        hold, release, redact = HoldParams, f"{holds}/{{session_id}}", RedactParams
        return [
            Operation("GET", f"{path}/entries", self.list, "listAudit", tag, AuditEntryReports, parameters=listing),
            Operation("GET", f"{path}/head", self.head, "getAuditHead", tag, CheckpointReport),
            Operation("POST", verify, self.verify, "verifyAudit", tag, VerifyReport, body=VerifyParams),
            Operation("GET", holds, self.holds, "listHolds", tag, HoldReports),
            Operation("POST", holds, self.hold, HOLD, tag, HoldReport, body=hold, statuses=[409]),
            Operation("DELETE", release, self.release, RELEASE, tag, HoldReport),
            Operation("POST", redactions, self.redact, REDACTION, tag, RedactReport, body=redact, statuses=[409]),
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


def entry_report(entry: ChainedEntry) -> AuditEntryReport:
    """Return an entry as it is shown."""
    return cast(AuditEntryReport, {**orjson.loads(entry.body), "hash": entry.hash, "text": entry.body})


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
        "findings": [_finding_report(each.session, each.seq, each.message) for each in step.findings],
        "next": more,
    }


def _sessions_report(step: SessionsStep) -> VerifyReport:
    return {
        "entries": 0,
        "sessions": step.sessions,
        "events": step.events,
        "unsealed": step.unsealed,
        "findings": [_finding_report(each.session, each.seq, each.message) for each in step.findings],
        "next": None if step.done else {"sessions": {"after": step.after}},
    }


def _finding_report(session: str, seq: int, message: str) -> FindingReport:
    return {"session": session, "seq": seq, "message": message}


def _hold_report(hold: Hold) -> HoldReport:
    return {"session_id": hold.session_id, "reason": hold.reason, "actor": hold.actor, "at": rfc3339(hold.at)}


def _moment(query: Query, name: str) -> int | None:
    text = query.text(name)
    if text is None:
        return None
    try:
        moment: datetime = parse_day_or_time(text)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"{name}: {error}") from None
    return micros(moment)
