"""What a model server's errors mean to a session (spec E.4), in one table."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from agents.brains.port import BrainFailure, FailureKind, Refusal

SHOWN_CHARACTERS = 500
LONGEST_RETRY_AFTER = 3600.0

_BY_TYPE: dict[str, tuple[FailureKind, bool]] = {
    "overloaded_error": ("overloaded", True),
    "rate_limit_error": ("rate_limited", True),
    "billing_error": ("billing", False),
    "api_error": ("request_failed", True),
    "timeout_error": ("request_failed", True),
    "invalid_request_error": ("request_failed", False),
    "authentication_error": ("request_failed", False),
    "permission_error": ("request_failed", False),
    "not_found_error": ("request_failed", False),
    "request_too_large": ("request_failed", False),
}
"""Error type to failure kind, and whether asking again can help."""

_BY_STATUS: dict[int, tuple[FailureKind, bool]] = {
    402: ("billing", False),
    408: ("request_failed", True),
    409: ("request_failed", True),
    429: ("rate_limited", True),
    529: ("overloaded", True),
}
_REFUSED = frozenset({400, 404, 413, 422})
"""Statuses by which a server judges the request, not the asker or itself."""


def from_status(
    status: int, body: object, headers: Mapping[str, str], *, origin: str, secret: str | None = None
) -> BrainFailure:
    """Map an HTTP error response; *secret* is cut out of the message should the server repeat it."""
    error_type, message = _error_of(body)
    kind, transient = _BY_STATUS.get(status, ("request_failed", status >= 500))
    # The type refines a plain status (a billing problem sent as 400), it never turns a 4xx into a retry.
    if error_type in ("billing_error", "overloaded_error", "rate_limit_error"):
        kind, transient = _BY_TYPE[error_type]
    text = f"The model server at {origin} answered {status} {error_type or 'error'}: {message or 'no message'}"
    if secret:
        text = text.replace(secret, "[key]")
    refusal = None
    if status in _REFUSED and kind == "request_failed":
        said = message or text
        refusal = Refusal(status, _shown(said.replace(secret, "[key]") if secret else said))
    return BrainFailure(kind, _shown(text), transient=transient, retry_after=_retry_after(headers), refusal=refusal)


def from_stream_error(event: dict[str, Any]) -> BrainFailure:
    """Map an ``error`` event in the middle of a stream."""
    error_type, message = _error_of(event)
    kind, transient = _BY_TYPE.get(error_type, ("request_failed", True))
    text = f"The model's answer ended in an error: {error_type or 'error'}: {message or 'no message'}"
    return BrainFailure(kind, _shown(text), transient=transient)


def from_connection(error: Exception, origin: str) -> BrainFailure:
    """Map a server that could not be reached, or did not begin to answer in time."""
    late = isinstance(error, TimeoutError) or "Timeout" in type(error).__name__
    what = "did not answer in time" if late else "could not be reached"
    return BrainFailure("request_failed", f"The model server at {origin} {what}.", transient=True)


def _error_of(body: object) -> tuple[str, str]:
    error = cast("dict[str, Any]", body).get("error") if isinstance(body, dict) else body
    if isinstance(error, dict):
        fields = cast("dict[str, Any]", error)
        return str(fields.get("type") or ""), str(fields.get("message") or "")
    return "", str(error or "")


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from ``retry-after-ms``, or from ``retry-after`` (a number or an HTTP date)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _within(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        with contextlib.suppress(ValueError):
            moment = parsedate_to_datetime(value)
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if seconds is None else _within(seconds)


def _number(value: str | None) -> float | None:
    with contextlib.suppress(ValueError):
        number = float(value or "")
        return number if math.isfinite(number) else None
    return None


def _within(seconds: float) -> float:
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
