"""Waking brains that have scaled to zero.

Model requests travel over links, which Serve does not see, and a brain without a replica has nobody to link to. So
one small request is left with Serve for each brain that is asked for: Serve holds it, counts it, and starts a replica
to answer it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray.exceptions import RayError

from actors.names import brain_app_name

logger = logging.getLogger(__name__)

# Whoever still waits asks again; so a wake-up whose brain was taken away does not stay for ever.
_WAKE_SECONDS = 60.0


class BrainWaker:
    """Leaves at most one wake-up for each brain with Serve."""

    def __init__(self) -> None:
        self._handles: dict[str, Any] = {}
        self._waking: dict[str, asyncio.Task[None]] = {}

    def wake(self, brain: str) -> None:
        """See that the brain with id *brain* gets a replica; returns at once."""
        if brain not in self._waking:
            task = self._waking[brain] = asyncio.create_task(self._wake(brain))
            task.add_done_callback(lambda _: self._waking.pop(brain, None))

    async def _wake(self, brain: str) -> None:
        # Only now: Serve takes memory and half a second, and most fleets never need it.
        from ray import serve
        from ray.serve.exceptions import RayServeException

        app = brain_app_name(brain)
        try:
            async with asyncio.timeout(_WAKE_SECONDS):
                if app not in self._handles:
                    # In a thread: it waits for Serve's controller, and the event loop must not.
                    self._handles[app] = await asyncio.to_thread(serve.get_app_handle, app)
                await self._handles[app].wake.remote()
        except TimeoutError:
            logger.warning("%s: no replica within %g s", app, _WAKE_SECONDS)
        except (RayServeException, RayError) as error:
            # Its application may be another one the next time.
            self._handles.pop(app, None)
            logger.warning("%s cannot be woken: %s", app, error)

    async def close(self) -> None:
        """Take back the wake-ups."""
        tasks = tuple(self._waking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
