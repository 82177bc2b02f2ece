"""Giving the calls that servers run their results, whatever dies meanwhile (law 5, ADR 0009, ADR 0023).

The sibling of ``dispatch``, for MCP servers, hands and web tools. The intent of a call is committed before it is sent.
From what its server then does or does not answer follows one result: the tool's, or that it was not run, or (nobody
knows whether it took effect, and its tool must not be repeated) that it is ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from agents.errors import HecatonError, Overloaded
from agents.hands.servers.bounded import NOT_RUN, bounded_call
from agents.hands.servers.port import NotIntended, ServerCall, ServerLost, ServerResult
from agents.ids import EventId
from agents.sessions import transitions
from agents.sessions.large_results import fitted
from agents.sessions.ledger import intend
from agents.sessions.metering import served_call_row
from agents.sessions.owner import ThreadOwner
from agents.sessions.ports import HarnessPorts
from agents.sessions.served import ServedTool, caller_of, system_message
from agents.sessions.state import SessionState
from agents.sessions.thread_state import OpenCall

_MOST_RUNS = 3
"""A call that takes its server down with it must not do so for ever."""
_SHORTEST_WAIT_SECONDS = 0.05
_FIRST_WAIT_SECONDS = 0.25
_LONGEST_WAIT_SECONDS = 10.0
"""How long a call waits before it knocks again at a full queue that does not say when."""


class ServedCall:
    """One call that a server runs, until it has its result."""

    def __init__(self, owner: ThreadOwner, call: OpenCall, tool: ServedTool, maybe_sent: set[EventId]) -> None:
        """*maybe_sent* names the session's calls that may have been sent; it is kept up."""
        self._owner = owner
        self._ports = owner.ports
        self._call = call
        self._tool = tool
        self._maybe_sent = maybe_sent
        self._may_have_run = call.id in maybe_sent
        """Whether the call may have taken effect in a run whose answer nobody got."""
        self._limit = owner.ports.settings.mcp.call_timeout_seconds
        self._end = owner.ports.clock.monotonic() + self._limit

    async def run(self) -> None:
        """Record the call's result. Raises what the log raises."""
        if not self._call.cleared:
            words = "The call was not run: the approval in the log is for another tool or for other arguments."
            await self._record(ServerResult.error(self._call.id, words, "failed"))
            return
        self._ports.effects.resumed += self._may_have_run
        try:
            if not self._intent and (known := self._owner.rules.destination(self._tool)) is not None:
                await self._intend(known)
            result = await self._result()
        except _IntentNotKept as stop:
            if stop.failure is not None:
                raise stop.failure from None
            return
        await self._record(result)

    @property
    def _intent(self) -> str:
        return self._owner.state.record.dispatched.get(self._call.id, "")

    async def _intend(self, destination: str) -> None:
        """Have the ledger name where the call is about to go. Raises _IntentNotKept."""
        if self._intent != destination:
            try:
                await self._owner.apply(lambda draft: intend(draft, {self._call.id: destination}))
            except Exception as failure:
                raise _IntentNotKept(failure) from failure
        if self._call.id not in self._owner.state.calls:
            raise _IntentNotKept(None)
        self._maybe_sent.add(self._call.id)

    async def _result(self) -> ServerResult:
        """Ask until there is an answer, or nothing more to be asked."""
        again, runs, wait, waited = self._may_have_run, 0, _FIRST_WAIT_SECONDS, 0.0
        while True:
            if self._intent:
                self._maybe_sent.add(self._call.id)
            try:
                result = await self._ask(again=again)
                used = result.consumption
                return replace(result, consumption=replace(used, queue_seconds=used.queue_seconds + waited))
            except Overloaded as full:
                failure, pause = full, max(full.retry_after or wait, _SHORTEST_WAIT_SECONDS)
                wait = min(wait * 2, _LONGEST_WAIT_SECONDS)
                if pause >= self._seconds_left():
                    return self._lost(failure) if self._may_have_run else self._refused(failure)
                await self._ports.clock.sleep(pause)
                waited += pause
            except NOT_RUN as failure:
                return self._lost(failure) if self._may_have_run else self._refused(failure)
            except HecatonError as failure:
                if not self._intent:
                    return self._refused(failure)
                self._may_have_run, again, runs = True, False, runs + 1
                # What may still be running can not be left alone with its repetition.
                gone = isinstance(failure, ServerLost)
                if not (gone and self._tool.repeatable) or runs == _MOST_RUNS or self._seconds_left() <= 0:
                    return self._lost(failure)
                self._ports.effects.repeated += 1

    async def _ask(self, *, again: bool) -> ServerResult:
        """Have the server run the call. Raises HecatonError, _IntentNotKept."""
        state = self._owner.state
        caller = caller_of(state.record, state.session.hand_versions)
        left = max(self._seconds_left(), 0.0)
        call = self._tool.call(self._call.id, self._call.input, state.agent, deadline=left)
        call = replace(call, again=again, intent=self._intent, intend=self._intend)
        if not self._tool.server:
            call = replace(call, context=[*state.conversation.given(), *system_message(state.agent)])
        with self._owner.trace.asking(self._call.id, "hecaton-hand", "call_tool"):
            return await bounded_call(self._ports.servers, call, caller, limit=self._limit)

    def _seconds_left(self) -> float:
        return self._end - self._ports.clock.monotonic()

    # -- results ---------------------------------------------------------------------------------

    def _refused(self, failure: HecatonError) -> ServerResult:
        return ServerResult.error(self._call.id, f"The tool call was not run: {failure.message}.", "failed")

    def _lost(self, failure: HecatonError) -> ServerResult:
        text = (
            f"No answer came to this tool call ({failure.message}). The call may have taken effect fully, partly or "
            "not at all: check what it did before repeating it."
        )
        return ServerResult.error(self._call.id, text, "ambiguous")

    async def _record(self, result: ServerResult) -> None:
        result, kept = await fitted(self._ports, self._owner.state, result)
        self._ports.effects.ambiguous += result.outcome == "ambiguous"
        if result.outcome != "failed":
            # Before the commit: a row counts once however often it comes, and a lost commit is made up for.
            row = served_call_row(result, self._owner.state.record.id, self._call.name, self._ports.clock.now())
            await self._ports.meter.record([row])
        await self._owner.apply(lambda draft: transitions.record_served(draft, self._owner.rules, result, kept))


class _IntentNotKept(NotIntended):
    """The ledger does not name where the call was to go: the log failed, or the call has been closed meanwhile."""

    def __init__(self, failure: Exception | None) -> None:
        super().__init__(str(failure))
        self.failure = failure


def recall(ports: HarnessPorts, state: SessionState, calls: Iterable[OpenCall]) -> None:
    """Have calls that were closed without their result stopped where they run, without waiting for it."""
    gone: list[ServerCall] = [
        call.served.call(call.id, call.input, state.record.agent, deadline=0.0)
        for call in calls
        if call.served is not None
    ]
    ports.servers.cancel(gone, caller_of(state.record, state.hand_versions))
