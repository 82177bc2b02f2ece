"""The hands' half of a turn: dispatch every runnable call, record each result as it comes back."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from agents.errors import HecatonError
from agents.hands.port import ToolCall, ToolResult, Workspace
from agents.ids import EventId
from agents.sessions import transitions
from agents.sessions.metering import tool_call_rows
from agents.sessions.owner import SessionOwner
from agents.sessions.state import OpenCall

logger = logging.getLogger(__name__)


class Actor:
    """Runs the tool calls of one session."""

    def __init__(self, owner: SessionOwner) -> None:
        self._owner = owner
        self.wake = asyncio.Event()
        """Set when the session changed: a confirmation may have made a call runnable."""

    async def use_tools(self) -> None:
        """Run every runnable call; calls that become runnable meanwhile join in. Returns when none is left."""
        batches: set[asyncio.Task[None]] = set()
        sent: set[EventId] = set()
        try:
            while True:
                self.wake.clear()
                fresh = [call for call in self._owner.state.runnable_calls() if call.id not in sent]
                if fresh:
                    sent.update(call.id for call in fresh)
                    batches.add(asyncio.create_task(self._run_batch(fresh)))
                if not batches:
                    return
                await self._first_of(batches)
                for batch in [batch for batch in batches if batch.done()]:
                    batches.discard(batch)
                    batch.result()
        finally:
            for batch in batches:
                batch.cancel()
            await asyncio.gather(*batches, return_exceptions=True)

    async def _first_of(self, batches: set[asyncio.Task[None]]) -> None:
        wake = asyncio.create_task(self.wake.wait())
        try:
            await asyncio.wait({*batches, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()

    async def _run_batch(self, calls: list[OpenCall]) -> None:
        ports, record = self._owner.ports, self._owner.state.record
        limit = ports.settings.sandbox.tool_timeout_seconds
        workspace = Workspace(record.id, record.environment)
        tool_calls = [ToolCall(call.id, call.name, call.input, limit) for call in calls]
        missing = {call.id: call.name for call in calls}
        why = "the sandbox ended without an answer"
        try:
            async with aclosing(ports.hands.execute(workspace, tool_calls)) as results:
                async for result in results:
                    name = missing.pop(EventId(result.call_id))
                    await self._record([result], {EventId(result.call_id): name})
        except HecatonError as error:
            why = error.message
        except Exception:
            # Tool-call border: whatever broke between here and the hand, the session goes on (law 6).
            logger.exception("hands failed for %s", record.id)
            why = "the sandbox failed while the call ran"
        if missing:
            text = f"The tool call was lost: {why}. It may or may not have taken effect."
            await self._record([ToolResult.error(call_id, text) for call_id in missing], missing)

    async def _record(self, results: list[ToolResult], names: dict[EventId, str]) -> None:
        await self._owner.apply(lambda draft: transitions.record_results(draft, self._owner.rules, results))
        rows = tool_call_rows(results, self._owner.state.record.id, names, self._owner.ports.clock.now())
        await self._owner.ports.meter.record(rows)
