"""What a host remembers of calls, so that a repeated call id is answered and never run again (law 5).

Invariant: for one id there is one run. A repeat while the first still runs waits for it; the run is
cancelled only when nobody waits any more, and is then remembered as cancelled, for its effects may be
partial. The memory is bounded by count and by size; finished entries go, oldest first.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agents.hands.port import ToolCall, ToolResult

CANCELLED = "the call was cancelled while it ran; what it did until then stays done"
_CANCEL_SECONDS = 15.0
_MAX_ENTRIES = 4096
_MAX_CHARS = 64 * 1024 * 1024

Key = tuple[str, str]
"""Session id and call id."""


@dataclass(slots=True)
class RememberedCall:
    """One call: its run, and how many wait for it."""

    run: asyncio.Task[ToolResult]
    waiting: int = 0
    chars: int = 0


class CallMemory:
    """Calls of one host, running and finished."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Key, RememberedCall] = OrderedDict()
        self._chars = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._calls

    def join(self, key: Key, start: Callable[[], asyncio.Task[ToolResult]]) -> RememberedCall:
        """Return the call *key*, started with *start* when it is new; pair it with ``leave``."""
        call = self._calls.get(key)
        if call is None:
            call = RememberedCall(start())
            self._calls[key] = call
            call.run.add_done_callback(lambda _: self._finished(key))
        call.waiting += 1
        return call

    def leave(self, call: RememberedCall) -> None:
        """Stop waiting; a run that nobody waits for is cancelled."""
        call.waiting -= 1
        if call.waiting == 0 and not call.run.done():
            call.run.cancel()

    async def results(
        self, calls: Sequence[ToolCall], joined: Sequence[RememberedCall]
    ) -> AsyncGenerator[ToolResult, None]:
        """Yield one result per call as they finish; leaves every call at the end, and waits for what that cancels."""
        waiting = {remembered.run for remembered in joined}
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for call, remembered in zip(calls, joined, strict=True):
                    if remembered.run in done:
                        cancelled = remembered.run.cancelled()
                        yield ToolResult.error(call.call_id, CANCELLED) if cancelled else remembered.run.result()
        finally:
            for remembered in joined:
                self.leave(remembered)
            stopping = {call.run for call in joined if call.waiting == 0 and not call.run.done()}
            if stopping:
                await asyncio.wait(stopping, timeout=_CANCEL_SECONDS)

    def forget(self, session_id: str) -> None:
        """Drop the finished calls of a session."""
        for key in [key for key, call in self._calls.items() if key[0] == session_id and call.run.done()]:
            self._drop(key)

    def _finished(self, key: Key) -> None:
        call = self._calls.get(key)
        if call is None:
            return
        if not call.run.cancelled():
            call.chars = sum(_size(block) for block in call.run.result().content)
            self._chars += call.chars
        for old in list(self._calls):
            if len(self._calls) <= _MAX_ENTRIES and self._chars <= _MAX_CHARS:
                return
            if self._calls[old].run.done() and self._calls[old].waiting == 0:
                self._drop(old)

    def _drop(self, key: Key) -> None:
        self._chars -= self._calls.pop(key).chars


def _size(block: dict[str, Any]) -> int:
    source: dict[str, str] = block.get("source") or {}
    return len(block.get("text") or "") + len(source.get("data") or "")
