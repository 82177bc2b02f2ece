"""Which hands there are now, and which version of one a session's ``hand://NAME`` means."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from agents.errors import HecatonError, NotFound
from agents.hands.deployed.records import HandRecords, HandVersion, hand_of
from agents.hands.servers.port import Caller, ServerCall, ServerUnreachable, VersionMismatch

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 5.0


class HandRegistry:
    """What the store knows of hands, read again every few seconds; it goes on with what it knew while that is away."""

    def __init__(self, records: HandRecords) -> None:
        self._records = records
        self._versions: Mapping[str, Sequence[HandVersion]] = {}
        self._known: Mapping[str, HandVersion] = {}
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def hands(self) -> Mapping[str, HandVersion]:
        """Every version there is, by id."""
        return self._known

    def start(self) -> None:
        """Begin to read; needs a running event loop."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())

    async def find(self, url: str, caller: Caller) -> HandVersion:
        """Return the version that *url* means for *caller*: the one it names, the session's own, or the newest.

        Raises ServerUnreachable when there is no such hand, VersionMismatch when there is but not in that version.
        """
        try:
            name, version = hand_of(url)
        except NotFound as error:
            raise ServerUnreachable(error.message) from None
        own = version or caller.versions.get(name)
        if not self._has(name, own):
            await self.read()  # it may have been added just now, in another process
        versions = self._versions.get(name, ())
        if not versions:
            there = ", ".join(self._versions) or "none"
            raise ServerUnreachable(f"there is no hand {name!r}; there are: {there}")
        if own is None:
            return versions[-1]
        if not self._has(name, own):
            raise self._mismatch(name, own, pinned=version is not None)
        return self._known[f"{name}@{own}"]

    async def called(self, call: ServerCall, caller: Caller) -> HandVersion:
        """Return the version that *call* is for. Raises what ``find`` raises."""
        return await self.get(call.hand) if call.hand else await self.find(call.server.url, caller)

    async def get(self, hand: str) -> HandVersion:
        """Return the version with the id *hand*.

        Raises VersionMismatch when it is not there, ServerUnreachable when nobody can say.
        """
        if hand not in self._known:
            await self.read()
        if hand not in self._known:
            name, _, version = hand.partition("@")
            raise self._mismatch(name, version, pinned=False)
        return self._known[hand]

    def _has(self, name: str, version: str | None) -> bool:
        return name in self._versions if version is None else f"{name}@{version}" in self._known

    def _mismatch(self, name: str, version: str, *, pinned: bool) -> VersionMismatch:
        there = ", ".join(each.version for each in self._versions.get(name, ())) or "none"
        who = "the agent names" if pinned else "the session stays with"
        return VersionMismatch(f"hand {name}: {who} version {version}, which is not there; there are: {there}")

    async def read(self) -> None:
        """Read what the store knows now; all who ask at a time share the answer. Raises ServerUnreachable."""
        asked_at = asyncio.get_running_loop().time()
        while self._read_at < asked_at:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            try:
                await asyncio.shield(self._reading)
            except HecatonError as error:
                raise ServerUnreachable(f"the hands that there are can not be read: {error.message}") from error

    async def _read(self) -> None:
        began = asyncio.get_running_loop().time()
        listed = await self._records.list()
        versions: dict[str, list[HandVersion]] = {}
        for hand in listed:
            versions.setdefault(hand.name, []).append(hand)
        self._versions, self._known = versions, {hand.id: hand for hand in listed}
        self._read_at = began

    async def _watch(self) -> None:
        while True:
            try:
                await self.read()
            except ServerUnreachable as error:
                logger.warning("%s", error.message)
            await asyncio.sleep(_EVERY_SECONDS)

    async def close(self) -> None:
        """Read no more."""
        tasks = [task for task in (self._watching, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
