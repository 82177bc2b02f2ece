"""Riding out a server that is away for a while: requests are asked again, with back-off, up to a deadline.

Only requests that may be repeated come here. A request that keeps failing while the server answers others is given up
by itself; when nothing at all was heard for that long, the batch is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx2
from anthropic import APIConnectionError, APIError, APIStatusError, AuthenticationError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 15.0
_MOST_ASKED_SECONDS = 120.0
_AGAIN = frozenset({408, 425, 429})
_BUSY = frozenset({429, 529})
"""The server lives, and says that it has too much to do."""
_SAFE_TO_REPEAT = frozenset({425, 429, 529})
"""Answers to a request that nothing was done about."""
Failure = APIError | httpx2.HTTPError


class BatchStopped(Exception):
    """The batch cannot go on: nothing was heard from the server for too long, or it does not let us in."""


class GivenUp(Exception):
    """One request was refused, or failed for too long; ``error`` is its last failure."""

    def __init__(self, error: Failure) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def status(self) -> int | None:
        """The HTTP status it was refused with, if any."""
        return self.error.status_code if isinstance(self.error, APIStatusError) else None


class Patience:
    """How long one batch waits for its server; shared by all its requests."""

    def __init__(
        self, seconds: float, *, sleep: Sleep = asyncio.sleep, on_away: Callable[[Failure], None] = lambda error: None
    ) -> None:
        """*on_away* is told of each failure that is waited out."""
        self._seconds = seconds
        self._sleep = sleep
        self._on_away = on_away
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._lot = random.Random()  # noqa: S311 - spreads requests, hides nothing

    def heard(self) -> None:
        """The server has just said something."""
        self._heard = self._loop.time()

    async def ask(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return what *request* does, made as often as it takes. Raises BatchStopped, GivenUp."""
        began, tries = self._loop.time(), 0
        while True:
            try:
                answer = await request()
            except (APIError, httpx2.HTTPError) as error:
                await self.wait_out(error, began, tries)
                tries += 1
            else:
                self.heard()
                return answer

    async def wait_out(self, error: Failure, began: float, tries: int) -> None:
        """Pause before the next try of what was first tried at *began*. Raises BatchStopped, GivenUp: no more tries."""
        if isinstance(error, AuthenticationError):
            raise BatchStopped(f"the server does not take the key: {error.message}") from error
        if not is_passing(error):
            self.heard()
            raise GivenUp(error) from error
        if isinstance(error, APIStatusError) and error.status_code in _BUSY:
            self.heard()
        now = self._loop.time()
        if now - self._heard >= self._seconds:
            raise BatchStopped(f"nothing was heard from the server for {self._seconds:g} s: {told(error)}") from error
        if now - began >= self._seconds:
            raise GivenUp(error) from error
        self._on_away(error)
        await self._sleep(self._pause(error, tries))

    def now(self) -> float:
        """Return the moment, for ``wait_out``."""
        return self._loop.time()

    def _pause(self, error: Failure, tries: int) -> float:
        asked = error.response.headers.get("retry-after", "") if isinstance(error, APIStatusError) else ""
        least = min(float(asked), _MOST_ASKED_SECONDS) if asked.isdecimal() else 0.0
        # Spread, so that those who failed together do not come back together.
        return max(least, min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(tries, 10))) * self._lot.uniform(1.0, 1.5)


def is_passing(error: Failure) -> bool:
    """Return whether the same request may do better later."""
    if isinstance(error, APIStatusError):
        return error.status_code in _AGAIN or error.status_code >= 500 or _is_a_proxys(error)
    # Of the SDK's others only the loss of a connection passes; what it could not read is no fault of the moment.
    return isinstance(error, APIConnectionError | httpx2.TransportError)


def may_have_worked(error: Failure) -> bool:
    """Return whether the server may have done what was asked, although no answer says so."""
    if isinstance(error, APIStatusError):
        return error.status_code >= 500 and error.status_code not in _SAFE_TO_REPEAT
    return True


def _is_a_proxys(error: APIStatusError) -> bool:
    """Whether it is a 404 that the API did not say: a proxy that has just come up does not know its backends yet."""
    body: object = error.body
    return error.status_code == 404 and not (isinstance(body, dict) and "error" in body)


def told(error: Failure) -> str:
    """Return what a failure says, or its kind when it says nothing."""
    cause = error.__cause__ or error
    return str(cause) or type(cause).__name__
