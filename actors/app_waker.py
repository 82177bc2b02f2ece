"""Waking brains and hands that have scaled to zero.

Their requests travel over links, which Serve does not see, and an application without a replica has nobody to link to.
So one small request is left with Serve for each that is asked for: Serve holds it, counts it, and starts a replica to
answer it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError

logger = logging.getLogger(__name__)

# Whoever still waits asks again; so a wake-up whose application was taken away does not stay for ever.
_WAKE_SECONDS = 60.0


class AppWaker:
    """Leaves at most one wake-up for each application with Serve."""

    def __init__(self, app_name: Callable[[str], str]) -> None:
        """*app_name* names the application of what has an id."""
        self._app_name = app_name
        self._handles: dict[str, Any] = {}
        self._waking: dict[str, asyncio.Task[None]] = {}

    def wake(self, name: str) -> None:
        """See that what has the id *name* gets a replica; returns at once."""
        if name not in self._waking:
            task = self._waking[name] = asyncio.create_task(self._wake(name))
            task.add_done_callback(lambda _: self._waking.pop(name, None))

    async def _wake(self, name: str) -> None:
        # Only now: Serve takes memory and half a second, and most fleets never need it.
        from ray import serve
        from ray.serve.exceptions import RayServeException

        app = self._app_name(name)
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
