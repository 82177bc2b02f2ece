"""The fleet actor: keeps the sandbox hosts alive, and knows where hosts and brain replicas are."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.link_server import Endpoint
from actors.names import FLEET, NAMESPACE, sandbox_host_name
from actors.remote import actor
from actors.replies import Reply, result_of
from actors.sandbox_host import SandboxHostActor
from agents.config import Settings
from agents.errors import Unavailable

_PING_SECONDS = 30.0
_BRAIN_SECONDS = 15.0


def sandbox_root(settings: Settings, index: int) -> Path:
    """Where a host keeps its sandboxes; one host owns the whole root, several have a part each."""
    root = settings.sandbox.root or settings.data_dir / "sandboxes"
    return root if settings.sandbox.hosts == 1 else root / str(index)


@actor(num_cpus=0, max_restarts=-1, max_concurrency=100)
class FleetActor:
    """Holds one detached actor per sandbox host. ``num_cpus=0``: it only keeps a table."""

    def __init__(self, settings_json: str) -> None:
        self._settings_json = settings_json
        self._settings = Settings.from_json(settings_json)
        self._hosts: dict[str, Any] = {}
        self._brains: dict[str, tuple[float, Endpoint]] = {}

    def _host(self, index: int) -> Any:
        name = sandbox_host_name(index)
        if name not in self._hosts:
            self._hosts[name] = SandboxHostActor.options(
                name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=True
            ).remote(self._settings_json, str(sandbox_root(self._settings, index)))
        return self._hosts[name]

    async def _figures(self) -> dict[str, Any]:
        """Return what each host answers to a ping, by name."""
        hosts = {sandbox_host_name(index): self._host(index) for index in range(self._settings.sandbox.hosts)}
        pings = [result_of(host.ping.remote(), what=name, timeout=_PING_SECONDS) for name, host in hosts.items()]
        return dict(zip(hosts, await asyncio.gather(*pings), strict=True))

    async def hosts(self) -> Reply:
        """Return the hosts' handles by name, once each of them answers."""
        return Reply({name: self._hosts[name] for name in await self._figures()})

    async def register_brain(self, replica: str, endpoint: Endpoint) -> Reply:
        """Take note of a brain replica; it says so again every few seconds for as long as it lives."""
        self._brains[replica] = (time.monotonic(), endpoint)
        return Reply(True)

    async def unregister_brain(self, replica: str) -> Reply:
        """Take note that a brain replica is about to end."""
        self._brains.pop(replica, None)
        return Reply(True)

    async def brains(self) -> Reply:
        """Return the endpoints of the brain replicas heard of lately."""
        oldest = time.monotonic() - _BRAIN_SECONDS
        self._brains = {name: known for name, known in self._brains.items() if known[0] >= oldest}
        return Reply({name: endpoint for name, (_, endpoint) in self._brains.items()})

    async def stats(self) -> Reply:
        """Return each host's figures."""
        return Reply(await self._figures())

    async def stop(self) -> Reply:
        """Let every host end its sandboxes, then end the hosts."""
        stops = [result_of(host.stop.remote(), what=name, timeout=_PING_SECONDS) for name, host in self._hosts.items()]
        await asyncio.gather(*stops, return_exceptions=True)
        for host in self._hosts.values():
            ray.kill(host)
        return Reply(True)


async def ask_fleet(question: str, *, timeout: float) -> Any:
    """Call a method of the fleet and return its answer. Raises Unavailable, also when there is no fleet yet."""
    try:
        # In a thread: while the head is away the look-up waits, and the event loop must not.
        fleet = await asyncio.to_thread(ray.get_actor, FLEET, namespace=NAMESPACE)
    except (ValueError, RayError) as error:
        raise Unavailable("the fleet cannot be found just now", retry_after=1.0) from error
    return await result_of(getattr(fleet, question).remote(), what="the fleet", timeout=timeout)
