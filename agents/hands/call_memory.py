"""What a host remembers of calls, so that a repeated call id is answered and never run again (law 5).

Invariant: for one id there is one run. A repeat while the first still runs waits for it. A run goes on when
nobody waits for it any more: who asked may have died, and whoever takes over asks again. It ends early only
when it is cancelled, and is then remembered as cancelled, for its effects may be partial; so is an id that is
cancelled before it is known here. A run that was refused for want of room has not begun, and is not kept. The memory
is bounded by count and by size; finished entries go, oldest first, and of a finished run only its result is kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from agents.errors import Overloaded
from agents.hands.port import ToolCall, ToolResult

CANCELLED = "the call was cancelled while it ran; what it did until then stays done"
_CANCEL_SECONDS = 15.0
_MAX_ENTRIES = 16_384
"""Some 16 MB without the results: minutes of a busy host, while an owner of sessions is replaced in seconds."""
_MAX_CHARS = 64 * 1024 * 1024

Key = tuple[str, str]
"""Session id and call id."""


class Result(Protocol):
    """What a call comes to: of a sandbox's tool, or of a hand's."""

    @property
    def content(self) -> list[dict[str, Any]]: ...


R = TypeVar("R", bound=Result)


@dataclass(slots=True)
class RememberedCall(Generic[R]):
    """One call: its run, and how many wait for it."""

    run: asyncio.Future[R]
    waiting: int = 0
    chars: int = 0


class CallMemory(Generic[R]):
    """Calls of one host, running and finished."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Key, RememberedCall[R]] = OrderedDict()
        self._of_session: defaultdict[str, set[Key]] = defaultdict(set)
        self._chars = 0
        self.has_forgotten = False
        """Whether a finished call went for want of room: an unknown one may have run here, then."""

    def __contains__(self, key: Key) -> bool:
        return key in self._calls

    def join(self, key: Key, start: Callable[[], asyncio.Task[R]]) -> RememberedCall[R]:
        """Return the call *key*, started with *start* when it is new; pair it with ``leave``."""
        call = self._calls.get(key) or self._add(key, start())
        call.waiting += 1
        return call

    def _add(self, key: Key, run: asyncio.Future[R]) -> RememberedCall[R]:
        call = RememberedCall(run)
        self._calls[key] = call
        self._of_session[key[0]].add(key)
        run.add_done_callback(lambda _: self._finished(key))
        return call

    def leave(self, call: RememberedCall[R]) -> None:
        """Stop waiting; the run goes on."""
        call.waiting -= 1

    def cancel(self, keys: Iterable[Key]) -> None:
        """Stop these calls, without waiting until they have; one that is not known yet will never run."""
        for key in keys:
            if key not in self._calls:
                self._add(key, asyncio.get_running_loop().create_future())
            self._calls[key].run.cancel()

    async def end(self, session_id: str | None = None) -> None:
        """Cancel what runs (of one session, or all of it) and wait, within bounds, until it has ended."""
        keys = self._calls if session_id is None else self._of_session.get(session_id, ())
        running = {self._calls[key].run for key in keys if not self._calls[key].run.done()}
        for run in running:
            run.cancel()
        if running:
            await asyncio.wait(running, timeout=_CANCEL_SECONDS)

    async def idle(self) -> None:
        """Return when no call runs."""
        while running := {call.run for call in self._calls.values() if not call.run.done()}:
            await asyncio.wait(running)

    async def results(
        self: CallMemory[ToolResult], calls: Sequence[ToolCall], joined: Sequence[RememberedCall[ToolResult]]
    ) -> AsyncGenerator[ToolResult, None]:
        """Yield one result per call of a sandbox's tool as they finish; leaves every call at the end."""
        runs = [remembered.run for remembered in joined]
        waiting = set(runs)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for call, run in zip(calls, runs, strict=True):
                    if run in done:
                        yield ToolResult.error(call.call_id, CANCELLED) if run.cancelled() else run.result()
        finally:
            for remembered in joined:
                self.leave(remembered)

    def forget(self, session_id: str) -> None:
        """Drop the finished calls of a session."""
        for key in list(self._of_session.get(session_id, ())):
            if self._calls[key].run.done():
                self._drop(key)

    def _finished(self, key: Key) -> None:
        call = self._calls.get(key)
        if call is None:
            return
        fault = None if call.run.cancelled() else call.run.exception()
        if isinstance(fault, Overloaded):
            self._drop(key)
            return
        if fault is None and not call.run.cancelled():
            call.chars = sum(_size(block) for block in call.run.result().content)
            self._chars += call.chars
        call.run = _outcome(call.run)
        while len(self._calls) > _MAX_ENTRIES or self._chars > _MAX_CHARS:
            oldest = next((key for key, old in self._calls.items() if old.run.done() and old.waiting == 0), None)
            if oldest is None:
                return
            self._drop(oldest)
            self.has_forgotten = True

    def _drop(self, key: Key) -> None:
        self._chars -= self._calls.pop(key).chars
        keys = self._of_session[key[0]]
        keys.discard(key)
        if not keys:
            del self._of_session[key[0]]


def _outcome(run: asyncio.Future[R]) -> asyncio.Future[R]:
    """Return a future that has ended like *run*, without what a finished task still holds on to."""
    outcome: asyncio.Future[R] = run.get_loop().create_future()
    if run.cancelled():
        outcome.cancel()
    elif (fault := run.exception()) is not None:
        outcome.set_exception(fault)
        outcome.exception()  # heard: whoever waits is told
    else:
        outcome.set_result(run.result())
    return outcome


def _size(block: dict[str, Any]) -> int:
    source: dict[str, str] = block.get("source") or {}
    return len(block.get("text") or "") + len(source.get("data") or "")
