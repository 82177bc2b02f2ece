"""The official SDK's client with its default retries, and a tally of what those did not take care of.

The application above it is a patient one: a call that failed for good is noted, then made again until it
works. Before a message is sent again the application looks whether the session has it already, as any
application must whose request was lost without an answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anthropic
import httpx2
from anthropic import AsyncAnthropic

from tests.chaos.record import ApiError, Json

T = TypeVar("T")

KEY = "chaos-key"
_CALL_SECONDS = 180.0
"""No call may hang longer than this, retries included."""
_PAUSE_SECONDS = 1.0
_FAILURES = (anthropic.APIError, httpx2.HTTPError, TimeoutError)


class Gone(Exception):
    """The application has tried long enough."""


class Api:
    """One client for all sessions. ``errors`` and ``absorbed`` are what the run's record keeps."""

    def __init__(self, url: str) -> None:
        self.errors: list[ApiError] = []
        self.absorbed: Counter[str] = Counter()
        self.end = float("inf")
        """When (by the monotonic clock) the application stops trying."""
        self.runs_asked = 0
        """Requests for a run of a deployment; each may have made a session, also when its answer was lost."""
        hooks: Any = {"request": [self._count], "response": [self._look]}
        # Nothing of this machine's proxy settings may stand between; everything else is the SDK's default.
        transport = anthropic.DefaultAsyncHttpxClient(event_hooks=hooks, trust_env=False)
        self.client = AsyncAnthropic(base_url=url, api_key=KEY, http_client=transport)

    async def close(self) -> None:
        await self.client.close()

    async def _count(self, request: Any) -> None:
        if request.method == "POST" and request.url.path.endswith("/run"):
            self.runs_asked += 1

    async def _look(self, response: Any) -> None:
        if response.status_code >= 400:
            self.absorbed[str(response.status_code)] += 1
        if int(response.request.headers.get("x-stainless-retry-count", "0")) and response.status_code < 400:
            self.absorbed["retried calls that went through"] += 1

    async def until_done(
        self, name: str, session_id: str, call: Callable[[], Awaitable[T]], done: Callable[[], Awaitable[T | None]]
    ) -> T:
        """Make a call until it works or *done* finds that it had. Raises Gone when the run's time is up."""
        while True:
            began = time.time()
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    return await call()
            except _FAILURES as failure:
                self.failed(name, session_id, began, failure)
            if time.monotonic() > self.end:
                raise Gone(f"{name} failed until the end")
            await asyncio.sleep(_PAUSE_SECONDS)
            if (found := await done()) is not None:
                return found

    async def get(self, name: str, session_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that may be repeated at will."""

        async def never() -> T | None:
            return None

        return await self.until_done(name, session_id, call, never)

    def failed(self, name: str, session_id: str, began: float, failure: BaseException) -> None:
        told = f"{type(failure).__name__}: {failure}"[:300]
        self.errors.append(ApiError(time.time(), began, name, session_id, told))

    async def log(self, session_id: str) -> list[Json]:
        """The whole history as raw JSON, by the SDK's own paging."""

        async def read() -> list[Json]:
            page = await self.client.beta.sessions.events.list(session_id, limit=1000)
            return [event.to_dict(mode="json") async for event in page]

        return await self.get("list events", session_id, read)
