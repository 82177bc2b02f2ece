"""Acts: every request that changes something, or reads the audit trail, is written down before it is answered.

One place for all operations, asked by the route that was matched: an operation that is added later is recorded by what
its method and path say, without a line of its own. What is recorded of a body are the names of its fields, and the
values of a few that everybody may know: no secret gets into the trail.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agents.api.auth import header
from agents.api.routes import Operation, Permit
from agents.clock import Clock
from agents.errors import HecatonError
from agents.governance.audit.entries import AuditEntry
from agents.governance.audit.trail import AuditTrail

logger = logging.getLogger(__name__)

_NOT_ACTS = frozenset(
    {
        # What sessions' logs tell, and what models and hands are asked without a session (the books have it).
        "sendEvents",
        "createMessage",
        "countTokens",
        "callHandOverMcp",
        # Workers at their work.
        "ackWork",
        "heartbeatWork",
        "stopWork",
        "updateWork",
        # Of sessions' logs, which are read without a record elsewhere; that an export was made is recorded.
        "exportAuditEvents",
    }
)
_TOLD = frozenset(
    {
        "name",
        "version",
        "budget",
        "scope",
        "workspace_id",
        "status",
        "mode",
        "weight",
        "split",
        "replicas",
        "server",
        "expires_at",
    }
)
"""Fields whose values are recorded."""
_MOST_PARSED_BYTES = 1024 * 1024
_MOST_TOLD_CHARS = 300
_MOST_FIELDS = 40
_OVERLOAD = frozenset({429, 503, 529})
"""Nothing was done, and a platform that has too much to do is not to write down each time that it says so."""


def is_act(operation: Operation) -> bool:
    """Whether requests for an operation are recorded."""
    if operation.name in _NOT_ACTS:
        return False
    return operation.method != "GET" or operation.path.startswith("/-/audit")


class ActRequest(Request):
    """A request that remembers the body which its handler has read."""

    seen = b""

    async def body(self) -> bytes:
        self.seen = await super().body()
        return self.seen


class Witness:
    """Writes down what was asked, by whom, from where, and what came of it.

    A handler sets ``request.state.recorded`` when the entry is there already: written in the transaction of the act
    itself, or with the first step of many.
    """

    def __init__(self, permit: Permit, audit: AuditTrail, clock: Clock) -> None:
        """*permit* is asked first; what it refuses is recorded, too."""
        self._permit = permit
        self._audit = audit
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()

    async def respond(self, operation: Operation, scope: Scope, receive: Receive, send: Send) -> Response:
        """Answer a request. Raises what *permit* and the handler raise, Overloaded when nothing can be recorded."""
        if not is_act(operation):
            await self._permit(operation, scope)
            return await operation.handler(Request(scope, receive, send))
        self._audit.require_room()
        request = ActRequest(scope, receive, send)
        try:
            await self._permit(operation, scope)
            response = await operation.handler(request)
        except asyncio.CancelledError:
            # The client has gone, which undoes nothing that was done.
            late = asyncio.create_task(self._record(self._entry(operation, request, "client_gone")))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            raise
        except HecatonError as error:
            if error.http_status not in _OVERLOAD:
                await self._record(self._entry(operation, request, error.code))
            raise
        except Exception:
            # The edge logs it and answers; what had been done by then is an act all the same.
            await self._record(self._entry(operation, request, "internal_error"))
            raise
        if not getattr(request.state, "recorded", False):
            await self._record(self._entry(operation, request, "ok", response))
        return response

    async def _record(self, entry: AuditEntry) -> None:
        try:
            await self._audit.record(entry)
        except HecatonError as error:
            # It is kept for when the database answers again, and meanwhile the next acts are refused.
            logger.error("%s by %r is not in the audit trail yet: %s", entry.action, entry.actor, error.message)

    def _entry(
        self, operation: Operation, request: ActRequest, outcome: str, response: Response | None = None
    ) -> AuditEntry:
        return act_entry(
            request,
            self._clock,
            action=operation.name,
            object_=_object(request, response),
            outcome=outcome,
            detail=_fields(request.seen),
        )


def act_entry(
    request: Request, clock: Clock, *, action: str, object_: str, outcome: str = "ok", detail: dict[str, Any]
) -> AuditEntry:
    """Return the entry of what a request asked for."""
    state, scope = request.state, request.scope
    access = getattr(state, "access", None)
    if access is not None and access.key_id is not None:
        detail = {"key": access.key_id, **detail}
    forwarded = header(scope, b"x-forwarded-for")
    if forwarded is not None:
        # Whoever calls may write what it likes into it; the address beside it is the connection's own.
        detail = {**detail, "forwarded_for": forwarded.decode("latin-1")[:_MOST_TOLD_CHARS]}
    return AuditEntry(
        at=clock.now(),
        actor=state.principal,
        action=action,
        object=object_,
        origin=scope["client"][0] if scope.get("client") else "",
        request_id=state.request_id,
        outcome=outcome,
        detail=detail,
    )


def _object(request: Request, response: Response | None) -> str:
    if request.path_params:
        return "/".join(str(value) for value in request.path_params.values())
    if response is None or request.method == "GET":
        return ""
    # What is streamed has no body of its own.
    made = _object_of(bytes(getattr(response, "body", b"")))
    return str(made.get("id") or made.get("name") or "")


def _fields(raw: bytes) -> dict[str, Any]:
    body = _object_of(raw)
    if not body:
        return {}
    told = {name: body[name] for name in sorted(_TOLD & body.keys()) if len(repr(body[name])) <= _MOST_TOLD_CHARS}
    return {"fields": [name[:100] for name in sorted(body)[:_MOST_FIELDS]], **({"values": told} if told else {})}


def _object_of(raw: bytes) -> dict[str, Any]:
    if not raw or len(raw) > _MOST_PARSED_BYTES:
        return {}
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
