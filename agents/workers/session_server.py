"""Serving one session's sandbox tools from elsewhere: read its events, run its calls, send their results.

The session's log decides: whatever has a result in it is settled, whatever has none is to be run, and a call id
is run once however often it is read, for the sandbox host remembers it. Calls of one answer run beside each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx2

from agents.errors import HecatonError, Unavailable
from agents.hands.port import Hands, MountKind, ToolCall, ToolResult, Workspace
from agents.sessions.permissions import SANDBOX_TOOLS
from agents.workers.journal import SessionJournal
from agents.workers.plain_names import is_plain
from agents.workers.run_call import run_call
from agents.workers.session_mounts import mounts_of
from agents.workers.transience import PASSING, is_final, pause, words

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 10.0
_SILENT = httpx2.Timeout(90.0, connect=10.0)
"""A stream is opened anew when nothing has come on it for so long: the server may be gone without a word."""
_PAGE = 1000
_DELETED = "session.deleted"
_OVER = frozenset({"session.status_terminated", _DELETED})
_NEUTRAL = frozenset({"user.tool_confirmation", "session.thread_status_terminated"})
"""Events of an idle session after which it is as idle as before (spec D.3)."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How sessions are served."""

    environment: dict[str, Any]
    """Config of the sandboxes here: their networking, as an environment of this platform says it."""
    max_idle_seconds: float = 60.0
    """How long a session whose turn is over is stayed with."""
    call_seconds: float = 150.0
    mounts: frozenset[MountKind] = frozenset()
    """What the hands can get from the sessions' own server and mount; the rest is left out."""


class SessionServer:
    """Serves one session until it has nothing to do, is over, or ``finish`` is called."""

    def __init__(
        self,
        client: AsyncAnthropic,
        session_id: str,
        sandbox: str,
        hands: Hands,
        journal: SessionJournal,
        options: ServeOptions,
        *,
        send_seconds: Callable[[], float],
    ) -> None:
        """*sandbox* is what the hands call the session, *journal* its own.

        *send_seconds* says for how long a result is worth sending again: as long as a lease.
        """
        self._client = client
        self._events = client.beta.sessions.events
        self._id = session_id
        self._hands = hands
        self._journal = journal
        self._options = options
        self._send_seconds = send_seconds
        self._session = Workspace(sandbox, options.environment)
        self._last_event: str | None = None
        """Type of the event that the session is over with; None while it is not."""
        self._answered: set[str] = set()
        self._denied: set[str] = set()
        self._allowed: set[str] = set()
        self._held: dict[str, Any] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._draining = False
        self._turn_over: float | None = None
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Whether the session has ended for good."""
        return self._last_event is not None

    @property
    def deleted(self) -> bool:
        return self._last_event == _DELETED

    async def run(self) -> None:
        """Serve. Raises what the server finally refuses, and Unavailable when the journal cannot be read."""
        await self._journal.load()
        reader = asyncio.create_task(self._read(), name=f"events of {self._id}")
        idle = asyncio.create_task(self._idle(), name=f"idleness of {self._id}")
        try:
            await asyncio.wait({reader, idle}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()
        finally:
            for task in (reader, idle):
                task.cancel()
            await asyncio.gather(reader, idle, return_exceptions=True)

    def finish(self) -> None:
        """Begin no more calls; ``run`` returns when those under way have their results sent."""
        self._draining = True
        self._changed.set()

    async def abandon(self, *, stop_calls: bool) -> None:
        """Leave the calls under way; *stop_calls* unless whoever has the session next goes on with these very ones."""
        if stop_calls:
            self._stop(self._running)
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    # -- what the session says -------------------------------------------------------------------

    async def _read(self) -> None:
        """Follow the session's events until it is over."""
        # Before anything runs: hosts make a sandbox with what its first call says.
        mounts = await mounts_of(self._client, self._id, self._options.mounts)
        self._session = replace(self._session, mounts=mounts)
        attempt = 0
        while True:
            try:
                # The stream first: what happens between it and the list is in both, and lost in neither.
                async with await self._events.stream(self._id, timeout=_SILENT) as stream:
                    if await self._catch_up():
                        return
                    async for event in stream:
                        attempt = 0
                        if self._take(event):
                            return
            except (*PASSING, Unavailable) as error:
                if is_final(error):
                    raise
                logger.info("events of %s: %s", self._id, words(error))
            attempt += 1
            await asyncio.sleep(pause(attempt, _LONGEST_PAUSE_SECONDS))

    async def _catch_up(self) -> bool:
        """Read the history; what it leaves unanswered is run. Returns whether the session is over."""
        history = [event async for event in self._events.list(self._id, limit=_PAGE)]
        for event in history:
            self._note(event)
        if self.over:
            return True
        await self._journal.settle(self._answered)
        for event in history:
            self._take(event)
        return False

    def _note(self, event: Any) -> None:
        """Learn what is settled, before anything is run."""
        match event.type:
            case "user.tool_result":
                self._answered.add(event.tool_use_id)
            case "user.tool_confirmation":
                (self._allowed if event.result == "allow" else self._denied).add(event.tool_use_id)
            case last if last in _OVER:
                self._last_event = last
            case _:
                pass

    def _take(self, event: Any) -> bool:
        """Act on an event; returns whether it is the session's last."""
        self._note(event)
        if event.type == "session.status_idle":
            over = event.stop_reason.type != "requires_action"
            self._turn_over = asyncio.get_running_loop().time() if over else None
        elif event.type not in _NEUTRAL:
            self._turn_over = None
        match event.type:
            case "agent.tool_use" if event.name in SANDBOX_TOOLS:
                self._consider(event)
            case "user.tool_confirmation" if (held := self._held.pop(event.tool_use_id, None)) is not None:
                self._consider(held)
            case "user.tool_result":
                self._call_off(event.tool_use_id)
            case _:
                pass
        self._changed.set()
        return self.over

    def _consider(self, event: Any) -> None:
        permission = getattr(event, "evaluated_permission", None) or "allow"
        if event.id in self._answered or event.id in self._running or event.id in self._denied:
            return
        if permission == "allow" or (permission != "deny" and event.id in self._allowed):
            if not self._draining:
                self._begin(event)
        elif permission != "deny":
            self._held[event.id] = event

    def _call_off(self, call_id: str) -> None:
        """Stop a call that has its result by now: the server closed it, or another worker was quicker."""
        if (task := self._running.get(call_id)) is None:
            return
        if call_id in self._journal.sent:
            self._stop([call_id])
        else:
            task.cancel()

    def _stop(self, call_ids: Iterable[str]) -> None:
        """Stop calls where they run. One that has been sent nowhere yet is not to be remembered as stopped."""
        if sent := {call_id: host for call_id in call_ids if (host := self._journal.sent.get(call_id)) is not None}:
            self._hands.cancel(self._session.session_id, sent)

    # -- calls -----------------------------------------------------------------------------------

    def _begin(self, event: Any) -> None:
        task = asyncio.create_task(self._serve(event), name=f"call {event.id}")
        self._running[event.id] = task

        def ended(done: asyncio.Task[None]) -> None:
            self._running.pop(event.id, None)
            self._changed.set()
            if not done.cancelled() and (fault := done.exception()) is not None:
                logger.error("the call %s was not served", event.id, exc_info=fault)

        task.add_done_callback(ended)

    async def _serve(self, event: Any) -> None:
        logger.info("%s: %s %s", self._id, event.name, event.id)
        result = await self._result(event)
        if event.id in self._answered or await self._send(event.id, result):
            try:
                await self._journal.settle([event.id])
            except Unavailable as error:
                logger.info("the end of %s is not noted: %s", event.id, error.message)

    async def _result(self, event: Any) -> ToolResult:
        if not is_plain(event.id):
            return ToolResult.error(event.id, "The tool call was not run: its id is not a plain name.")
        call = ToolCall(event.id, event.name, dict(event.input), self._options.call_seconds)
        try:
            result = await run_call(self._hands, self._session, self._journal, call)
        except HecatonError as error:
            return ToolResult.error(event.id, f"The tool call was not run: {error.message}.")
        self._journal.ran(result.host, result.version)
        return result

    async def _send(self, call_id: str, result: ToolResult) -> bool:
        """Send a result until the server has it, or has refused it, or the lease cannot be ours any more.

        Returns whether it has it.
        """
        body: Any = {
            "type": "user.tool_result",
            "tool_use_id": call_id,
            "is_error": result.is_error,
            "content": result.content,
        }
        now = asyncio.get_running_loop().time
        began, attempt = now(), 0
        while True:
            try:
                await self._events.send(self._id, events=[body])
                self._answered.add(call_id)
                return True
            except PASSING as error:
                attempt += 1
                if is_final(error) or now() - began > self._send_seconds():
                    logger.warning("the result of %s was not taken: %s", call_id, words(error))
                    return False
            await asyncio.sleep(pause(attempt, _LONGEST_PAUSE_SECONDS))

    async def _idle(self) -> None:
        """Return when the session's turn has been over for long enough, or calls have ended that shall be the last."""
        now = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            wait: float | None = None
            if not self._running:
                if self._draining:
                    return
                if self._turn_over is not None:
                    wait = self._turn_over + self._options.max_idle_seconds - now()
                    if wait <= 0:
                        return
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue
