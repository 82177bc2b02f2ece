"""The fleet actor: keeps the sandbox hosts alive, and knows where hosts and brain replicas are."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import ray

from actors.link_server import Endpoint
from actors.names import FLEET, NAMESPACE, sandbox_host_name
from actors.remote import actor
from actors.replies import Reply, result_of
from actors.sandbox_host import SandboxHostActor
from agents.config import Settings

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

    async def hosts(self) -> Reply:
        """Return the hosts' handles by name, once each of them answers."""
        count = self._settings.sandbox.hosts
        handles = {sandbox_host_name(index): self._host(index) for index in range(count)}
        await asyncio.gather(
            *(result_of(handle.ping.remote(), what=name, timeout=_PING_SECONDS) for name, handle in handles.items())
        )
        return Reply(handles)

    async def register_brain(self, replica: str, endpoint: Endpoint) -> Reply:
        """Take note of a brain replica; it says so again every few seconds for as long as it lives."""
        self._brains[replica] = (time.monotonic(), endpoint)
        return Reply(True)

    async def brains(self) -> Reply:
        """Return the endpoints of the brain replicas heard of lately."""
        oldest = time.monotonic() - _BRAIN_SECONDS
        self._brains = {name: known for name, known in self._brains.items() if known[0] >= oldest}
        return Reply({name: endpoint for name, (_, endpoint) in self._brains.items()})

    async def stats(self) -> Reply:
        """Return each host's figures."""
        count = self._settings.sandbox.hosts
        names = [sandbox_host_name(index) for index in range(count)]
        figures = await asyncio.gather(
            *(
                result_of(self._host(index).ping.remote(), what=name, timeout=_PING_SECONDS)
                for index, name in enumerate(names)
            )
        )
        return Reply(dict(zip(names, figures, strict=True)))

    async def stop(self) -> Reply:
        """Let every host end its sandboxes, then end the hosts."""
        stops = [result_of(host.stop.remote(), what=name, timeout=_PING_SECONDS) for name, host in self._hosts.items()]
        await asyncio.gather(*stops, return_exceptions=True)
        for host in self._hosts.values():
            ray.kill(host)
        return Reply(True)


def get_fleet() -> Any:
    """Return the fleet's handle. Raises ValueError when there is none."""
    return ray.get_actor(FLEET, namespace=NAMESPACE)
