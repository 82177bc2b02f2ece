"""Where the replicas of applications are that are called past Serve, as far as they have said so lately."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from actors.app_waker import AppWaker
from actors.link_server import Endpoint

_FORGOTTEN_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class _Replica:
    """One replica: of what (id), where, and when it was heard of last (monotonic seconds)."""

    of: str
    endpoint: Endpoint
    heard: float


class ReplicaTable:
    """The replicas of one kind of applications: of brains, or of hands."""

    def __init__(self, waker: AppWaker) -> None:
        self._waker = waker
        self._replicas: dict[str, _Replica] = {}

    def register(self, replica: str, endpoint: Endpoint, of: str) -> None:
        """Take note of a replica of *of* (an id); it says so again every few seconds for as long as it lives."""
        self._replicas[replica] = _Replica(of, endpoint, time.monotonic())

    def unregister(self, replica: str) -> None:
        """Take note that a replica is about to end."""
        self._replicas.pop(replica, None)

    def endpoints(self, wanted: Sequence[str]) -> dict[str, dict[str, Endpoint]]:
        """Return the endpoints of the replicas heard of lately, by id and replica.

        *wanted* names what scales to zero, has no replica just now, and is asked for: see that it gets one.
        """
        oldest = time.monotonic() - _FORGOTTEN_SECONDS
        self._replicas = {name: replica for name, replica in self._replicas.items() if replica.heard >= oldest}
        table: dict[str, dict[str, Endpoint]] = {}
        for name, replica in self._replicas.items():
            table.setdefault(replica.of, {})[name] = replica.endpoint
        for asleep in wanted:
            if asleep not in table:
                self._waker.wake(asleep)
        return table

    async def close(self) -> None:
        """Wake nobody any more."""
        await self._waker.close()
