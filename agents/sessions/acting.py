"""The hands' half of a turn: every runnable call is dispatched.

Calls of one sandbox go together; each call that a server runs goes its own way.
"""

from __future__ import annotations

import asyncio

from agents.ids import EventId
from agents.sessions.dispatch import Dispatch
from agents.sessions.owner import ThreadOwner
from agents.sessions.serving import ServedCall
from agents.sessions.thread_state import OpenCall


class Actor:
    """Runs the tool calls of one session."""

    def __init__(self, owner: ThreadOwner) -> None:
        self._owner = owner
        self.wake = asyncio.Event()
        """Set when the session changed: a confirmation may have made a call runnable."""
        self._maybe_sent = {EventId(call_id) for call_id in owner.state.record.dispatched}
        """Calls that may have reached whom their intent names: sent from here, or by an owner before."""

    async def use_tools(self) -> None:
        """Run every runnable call; calls that become runnable meanwhile join in. Returns when none is left."""
        batches: set[asyncio.Task[None]] = set()
        taken: set[EventId] = set()
        try:
            while True:
                self.wake.clear()
                if not await self._owner.committed():
                    return
                fresh = [call for call in self._owner.state.runnable_calls() if call.id not in taken]
                taken.update(call.id for call in fresh)
                for call in fresh:
                    if call.served is not None:
                        work = ServedCall(self._owner, call, call.served, self._maybe_sent).run()
                        batches.add(asyncio.create_task(work))
                for host, calls in self._by_host(fresh).items():
                    batches.add(asyncio.create_task(Dispatch(self._owner, host, calls, self._maybe_sent).run()))
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
            self._maybe_sent &= self._owner.state.calls.keys()

    async def _first_of(self, batches: set[asyncio.Task[None]]) -> None:
        wake = asyncio.create_task(self.wake.wait())
        try:
            await asyncio.wait({*batches, wake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()

    def _by_host(self, calls: list[OpenCall]) -> dict[str | None, list[OpenCall]]:
        """Put together what goes to one sandbox host; calls without an intent yet go together too."""
        groups: dict[str | None, list[OpenCall]] = {}
        for call in [call for call in calls if call.served is None]:
            groups.setdefault(self._owner.state.record.dispatched.get(call.id), []).append(call)
        return groups
