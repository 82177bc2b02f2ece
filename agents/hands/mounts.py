"""What is in a sandbox beside its session's own files: made when it starts, and kept true at each later call.

One :class:`MountMaker` for each kind. A mount never belongs to a checkpoint: it is made again from its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.hands.port import Mount, MountProblem
from agents.hands.sandbox_dirs import SandboxDirs


@dataclass(frozen=True, slots=True)
class MountReport:
    """What is to be told of mounts that were made or tried: problems to the session's client, notes to its model."""

    problems: tuple[MountProblem, ...] = ()
    notes: tuple[str, ...] = ()
    told: tuple[Callable[[], None], ...] = ()
    """To be called once the model has been told the notes: without that they come again with the next sandbox."""

    @classmethod
    def of(cls, reports: Iterable[MountReport]) -> MountReport:
        """Return one report of several."""
        problems, notes, told = list[MountProblem](), list[str](), list[Callable[[], None]]()
        for each in reports:
            problems += each.problems
            notes += each.notes
            told += each.told
        return cls(tuple(problems), tuple(notes), tuple(told))


class MountMaker(Protocol):
    """Makes the mounts of one kind."""

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport | None:
        """Have exactly *mounts* of this kind in the sandbox on *dirs*. Asked with the same again, it does little.

        Returns what is to be told; whoever reports a problem is asked again after a while. Calls for one session do
        not overlap. Raises SandboxUnavailable for what cannot be had just now, OSError.
        """
        ...


class MountSync(Protocol):
    """Keeps mounts of one kind and their sources the same: changes on either side come to the other."""

    async def synchronize(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> Sequence[str]:
        """Bring both sides to one state, and return what the model must be told of what was not possible.

        Calls for one session do not overlap, also not with ``make``. Raises SandboxUnavailable while something has
        never been there yet, OSError.
        """
        ...

    def owes(self, base: Path) -> bool:
        """Whether a result may have promised for later what was changed in the session directory *base*."""
        ...

    async def bring_owed(self, session_id: str, dirs: SandboxDirs) -> None:
        """Keep the promise. Calls are as those of ``synchronize``, and nothing runs in the sandbox.

        Raises SandboxUnavailable when that is not possible yet, OSError.
        """
        ...


class Mounts:
    """All kinds of mounts that this host makes; others are left out."""

    def __init__(self, makers: Mapping[str, MountMaker], synced: Mapping[str, MountSync] | None = None) -> None:
        self._makers = makers
        self._synced = synced or {}

    async def make(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> MountReport:
        """Have exactly *mounts* in the sandbox. Raises SandboxUnavailable, OSError."""
        made = [await maker.make(session_id, dirs, _of(kind, mounts)) for kind, maker in self._makers.items()]
        return MountReport.of(each for each in made if each is not None)

    def are_synced(self, mounts: Sequence[Mount]) -> bool:
        """Whether any of *mounts* has two sides that change."""
        return any(mount.kind in self._synced for mount in mounts)

    async def synchronize(self, session_id: str, dirs: SandboxDirs, mounts: Sequence[Mount]) -> list[str]:
        """Bring mounts and sources to one state. See MountSync.synchronize."""
        told: list[str] = []
        for kind, sync in self._synced.items():
            told += await sync.synchronize(session_id, dirs, _of(kind, mounts))
        return told

    def owes(self, base: Path) -> bool:
        """See MountSync.owes."""
        return any(sync.owes(base) for sync in self._synced.values())

    async def bring_owed(self, session_id: str, dirs: SandboxDirs) -> None:
        """See MountSync.bring_owed."""
        for sync in self._synced.values():
            if sync.owes(dirs.base):
                await sync.bring_owed(session_id, dirs)


def _of(kind: str, mounts: Sequence[Mount]) -> list[Mount]:
    return [mount for mount in mounts if mount.kind == kind]
