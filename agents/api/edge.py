"""The outermost layer of the API: request ids, refusals, size bounds, and errors as envelopes.

Invariant: every answer, whatever went wrong, carries ``request-id``, and every error is an envelope
with the same id. This is the HTTP edge where unexpected exceptions end: logged once, told to no one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agents.access.scopes import KeyScope
from agents.api.answers import RequestTimedOut, error_answer
from agents.api.auth import OPEN_PATHS, Access, Keyring, header, workers_credential
from agents.api.disconnects import disconnected, for_a_client
from agents.api.http_metrics import HttpMetrics, MeasuredRequest
from agents.api.peers import PeerGuard
from agents.api.rate_limits import RateLimits
from agents.api.secure_headers import SecureHeaders
from agents.api.slots import Slots
from agents.api.streamed_bodies import StreamedBodies
from agents.api.worker_gate import WorkerGate
from agents.errors import HecatonError, Overloaded, PayloadTooLarge, PermissionDenied, RateLimited, Unavailable
from agents.ids import new_request_id

_log = logging.getLogger(__name__)

_FULL_BODIES = 8
"""Bodies of the largest allowed size that a replica holds in memory at once, in any mixture of sizes."""
_BODY_SECONDS = 300.0
"""A body of the largest allowed size over a slow line (about 1 Mbit/s) still arrives in this time."""


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Keyring,
        max_body_bytes: int,
        streamed: StreamedBodies,
        max_ongoing_requests: int,
        share: float,
        limits: RateLimits,
        guard: PeerGuard | None,
        gate: WorkerGate,
        headers: SecureHeaders,
        metrics: HttpMetrics,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._requests = Slots(max_ongoing_requests, _too_many_requests, share=share)
        self._buffered = Slots(max_body_bytes * _FULL_BODIES, _too_many_bytes, share=share)
        self._limits = limits
        self._keys = keys
        self._max_body_bytes = max_body_bytes
        self._streamed = streamed
        self._guard = guard
        self._gate = gate
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id
        measured = self._metrics.request()
        answer = _Answer(send, request_id, self._headers, measured)
        body = self._body(scope, receive)
        try:
            principal = body.principal = await self._admit(scope, answer, body.limit)
            with nullcontext() if _is_bounded_elsewhere(scope["path"]) else self._requests.held_by(principal):
                async with for_a_client(body.client_gone, answered=lambda: answer.started):
                    await self._app(scope, body, answer)
        except ClientDisconnect:
            return
        except HecatonError as error:
            await self._refuse(scope, receive, answer, error)
        except Exception as error:
            await self._fail(scope, receive, answer, error)
        finally:
            measured.ended(scope)
            body.give_back()

    def _body(self, scope: Scope, receive: Receive) -> _BoundedBody:
        if self._streamed.covers(scope):
            return _BoundedBody(receive, self._streamed.max_bytes, None, seconds=self._streamed.seconds)
        return _BoundedBody(receive, self._max_body_bytes, self._buffered, seconds=_BODY_SECONDS)

    async def _admit(self, scope: Scope, answer: _Answer, most_bytes: int) -> str:
        """Count the request and return the name of its key. Raises what it is refused for."""
        if self._guard is not None and not self._guard.admits(scope.get("client")):
            raise PermissionDenied("this server answers only to its own machine; set host to listen to others")
        principal = await self._principal(scope)
        if scope["path"] not in OPEN_PATHS:
            self._count(scope["method"], principal, answer)
        length = header(scope, b"content-length") or b"0"
        if length.isdigit() and int(length) > most_bytes:
            raise _too_large(most_bytes)
        retries = header(scope, b"x-stainless-retry-count")
        if retries not in (None, b"0"):
            _log.info(
                "%s %s is retry %r of its client (%s)", scope["method"], scope["path"], retries, answer.request_id
            )
        return principal

    async def _principal(self, scope: Scope) -> str:
        """Return whom the request is counted as, and note who calls; workers of one environment share its id."""
        credential, state = workers_credential(scope), scope["state"]
        worker = state["worker"] = None if credential is None else await self._gate.admit(scope, credential)
        if worker is None:
            access = await self._keys.admit(scope)
        else:
            # No workspace: what a worker opens was checked object by object, and nothing else is its own.
            access = Access(worker.environment_id, "", KeyScope.ENVIRONMENT)
        state["access"], state["principal"] = access, access.principal
        state["workspace_id"] = access.workspace_id
        return access.principal

    def _count(self, method: str, principal: str, answer: _Answer) -> None:
        standing = self._limits.spend(principal, method)
        if standing is not None:
            answer.headers = standing.headers()
            if standing.retry_after is not None:
                words = f"this API key, or its workspace, may make {standing.limit} such requests per minute"
                raise RateLimited(words, retry_after=standing.retry_after)

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
    """The way back to the client: adds headers of its own and remembers whether an answer has begun."""

    def __init__(self, send: Send, request_id: str, secure: SecureHeaders, measured: MeasuredRequest) -> None:
        self._send = send
        self._secure = secure
        self._measured = measured
        self.request_id = request_id
        self.headers: list[tuple[bytes, bytes]] = []
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            own = [(b"request-id", self.request_id.encode()), *self.headers]
            message["headers"] = self._secure.beside([*message.get("headers", ()), *own])
            self._measured.answered(message)
        await self._send(message)


class _BoundedBody:
    """The way in: refuses a body as soon as it is too large, and one that never comes."""

    def __init__(self, receive: Receive, limit: int, buffered: Slots | None, *, seconds: float) -> None:
        """*buffered* counts what is held in memory; None: its reader holds none of it for long."""
        self._receive = receive
        self.principal = ""
        self.limit = limit
        self._seconds = seconds
        self._buffered = buffered
        self._taken = 0
        self._complete = asyncio.Event()
        self._deadline = asyncio.get_running_loop().time() + seconds

    async def __call__(self) -> Message:
        if self._complete.is_set():
            # What follows the body is only the notice of a disconnect, which may take for ever.
            return await self._receive()
        message = await self._next()
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")))
            if not message.get("more_body", False):
                self._complete.set()
        return message

    async def client_gone(self) -> None:
        """Return when the whole body has come and the client has gone."""
        await self._complete.wait()
        await disconnected(self._receive)

    def _take(self, count: int) -> None:
        if self._taken + count > self.limit:
            raise _too_large(self.limit)
        if self._buffered is not None:
            self._buffered.take(self.principal, count)
        self._taken += count

    def give_back(self) -> None:
        """Count the body out of the replica's memory."""
        if self._buffered is not None:
            self._buffered.give_back(self.principal, self._taken)
        self._taken = 0

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await self._receive()
        except TimeoutError:
            raise RequestTimedOut(f"the body did not arrive within {self._seconds:.0f} seconds") from None


def _is_bounded_elsewhere(path: str) -> bool:
    # Streams have their own, larger bound; probes must answer also while the replica is full.
    return path.endswith("/stream") or path in OPEN_PATHS


def _too_many_requests(most: int) -> Overloaded:
    return Overloaded(f"{most} requests are under way on this replica, which is the limit")


def _too_many_bytes(most: int) -> Overloaded:
    return Overloaded(f"request bodies of {most} bytes are held on this replica, which is the limit")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body is larger than {limit} bytes")
