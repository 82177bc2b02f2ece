"""What an experiment asks of a platform: plain requests over kept connections, tried again as the official SDK does.

It shares the measured machine, so it must cost little; and it is patient as the platform's clients are, so that what it
counts as a retry is what theirs would be.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import orjson

from agents.experiments.running.raw_http import Connection, Refused, connect

MOST_RETRIES = 2
_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 8.0
_MOST_ASKED_SECONDS = 60.0
"""A server that asks for more time is asked again after the client's own pause, as by the SDK."""
_AGAIN = frozenset({0, 408, 409, 429})
_KEPT_SECONDS = 2.0
"""Servers close connections on which nothing is asked for some seconds: such a one is not used again."""
T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]


class PlatformApi:
    """Requests to one platform; as many at a time as are made."""

    def __init__(self, url: str, key: str = "", *, sleep: Sleep = asyncio.sleep) -> None:
        """*key* is an API key of the platform; none is needed where it accepts any."""
        self.url = url
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._idle: list[tuple[float, Connection]] = []
        self._sleep = sleep
        self._lot = random.Random(url)  # noqa: S311 - spreads clients, hides nothing

    async def get(self, path: str) -> Any:
        """Return the JSON that *path* is answered with. Raises Refused, OSError, TimeoutError."""
        return orjson.loads((await self.ask("GET", path))[0])

    async def post(self, path: str, body: object) -> Any:
        """Return the JSON that *body* is answered with. Raises Refused, OSError, TimeoutError."""
        return orjson.loads((await self.ask("POST", path, orjson.dumps(body)))[0])

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[bytes, int]:
        """Return the answer's body, and how often it was asked again for it. Raises Refused, OSError, TimeoutError."""
        return await self._patiently(lambda retries: self._once(method, path, body, retries))

    async def _patiently(self, ask: Callable[[int], Awaitable[T]]) -> tuple[T, int]:
        for retries in range(MOST_RETRIES + 1):
            try:
                return await ask(retries), retries
            except (Refused, OSError) as failure:
                if retries == MOST_RETRIES or not _is_worth_another(failure):
                    raise
                await self._sleep(self._pause(failure, retries))
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, path: str, body: bytes, retries: int) -> bytes:
        headers = {**self._headers, "x-stainless-retry-count": str(retries)} if retries else self._headers
        connection = await self._connection()
        try:
            connection.ask(method, path, body, headers)
            answer = await connection.answer()
        except BaseException:
            connection.close()
            raise
        self._idle.append((asyncio.get_running_loop().time(), connection))
        return answer

    async def _connection(self) -> Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            since, connection = self._idle.pop()
            if now - since < _KEPT_SECONDS and not connection.lost:
                return connection
            connection.close()
        return await connect(self.url)

    def _pause(self, failure: Exception, retries: int) -> float:
        asked = failure.retry_after if isinstance(failure, Refused) else None
        if asked is not None and 0 < asked <= _MOST_ASKED_SECONDS:
            return asked
        return min(_LONGEST_SECONDS, _FIRST_SECONDS * 2**retries) * self._lot.uniform(0.75, 1.0)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncGenerator[tuple[Connection, int]]:
        """Open a stream, and tell how often it was asked for again; it is hung up at the end.

        Raises Refused, OSError, TimeoutError.
        """
        connection, retries = await self._patiently(lambda _: self._opened(path))
        try:
            yield connection, retries
        finally:
            connection.close()

    async def _opened(self, path: str) -> Connection:
        connection = await connect(self.url)
        try:
            connection.ask("GET", path, headers=self._headers)
            await connection.stream_open()
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Hang up what is kept."""
        while self._idle:
            self._idle.pop()[1].close()


def _is_worth_another(failure: Refused | OSError) -> bool:
    # TimeoutError is an OSError too: who waited a minute for an answer waits no second one.
    if isinstance(failure, Refused):
        return failure.status in _AGAIN or failure.status >= 500
    return not isinstance(failure, TimeoutError)


def message(text: str) -> Mapping[str, Any]:
    """Return the body that sends one user message."""
    return {"events": [{"type": "user.message", "content": [{"type": "text", "text": text}]}]}
