"""Answers: JSON bodies and the error envelope (spec E.1)."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from starlette.responses import Response

from agents.api.ranges import RangeNotSatisfiable
from agents.errors import Conflict, HecatonError

_DEFAULT_RETRY_SECONDS = 1
_RETRY_STATUSES = frozenset({429, 503, 529})


class MethodNotAllowed(HecatonError):
    """The path exists, the method does not."""

    code = "invalid_request_error"
    http_status = 405


class RequestTimedOut(HecatonError):
    """The client did not send its body in time."""

    code = "timeout_error"
    http_status = 408
    retriable = True


def json_answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return *content* as a JSON response."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


async def begun(pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Return *pieces* once the first of them is there: what it raises can still be answered with an error."""
    return _with_first(await anext(pieces, b""), pieces)


async def _with_first(first: bytes, others: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    async with aclosing(others):
        if first:
            yield first
        async for piece in others:
            yield piece


def envelope(error: HecatonError, request_id: str) -> dict[str, Any]:
    """Return the body that every error is answered with."""
    inner: dict[str, Any] = {"type": error.code, "message": error.message}
    details = dict(error.details)
    inner |= {name: details.pop(name) for name in error.beside_message if name in details}
    if error.error_code is not None:
        details["error_code"] = error.error_code
    if details:
        inner["details"] = details
    return {"type": "error", "error": inner, "request_id": request_id}


def error_answer(error: HecatonError, request_id: str) -> Response:
    """Return an error as its response: envelope, and the headers that steer the client's retries."""
    headers: dict[str, str] = {}
    if isinstance(error, Conflict):
        # The SDK repeats every 409 unless told not to; a semantic conflict would only conflict again.
        headers["x-should-retry"] = "false"
    if error.http_status in _RETRY_STATUSES:
        headers["retry-after"] = str(max(math.ceil(error.retry_after or _DEFAULT_RETRY_SECONDS), 1))
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = str(error.details.get("allowed", ""))
    if isinstance(error, RangeNotSatisfiable):
        headers["content-range"] = f"bytes */{error.details['size_bytes']}"
    return json_answer(envelope(error, request_id), error.http_status, headers)
