"""A sandbox host as the fleet reaches it: a detached Ray actor of its own, found by name or started."""

from __future__ import annotations

import asyncio
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from actors.names import DETACHED, NAMESPACE
from actors.placement import placed
from actors.replies import result_of
from actors.sandbox_host import SandboxHostActor
from agents.errors import Unavailable
from agents.hands.host_fleet import HostReport
from agents.hands.incarnation import host_name, host_number

_GONE_SECONDS = 30.0
_LOOK_SECONDS = 0.1


def host_numbers() -> list[int]:
    """Return the numbers of the sandbox hosts that Ray knows. Blocks for a moment."""
    known: Any = ray.util.list_named_actors(all_namespaces=True)
    names = [actor["name"] for actor in known if actor["namespace"] == NAMESPACE]
    return [number for name in names if (number := host_number(name)) is not None]


class RayHost:
    """The HostProcess of one number. Ray may look for a node for a while, so nothing of it runs on the event loop."""

    def __init__(self, settings_json: str, number: int) -> None:
        self._settings_json = settings_json
        self._number = number
        self._name = host_name(number)
        self._handle: Any = None

    async def _call(self, method: str, timeout: float) -> Any:
        try:
            if self._handle is None:
                self._handle = await asyncio.to_thread(self._find_or_start)
            return await result_of(getattr(self._handle, method).remote(), what=self._name, timeout=timeout)
        except Unavailable as error:
            if isinstance(error.__cause__, ActorDiedError):
                self._handle = None  # Ray will not start it again by itself: somebody ended it
            raise
        except RayError as error:
            raise Unavailable(f"{self._name} cannot be started: {error}") from error

    def _find_or_start(self) -> Any:
        actor = SandboxHostActor.options(name=self._name, **DETACHED, **placed(self._number))
        return actor.remote(self._settings_json, self._name)

    async def ping(self, *, timeout: float) -> HostReport:
        """See HostProcess.ping; the first one starts the host."""
        return await self._call("ping", timeout)

    async def drain(self, *, timeout: float) -> None:
        """See HostProcess.drain."""
        await self._call("drain", timeout)

    async def stop(self, *, timeout: float) -> None:
        """See HostProcess.stop."""
        await self._call("stop", timeout)

    def kill(self) -> None:
        """See HostProcess.kill."""
        if self._handle is not None:
            ray.kill(self._handle, no_restart=False)

    async def end(self) -> None:
        """See HostProcess.end."""
        if self._handle is None:
            return
        ray.kill(self._handle, no_restart=True)
        loop = asyncio.get_running_loop()
        end = loop.time() + _GONE_SECONDS
        while await asyncio.to_thread(self._known):
            if loop.time() > end:
                raise Unavailable(f"{self._name}: Ray still knows it {_GONE_SECONDS:g} s after it was ended")
            await asyncio.sleep(_LOOK_SECONDS)

    def _known(self) -> bool:
        try:
            ray.get_actor(self._name, namespace=NAMESPACE)
        except ValueError:
            return False
        return True
