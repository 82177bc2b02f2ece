"""What is mounted in one session's sandbox over time: made anew in each, tried again, kept the same as its sources."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from agents.clock import Clock
from agents.hands import notices
from agents.hands.mounts import MountReport
from agents.hands.port import Mount, MountProblem
from agents.hands.sandbox import Sandbox, SandboxUnavailable

if TYPE_CHECKING:
    from agents.hands.session_sandbox import SessionSandbox

log = logging.getLogger(__name__)

_KEEP_SECONDS = 10.0
"""A result waits this long for its changes of memory stores, as it does for its checkpoint."""
_AGAIN_SECONDS = 300.0
"""What could not be mounted is tried again by the first call after this, in a new sandbox, and when it is changed."""


class MountSource(Protocol):
    """Where a session's mounts come from."""

    async def mount(self, session: SessionSandbox, sandbox: Sandbox) -> MountReport:
        """Have in *sandbox* what the session's resources put there, and return what is to be told.

        Raises SandboxUnavailable.
        """
        ...

    def are_synced(self, session: SessionSandbox) -> bool:
        """Whether anything that is mounted for *session* has two sides that change."""
        ...

    async def synchronize(self, session: SessionSandbox) -> Sequence[str]:
        """Bring what is mounted for *session* and its sources to one state; returns what the model must be told.

        Raises SandboxUnavailable while something has never been there yet.
        """
        ...

    def owes(self, session: SessionSandbox) -> bool:
        """Whether a result may have promised *session* to keep later what was changed."""
        ...

    async def bring_owed(self, session: SessionSandbox) -> None:
        """Keep that promise. Raises SandboxUnavailable when that is not possible yet."""
        ...


class SessionMounts:
    """The mounts of one session."""

    def __init__(self, session: SessionSandbox, source: MountSource, clock: Clock, told: list[str]) -> None:
        """*told* gets what the model must be told."""
        self._session = session
        self._source = source
        self._clock = clock
        self._told = told
        self.problems: list[MountProblem] = []
        """What the session's client must be told."""
        self._on_told: list[Callable[[], None]] = []
        self._mounted: tuple[Sandbox, tuple[Mount, ...]] | None = None
        self._mounting = asyncio.Lock()
        self._again_at = math.inf
        """When what could not be mounted is tried again."""
        self._had_any = False
        """Also in a sandbox that has ended."""
        self._asked = 0
        self._synced = 0
        """The newest question for a pass that one has answered, or is to answer."""

    @property
    def are_synced(self) -> bool:
        """Whether anything of it has two sides that change."""
        return self._source.are_synced(self._session)

    async def make(self, sandbox: Sandbox) -> None:
        """Have in *sandbox* what belongs there. Raises SandboxUnavailable."""
        if self._are_in(sandbox):
            return
        async with self._mounting:
            wanted = self._session.workspace.mounts
            if not self._are_in(sandbox):
                self._note(await self._source.mount(self._session, sandbox))
                self._mounted = (sandbox, wanted)
                self._had_any = True

    async def synchronize(self) -> None:
        """Bring mounts and sources to one state; who asks before a pass begins shares it. Raises SandboxUnavailable."""
        self._asked += 1
        mine = self._asked
        async with self._mounting:
            if self._synced >= mine:
                return
            before, self._synced = self._synced, self._asked
            try:
                told = await self._source.synchronize(self._session)
                self._told += [text for text in told if text not in self._told]
            except BaseException:
                self._synced = before
                raise

    async def keep(self) -> None:
        """Bring what calls have changed to its sources, or note that it is not there yet."""
        if not self._had_any or not self.are_synced:
            return
        try:
            async with asyncio.timeout(_KEEP_SECONDS):
                await self.synchronize()
        except (SandboxUnavailable, TimeoutError) as error:
            log.warning("the mounts of session %s are not kept in time: %s", self._session.session_id, error)
            self._told.append(notices.MOUNTS_NOT_KEPT)

    @property
    def are_owed(self) -> bool:
        """Whether a result may have promised to keep later what was changed."""
        return self._source.owes(self._session)

    async def bring_owed(self) -> None:
        """Keep that promise, if there is one. Raises SandboxUnavailable when that is not possible yet."""
        async with self._mounting:
            if not self.are_owed:
                return
            try:
                async with asyncio.timeout(_KEEP_SECONDS):
                    await self._source.bring_owed(self._session)
            except TimeoutError as error:
                raise SandboxUnavailable("the session's mounts are not kept in time; try again") from error

    def note_told(self) -> None:
        """Take note that the model was told what it must know."""
        on_told, self._on_told = self._on_told, []
        for note in on_told:
            note()

    def forget(self) -> None:
        """Tell nothing more of what was mounted: what has to be told all the same comes with the next sandbox."""
        self.problems.clear()
        self._on_told.clear()

    def sandbox_ended(self) -> None:
        """Make them anew in the next one."""
        self._mounted = None

    def _are_in(self, sandbox: Sandbox) -> bool:
        wanted = self._session.workspace.mounts
        known = self._mounted is not None and self._mounted[0] is sandbox and self._mounted[1] == wanted
        return known and self._clock.monotonic() < self._again_at

    def _note(self, report: MountReport) -> None:
        self._told += [text for text in report.notes if text not in self._told]
        self._on_told += report.told
        self.problems += report.problems
        self._again_at = self._clock.monotonic() + _AGAIN_SECONDS if report.problems else math.inf
