"""Tables between hands on Ray: a table is put once where it was made, and who needs it maps it into its own memory.

The fleet knows which reference a handle means. It is not durable: a table goes with the replica that made it, and every
handle with the fleet; whoever asks then makes it anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from actors.fleet_client import ask_fleet
from agents.errors import Unavailable

_SECONDS = 10.0
_FETCH_SECONDS = 30.0
_MOST_KEPT = 256
_KEPT_SECONDS = 3600.0


class RayShelf:
    """The TableShelf of a replica."""

    async def keep(self, handle: str, table: Any, principal: str) -> None:
        """See TableShelf.keep."""
        # In a thread: it copies the table into the store.
        reference = await asyncio.to_thread(ray.put, table)
        # In a list: as an argument of its own Ray would fetch the table for the fleet.
        await ask_fleet("keep_table", handle, principal, [reference], timeout=_SECONDS)

    async def fetch(self, handle: str, principal: str) -> Any:
        """See TableShelf.fetch."""
        found: list[Any] = await ask_fleet("table", handle, principal, timeout=_SECONDS)
        if not found:
            return None
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                return await found[0]
        except RayError:
            return None  # it has gone with who made it
        except TimeoutError:
            raise Unavailable(f"table {handle} did not come within {_FETCH_SECONDS:g} s", retry_after=1.0) from None


@dataclass(frozen=True, slots=True)
class _Kept:
    reference: list[Any]
    principal: str
    until: float


class TableReferences:
    """What the fleet knows of tables: bounded, the oldest go first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def keep(self, handle: str, principal: str, reference: list[Any]) -> None:
        self._kept[handle] = _Kept(reference, principal, time.monotonic() + _KEPT_SECONDS)
        while len(self._kept) > _MOST_KEPT or next(iter(self._kept.values())).until < time.monotonic():
            self._kept.popitem(last=False)

    def find(self, handle: str, principal: str) -> list[Any]:
        """Return the reference, as the only one in a list; none when it is gone or another principal's."""
        kept = self._kept.get(handle)
        known = kept is not None and kept.principal == principal and kept.until >= time.monotonic()
        return kept.reference if kept is not None and known else []
