"""The outermost layer of the API: request ids, refusals, size bounds, and errors as envelopes.

Invariant: every answer, whatever went wrong, carries ``request-id``, and every error is an envelope
with the same id. This is the HTTP edge where unexpected exceptions end: logged once, told to no one.
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import SecretStr
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.api.answers import RequestTimedOut, error_answer
from agents.api.auth import check_key, header
from agents.api.peers import PeerGuard
from agents.errors import HecatonError, PayloadTooLarge, PermissionDenied, Unavailable
from agents.ids import new_request_id

_log = logging.getLogger(__name__)

_BODY_SECONDS = 300.0
"""A body of the largest allowed size over a slow line (about 1 Mbit/s) still arrives in this time."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, api_key: SecretStr | None, max_body_bytes: int, guard: PeerGuard | None
    ) -> None:
        self._app = app
        self._api_key = api_key
        self._max_body_bytes = max_body_bytes
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        try:
            self._admit(scope, request_id)
            await self._app(scope, _BoundedBody(receive, self._max_body_bytes), answer)
        except ClientDisconnect:
            return
        except HecatonError as error:
            await self._refuse(scope, receive, answer, error)
        except Exception as error:
            await self._fail(scope, receive, answer, error)

    def _admit(self, scope: Scope, request_id: str) -> None:
        if self._guard is not None and not self._guard.admits(scope.get("client")):
            raise PermissionDenied("this server answers only to its own machine; set host to listen to others")
        check_key(scope, self._api_key)
        length = header(scope, b"content-length") or b"0"
        if length.isdigit() and int(length) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)
        retries = header(scope, b"x-stainless-retry-count")
        if retries not in (None, b"0"):
            _log.info("%s %s is retry %r of its client (%s)", scope["method"], scope["path"], retries, request_id)

    async def _refuse(self, scope: Scope, receive: Receive, answer: _Answer, error: HecatonError) -> None:
        if error.http_status == 500:
            if not error.retriable:
                await self._fail(scope, receive, answer, error)
                return
            # Fenced or LogConflict: the owner is changing just now. Nothing was written.
            error = Unavailable("the session's owner is changing; try again")
        if answer.started:
            _log.warning("%s ended early: %s (%s)", scope["path"], error.message, answer.request_id)
            return
        await error_answer(error, answer.request_id)(scope, receive, answer)

    async def _fail(self, scope: Scope, receive: Receive, answer: _Answer, error: Exception) -> None:
        _log.error("%s %s failed (%s)", scope["method"], scope["path"], answer.request_id, exc_info=error)
        if not answer.started:
            internal = HecatonError("an internal error occurred; the server's log has it under this request id")
            await error_answer(internal, answer.request_id)(scope, receive, answer)


class _Answer:
    """The way back to the client: adds the request id and remembers whether an answer has begun."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), (b"request-id", self.request_id.encode())]
        await self._send(message)


class _BoundedBody:
    """The way in: refuses a body as soon as it is too large, and one that never comes."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._taken = 0
        self._complete = False
        self._deadline = asyncio.get_running_loop().time() + _BODY_SECONDS

    async def __call__(self) -> Message:
        if self._complete:
            # What follows the body is only the notice of a disconnect, which may take for ever.
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._limit:
                raise _too_large(self._limit)
            self._complete = not message.get("more_body", False)
        return message

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise RequestTimedOut(f"the body did not arrive within {_BODY_SECONDS:.0f} seconds") from None


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes")
