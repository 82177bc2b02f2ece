"""How much disk one sandbox uses, without project quotas: counted with ``du``, and only when it matters.

A count costs a walk, so within a second of the last one it is skipped while the file system's free space
shows no growth that could matter. (Deletions by others on the same disk can hide growth, hence the bound.)
"""

from __future__ import annotations

import asyncio
import os

from agents.clock import Clock
from agents.hands.child_process import run_program
from agents.hands.sandbox_dirs import UPLOADS, SandboxDirs

TRUST_SECONDS = 1.0
"""How old a count may be for a session whose calls run."""
IDLE_TRUST_SECONDS = 15.0
"""How old it may be for a session that only background processes could fill."""
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

    async def exceeded(self, *, trust: float = TRUST_SECONDS) -> bool:
        """Whether the sandbox's files together exceed the limit; a count is believed for *trust* seconds."""
        asked = self._clock.monotonic()
        if asked - self._counted_at < trust and not self._may_exceed():
            return False
        async with self._counting:
            if self._counted_at < asked:
                await self._count()
        return self._used > self.limit

    @property
    def used(self) -> int:
        """Bytes at the last count."""
        return self._used

    def _may_exceed(self) -> bool:
        return self._used + max(0, self._free - self._free_now()) + self._slack > self.limit

    def _free_now(self) -> int:
        facts = os.statvfs(self.dirs.base)
        return facts.f_bfree * facts.f_frsize

    async def _count(self) -> None:
        self._free = self._free_now()
        base = str(self.dirs.base)
        # What was uploaded for the session is not its own, and it could not delete it.
        command = ["du", "-sxB1", f"--exclude={base}/{UPLOADS}", "--", base]
        began = self._clock.monotonic()
        try:
            _, output = await run_program(command, seconds=_COUNT_SECONDS)
            last = output.strip().rpartition("\n")[2].partition("\t")[0]
            self._used = int(last) if last.isdecimal() else self._used
        except TimeoutError:  # more files than can be counted are too many
            self._used = self.limit + 1
        self._counted_at = began
