"""Which failures of a server pass by themselves, for whoever serves its work."""

from __future__ import annotations

import random

import httpx2
from anthropic import APIConnectionError, APIError, APIStatusError

from agents.errors import HecatonError

PASSING = (APIError, httpx2.HTTPError, OSError)
"""What a request or a stream may fail with; an answer that is final is told by ``is_final``."""
_TRY_AGAIN = frozenset({408, 409, 429})


def is_final(error: Exception) -> bool:
    """Whether asking again cannot help. An error that an open stream ends with comes with the stream's own 200."""
    return isinstance(error, APIStatusError) and 400 <= error.status_code < 500 and error.status_code not in _TRY_AGAIN


def words(error: Exception) -> str:
    """Say what failed, without anything that was sent."""
    if isinstance(error, APIStatusError):
        return f"{error.status_code}: {error.message}"
    if isinstance(error, HecatonError):
        return error.message
    cause = error.__cause__ if isinstance(error, APIConnectionError) else None
    return f"{type(error).__name__}: {cause or error}"


def pause(attempt: int, longest: float) -> float:
    """Return the seconds to wait before attempt number *attempt* (the first repeat is 1): doubling, and spread."""
    most = min(0.5 * 2.0**attempt, longest)
    return random.uniform(most / 2, most)  # noqa: S311 - spreads load, guards nothing
