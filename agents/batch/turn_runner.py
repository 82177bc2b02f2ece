"""One turn of a session, followed to its end however often the server goes away meanwhile.

The stream only says when to look: what came of the turn is a fold of the log, so a stream that broke, or a process that
died and came back, costs nothing but the way to go again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx2
from anthropic import APIError

from agents.batch.patience import Patience
from agents.batch.platform_sessions import Json, PlatformSessions
from agents.batch.turn_log import TurnLog, answers

_TASK_KEY = "task"


class TurnRunner:
    """Follows turns, any number at a time."""

    def __init__(self, sessions: PlatformSessions, patience: Patience, *, allow: bool) -> None:
        """*allow*: whether calls that ask for permission are allowed, or denied."""
        self._sessions = sessions
        self._patience = patience
        self._allow = allow

    async def run(self, session: str, task: list[Json], log: TurnLog, *, fresh: bool) -> None:
        """Send *task*, unless the log says that it was sent, and note all of the turn in *log*.

        *fresh*: the session was made just now, so nothing can be in its log. Raises GivenUp, BatchStopped.
        """
        tries, away_since, answered = 0, None, set[str]()
        while log.stop is None:
            known = log.events
            try:
                async with self._sessions.stream(session) as events:
                    away_since = None
                    self._patience.heard()
                    if not fresh:
                        await self._read_back(session, log)
                    fresh = False
                    if not log.sent:
                        await self._patience.ask(lambda: self._sessions.send(session, task, _TASK_KEY))
                    await self._follow(session, events, log, answered)
            except (APIError, httpx2.HTTPError) as error:
                tries = 0 if log.events > known else tries
                away_since = self._patience.now() if away_since is None else away_since
                await self._patience.wait_out(error, away_since, tries)
                tries += 1

    async def _read_back(self, session: str, log: TurnLog) -> None:
        for event in await self._patience.ask(lambda: self._sessions.history(session)):
            log.take(event)

    async def _follow(
        self, session: str, events: AsyncIterator[dict[str, Any]], log: TurnLog, answered: set[str]
    ) -> None:
        while True:
            await self._settle(session, log, answered)
            if log.stop is not None:
                return
            event = await anext(events, None)
            if event is None:
                raise httpx2.RemoteProtocolError("the stream ended before the turn did")
            self._patience.heard()
            log.take(event)

    async def _settle(self, session: str, log: TurnLog, answered: set[str]) -> None:
        """Answer the calls that the session stands still for, once each."""
        waiting = {call: kind for call, kind in log.waiting().items() if call not in answered}
        if waiting:
            answered.update(waiting)
            sent, key = answers(waiting, allow=self._allow), " ".join(waiting)
            await self._patience.ask(lambda: self._sessions.send(session, sent, key))
