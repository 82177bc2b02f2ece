"""Running one call on a sandbox host, whatever becomes of the host meanwhile (law 5, ADR 9).

As for the platform's own sessions: a call is noted before it goes to a host; if nothing of it can have reached that
host it goes to another one. If the host was lost with it, it is run again elsewhere when its tool is repeatable; else
its result says that nobody knows what it did.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from agents.errors import HecatonError, Unavailable
from agents.hands.port import CallNotSent, CallRefused, Hands, HostLost, ToolCall, ToolResult, Workspace
from agents.hands.toolset import REPEATABLE
from agents.workers.journal import SessionJournal

_MOST_HOSTS = 3
"""A call that takes its host down with it must not take them all down."""
_MOST_PLACES = 20


async def run_call(hands: Hands, session: Workspace, journal: SessionJournal, call: ToolCall) -> ToolResult:
    """Return the call's result; *session* says who it is, *journal* where its files are and where the call may run.

    Raises HecatonError when the call was not run.
    """
    now = asyncio.get_running_loop().time
    end = now() + call.deadline
    earlier = journal.sent.get(call.call_id)
    lost_with = 0
    why: HecatonError = Unavailable("no sandbox host could take the call")
    for _ in range(_MOST_PLACES):
        try:
            host = earlier or await _locate(hands, session, journal, end - now())
            if earlier is None:
                await journal.send(call.call_id, host)
        except HecatonError as error:
            why = error
            break
        try:
            return await _result(hands, _as_known(session, journal, journal.result_host), call, host)
        except HecatonError as error:
            why = error
        lost = not isinstance(why, CallNotSent) or (earlier is not None and not isinstance(why, CallRefused))
        lost_with += lost
        # One that may still be running the call must not be left alone with it.
        gone = isinstance(why, CallNotSent | HostLost)
        if lost and not (gone and call.name in REPEATABLE and lost_with < _MOST_HOSTS):
            break
        earlier = None
    if lost_with:
        return ToolResult.unknown(call.call_id, why.message)
    raise why


async def _locate(hands: Hands, session: Workspace, journal: SessionJournal, seconds: float) -> str:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            # Where other calls are under way, whether or not any has had its result yet.
            return await hands.locate(_as_known(session, journal, journal.host))
    except TimeoutError:
        raise Unavailable("no sandbox host was up in time") from None


async def _result(hands: Hands, workspace: Workspace, call: ToolCall, host: str) -> ToolResult:
    async with aclosing(hands.execute(workspace, [call], host=host)) as results:
        async for result in results:
            return result
    raise Unavailable("the sandbox host ended without an answer")


def _as_known(session: Workspace, journal: SessionJournal, host: str | None) -> Workspace:
    return replace(session, host=host, version=journal.version)
