"""Giving tool calls their results by the ledger's rules, whatever dies meanwhile (law 5, ADR 0009).

A call goes to the host of its committed intent. If nothing of it can have reached that host it may go to
another one, under a new intent. If the host was lost with it, it is run again elsewhere when its tool is
repeatable; else its result says that nobody knows what it did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from agents.errors import HecatonError, Unavailable
from agents.hands.port import CallNotSent, CallRefused, HostLost, ToolCall, ToolResult
from agents.hands.toolset import REPEATABLE
from agents.ids import EventId
from agents.sessions import transitions
from agents.sessions.ledger import intend, workspace_of
from agents.sessions.metering import tool_call_rows
from agents.sessions.owner import ThreadOwner
from agents.sessions.thread_state import OpenCall

logger = logging.getLogger(__name__)

_MOST_HOSTS = 3
"""A call that takes its host down with it must not take them all down."""
_MOST_PLACES = 20
"""Hosts that a call never began on cost it nothing; but whoever names them must not name them for ever."""


class Dispatch:
    """One batch: calls with the same intent, or with none yet, until each of them has its result."""

    def __init__(
        self, owner: ThreadOwner, host: str | None, calls: Sequence[OpenCall], maybe_sent: set[EventId]
    ) -> None:
        """*host* is the committed intent of *calls*, None when they have none.

        *maybe_sent* names the session's calls that may have reached the host of their intent; it is kept up.
        """
        self._owner = owner
        self._host = host
        self._ports = owner.ports
        self._left = {call.id: call for call in calls}
        self._names = {call.id: call.name for call in calls}
        self._maybe_sent = maybe_sent
        self._earlier: set[EventId] = set()
        """Calls that may have reached their host before the present attempt."""
        self._run_before: set[EventId] = set()
        """Calls that go out again although they may have taken effect once."""
        self._why = "no sandbox host answered in time"
        self._end = owner.ports.clock.monotonic() + owner.ports.settings.sandbox.tool_timeout_seconds

    async def run(self) -> None:
        """Record a result for every call. Raises what the log raises."""
        await self._refuse_unapproved()
        self._ports.effects.resumed += len(self._maybe_sent & self._left.keys())
        host = self._host
        hosts = 0
        for _ in range(_MOST_PLACES):
            if not self._left:
                return
            host = host or await self._new_place()
            if host is None or (failure := await self._send(host)) is None:
                break
            self._why = failure.message
            await self._sort_out(failure)
            hosts += not isinstance(failure, CallNotSent)
            if hosts == _MOST_HOSTS:
                break
            host = None
        if self._left:
            await self._give_up()

    async def _refuse_unapproved(self) -> None:
        unapproved = [call.id for call in self._left.values() if not call.cleared]
        for call_id in unapproved:
            del self._left[call_id]
        text = "The call was not run: the approval in the log is for another tool or for other arguments."
        await self._record([ToolResult.error(call_id, text) for call_id in unapproved], ran=False)

    # -- hosts -----------------------------------------------------------------------------------

    def _seconds_left(self) -> float:
        return self._end - self._ports.clock.monotonic()

    async def _new_place(self) -> str | None:
        """Find a host and commit it as the intent of the calls; None when there is none in time."""
        if self._seconds_left() <= 0 or (host := await self._locate()) is None:
            return None
        intents = dict.fromkeys(self._left, host)
        await self._owner.apply(lambda draft: intend(draft, intents))
        self._ports.effects.repeated += len(self._run_before & self._left.keys())
        return host

    async def _locate(self) -> str | None:
        try:
            async with asyncio.timeout(self._seconds_left()):
                return await self._ports.hands.locate(workspace_of(self._owner.state.record))
        except HecatonError as error:
            self._why = error.message
        except TimeoutError:
            pass
        return None

    async def _send(self, host: str) -> HecatonError | None:
        """Have *host* run the calls and record their results; returns why some are missing."""
        self._earlier = self._maybe_sent & self._left.keys()
        self._maybe_sent |= self._left.keys()
        async with aclosing(self._results(host)) as results:
            async for result in results:
                if isinstance(result, HecatonError):
                    return result
                if self._left.pop(EventId(result.call_id), None) is not None:
                    await self._record([result])
        return Unavailable("the sandbox host ended without an answer") if self._left else None

    async def _results(self, host: str) -> AsyncGenerator[ToolResult | HecatonError, None]:
        """Yield what the hands answer, and last what they raise: only their failures count as theirs."""
        workspace = workspace_of(self._owner.state.record)
        limit = min(self._ports.settings.sandbox.tool_timeout_seconds, self._seconds_left())
        calls = [ToolCall(call.id, call.name, call.input, limit) for call in self._left.values()]
        # Several calls travel together: then what the host says of them is the turn's, and no call's own.
        only = calls[0].call_id if len(calls) == 1 else None
        try:
            with self._owner.trace.asking(only, "hecaton-sandbox-host", "execute"):
                async with aclosing(self._ports.hands.execute(workspace, calls, host=host)) as results:
                    async for result in results:
                        yield result
        except HecatonError as error:
            yield error
        except Exception:
            # Tool-call border: whatever broke between here and the hand, the session goes on (law 6).
            logger.exception("hands failed for %s", workspace.session_id)
            yield Unavailable("the sandbox failed while the call ran")

    # -- losses ----------------------------------------------------------------------------------

    async def _sort_out(self, failure: HecatonError) -> None:
        """Give the calls that may have taken effect, and must not be repeated, their result; the others go on."""
        match failure:
            case CallRefused():
                lost = set[EventId]()
            case CallNotSent():
                lost = self._earlier & self._left.keys()
            case _:
                lost = set(self._left)
        # A host that may still be running the call can not be left alone with it.
        gone = isinstance(failure, CallNotSent | HostLost)
        again = {call_id for call_id in lost if gone and self._left[call_id].name in REPEATABLE}
        await self._call_ambiguous(lost - again)
        self._run_before |= again
        self._maybe_sent -= self._left.keys()

    async def _give_up(self) -> None:
        await self._call_ambiguous(self._left.keys() & self._run_before)
        text = f"The tool call was not run: {self._why}."
        await self._record([ToolResult.error(call_id, text) for call_id in self._left], ran=False)

    async def _call_ambiguous(self, call_ids: Iterable[EventId]) -> None:
        results = [ToolResult.unknown(call_id, self._why) for call_id in call_ids]
        for result in results:
            del self._left[EventId(result.call_id)]
        await self._record(results)
        self._ports.effects.ambiguous += len(results)

    async def _record(self, results: list[ToolResult], *, ran: bool = True) -> None:
        if not results:
            return
        if ran:
            # Before the commit: a row counts once however often it comes, and a lost commit is made up for.
            rows = tool_call_rows(results, self._owner.state.record.id, self._names, self._ports.clock.now())
            await self._ports.meter.record(rows)
        await self._owner.apply(lambda draft: transitions.record_results(draft, self._owner.rules, results))
