"""How much disk one sandbox uses, without project quotas: counted with ``du``, and only when it matters.

A count costs a walk, so it is skipped while the file system's free space proves that the sandbox cannot
have grown past its limit. Other writers on the same disk only cause a needless count, and their deletions
can hide growth for at most ``_TRUST_SECONDS``.
"""

from __future__ import annotations

import asyncio
import os

from agents.clock import Clock
from agents.hands.child_process import run_program
from agents.hands.sandbox_dirs import SandboxDirs

_TRUST_SECONDS = 15.0
_FRESH_SECONDS = 0.2
_COUNT_SECONDS = 10.0


class DiskQuota:
    """The disk use of one sandbox against its limit."""

    def __init__(self, dirs: SandboxDirs, limit: int, clock: Clock, *, fresh: bool) -> None:
        self.dirs = dirs
        self.limit = limit
        self._clock = clock
        self._slack = limit // 16
        self._counting = asyncio.Lock()
        self._used = 0
        self._free = self._free_now()
        self._counted_at = clock.monotonic() if fresh else float("-inf")

    @property
    def message(self) -> str:
        return f"disk limit: the sandbox's files exceed {self.limit} bytes; delete some to go on"

    async def exceeded(self) -> bool:
        """Whether the sandbox's files together exceed the limit."""
        if not self._may_exceed():
            return False
        async with self._counting:
            if self._clock.monotonic() - self._counted_at > _FRESH_SECONDS:
                await self._count()
        return self._used > self.limit

    @property
    def used(self) -> int:
        """Bytes at the last count."""
        return self._used

    def _may_exceed(self) -> bool:
        if self._clock.monotonic() - self._counted_at > _TRUST_SECONDS:
            return True
        return self._used + max(0, self._free - self._free_now()) + self._slack > self.limit

    def _free_now(self) -> int:
        facts = os.statvfs(self.dirs.base)
        return facts.f_bfree * facts.f_frsize

    async def _count(self) -> None:
        self._free = self._free_now()
        try:
            _, output = await run_program(["du", "-sxB1", "--", str(self.dirs.base)], seconds=_COUNT_SECONDS)
            last = output.strip().rpartition("\n")[2].partition("\t")[0]
            self._used = int(last) if last.isdecimal() else self._used
        except TimeoutError:  # more files than can be counted are too many
            self._used = self.limit + 1
        self._counted_at = self._clock.monotonic()
