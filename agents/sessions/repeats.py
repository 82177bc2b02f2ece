"""Answering a client's automatic retry from memory (spec H-7).

The SDK retries a POST whose answer was lost and marks the retry. Within a short span a retry of a
byte-identical body is answered with the first attempt's answer, also while that one is still under way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from agents.clock import Clock

_MAX_REMEMBERED = 2_000

Echoes = list[dict[str, Any]]


class RepeatMemory:
    """Recent answers by request digest; bounded in number and time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._answers: OrderedDict[str, tuple[float, asyncio.Future[Echoes]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answers)

    async def once(self, key: str | None, work: Callable[[], Awaitable[Echoes]]) -> Echoes:
        """Do *work*, unless *key* (``<session>/<retry count>:<digest>``) marks a retry of work already done."""
        if key is None or self._seconds == 0:
            return await work()
        digest, is_retry = _split(key)
        now = self._clock.monotonic()
        known = self._answers.get(digest)
        if is_retry and known is not None and now - known[0] <= self._seconds:
            return await asyncio.shield(known[1])
        answer: asyncio.Future[Echoes] = asyncio.ensure_future(work())
        self._answers[digest] = (now, answer)
        self._answers.move_to_end(digest)
        answer.add_done_callback(lambda done: self._forget_failure(digest, done))
        self._forget_old(now)
        return await asyncio.shield(answer)

    def _forget_old(self, now: float) -> None:
        while self._answers:
            digest, (asked_at, _) = next(iter(self._answers.items()))
            if len(self._answers) <= _MAX_REMEMBERED and now - asked_at <= self._seconds:
                return
            del self._answers[digest]

    def _forget_failure(self, digest: str, done: asyncio.Future[Echoes]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._answers.get(digest, (0, None))[1] is done:
            del self._answers[digest]


def _split(key: str) -> tuple[str, bool]:
    """Take ``<session>/<retry count>:<digest>`` apart."""
    session, _, rest = key.partition("/")
    count, _, digest = rest.partition(":")
    return f"{session}:{digest}", count not in ("", "0")
