"""One row, from its task to its result: a session, its turn, what came of it, and perhaps another session."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx2
from anthropic import APIError, APIStatusError

from agents.batch.journal import Change, began, bound, failed, finished
from agents.batch.patience import GivenUp, Patience, is_passing, may_have_worked, told
from agents.batch.platform_sessions import PlatformSessions
from agents.batch.row import Attempt, OpenRow
from agents.batch.task_file import Task
from agents.batch.turn_log import TurnLog
from agents.batch.turn_runner import TurnRunner

_INTERRUPT = {"type": "user.interrupt"}
_AFTER_SECONDS = 30.0
"""How long a session that took too long is asked to stop, and what it used is asked for."""
_ANOTHER_MAY = frozenset({"retries_exhausted", "terminated", "deleted"})
"""Ends that are no word of the model's and no limit of the user's: another session might get further."""

Write = Callable[[Change], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RowRules:
    """How rows are run."""

    attempts: int = 1
    """Sessions that a row may take in one run of the batch."""
    seconds: float = 3600.0
    """How long one session may take."""
    allow: bool = False
    """Whether tool calls that ask for permission are allowed, or denied."""


class RowRunner:
    """Runs rows, any number at a time; what must not be forgotten goes through *write* before it is acted on."""

    def __init__(self, sessions: PlatformSessions, patience: Patience, write: Write, rules: RowRules) -> None:
        self._sessions = sessions
        self._patience = patience
        self._write = write
        self._rules = rules
        self._turns = TurnRunner(sessions, patience, allow=rules.allow)

    async def run(self, row: OpenRow, task: Task) -> Attempt:
        """Return what came of the row, once it is in the journal. Raises BatchStopped, sqlite3.Error."""
        attempt = await self._attempt(row, task)
        for _ in range(self._rules.attempts - 1):
            if not attempt.again:
                break
            await self._write(failed(row.line, attempt))
            row = replace(row, attempts=row.attempt, attempt_began=None, session=None)
            attempt = await self._attempt(row, task)
        await self._write(finished(row.line, attempt, time.time()))
        return attempt

    async def _attempt(self, row: OpenRow, task: Task) -> Attempt:
        log = TurnLog()
        try:
            session, fresh = await self._session(row, task)
        except GivenUp as refusal:
            return _refused(refusal)
        try:
            async with asyncio.timeout(self._rules.seconds):
                await self._turns.run(session, task.events(), log, fresh=fresh)
        except TimeoutError:
            return await self._interrupted(session, log)
        except GivenUp as refusal:
            return await self._with_use(session, _refused(refusal, log))
        return await self._with_use(session, _ended(log))

    async def _session(self, row: OpenRow, task: Task) -> tuple[str, bool]:
        """Return the row's session, and whether it was made just now. The journal knows it before anything is sent."""
        if row.session is not None:
            return row.session, False
        session, at = None, row.attempt_began
        if at is not None:
            # A process died between asking for a session and noting it.
            session = await self._patience.ask(lambda: self._sessions.find(task, row.line, row.attempt, at))
        if session is None:
            session = await self._made(row, task)
        await self._write(bound(row.line, session))
        return session, True

    async def _made(self, row: OpenRow, task: Task) -> str:
        since, at, tries = self._patience.now(), time.time(), 0
        attempt = row.attempt
        await self._write(began(row.line, attempt, at))
        while True:
            try:
                session = await self._sessions.create(task, row.line, attempt)
            except (APIError, httpx2.HTTPError) as error:
                await self._patience.wait_out(error, since, tries)
                tries += 1
                # An answer may have been lost, not the request: an empty session would stay behind.
                if may_have_worked(error):
                    found = await self._patience.ask(lambda: self._sessions.find(task, row.line, attempt, at))
                    if found is not None:
                        return found
            else:
                self._patience.heard()
                return session

    async def _interrupted(self, session: str, log: TurnLog) -> Attempt:
        late = _of(log, "timeout", f"the session was not done after {self._rules.seconds:g} s")
        try:
            async with asyncio.timeout(_AFTER_SECONDS):
                await self._patience.ask(lambda: self._sessions.send(session, [_INTERRUPT], "timeout"))
                return await self._with_use(session, late)
        except (TimeoutError, GivenUp):
            return late

    async def _with_use(self, session: str, attempt: Attempt) -> Attempt:
        try:
            spent, evaluation = await self._patience.ask(lambda: self._sessions.spent(session))
        except GivenUp:
            return attempt  # the session is gone, and with it what it used
        return replace(attempt, spent=spent, evaluation=evaluation)


def _ended(log: TurnLog) -> Attempt:
    if log.stop == "end_turn":
        return replace(_of(log), outcome="ok")
    kind, message = log.error or (str(log.stop), f"the session stopped: {log.stop}")
    return replace(_of(log, kind, message), again=log.stop in _ANOTHER_MAY)


def _refused(refusal: GivenUp, log: TurnLog | None = None) -> Attempt:
    error = refusal.error
    kind = "connection_lost"
    if isinstance(error, APIStatusError):
        body: object = error.body
        fields = cast("dict[str, Any]", body) if isinstance(body, dict) else dict[str, Any]()
        inner: dict[str, Any] = fields.get("error") or {}
        kind, message = str(inner.get("type") or f"http_{error.status_code}"), str(inner.get("message") or error)
    else:
        message = told(error)
    return replace(_of(log or TurnLog(), kind, message), again=is_passing(error))


def _of(log: TurnLog, error_type: str | None = None, error: str | None = None) -> Attempt:
    return Attempt(
        outcome="error",
        stop_reason=log.stop,
        error_type=error_type,
        error=error,
        answer=log.answer,
        model_requests=log.model_requests,
        tool_calls=log.tool_calls,
    )
