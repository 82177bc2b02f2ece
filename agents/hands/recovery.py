"""Giving a session its files back on a host: those that lie here, or the newest checkpoint.

Invariants: files that are older than what the log stands on are never used while the store has newer ones; a
session directory appears whole (it is made elsewhere and renamed) or not at all; what cannot be had back is
told to the model.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeVar

from agents.hands import notices
from agents.hands.checkpoint_copy import FileCopier, Plan, adopted
from agents.hands.checkpoint_history import History, StoredVersion, load_version, newest_first, stored_names
from agents.hands.checkpoint_manifest import DamagedPack
from agents.hands.checkpoint_pack import PackName
from agents.hands.checkpoint_restore import Restored, restore
from agents.hands.checkpoint_scan import TooManyFiles, scan
from agents.hands.checkpoint_store import StoreUnavailable
from agents.hands.checkpoint_work import Checkpoints, next_epoch, writer_of
from agents.hands.deadline import Deadline
from agents.hands.port import Workspace
from agents.hands.sandbox import SandboxUnavailable
from agents.hands.sandbox_dirs import SandboxDirs, SandboxRoot
from agents.hands.session_state import SessionState, read_state, write_state
from agents.hands.threads import to_its_end

T = TypeVar("T")

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 4
"""Versions that are tried before the least damaged one has to do."""


@dataclass(slots=True)
class Standing:
    """Where a session's files are."""

    where: Literal["nowhere", "here", "store"]
    notice: str | None = None
    """What the model should know about it."""
    shell_only: bool = False
    """Whether the notice is about nothing but the shell."""
    state: SessionState | None = None
    """What is noted beside the files that are here."""
    packs: dict[PackName, int] = field(default_factory=lambda: {})
    """What the store has."""


@dataclass(slots=True)
class Recovered:
    """Fresh directories with a checkpoint's files, not yet the session's."""

    dirs: SandboxDirs
    history: History
    state: SessionState


async def look(root: SandboxRoot, shared: Checkpoints, workspace: Workspace) -> Standing:
    """Find out where the files of *workspace* are. Raises SandboxUnavailable when the store does not say."""
    here, state = _local(str(root.session_path(workspace.session_id)))
    if here and state is None and workspace.version == 0:
        return Standing("here", notices.HOST_RESTARTED, shell_only=True)
    trusted = state is not None and state.boot == shared.boot
    if here and state is not None and trusted and state.version >= workspace.version:
        notice = state.notice or _why_new(state, shared)
        return Standing("here", notice, shell_only=not state.notice, state=state)
    try:
        loop = asyncio.get_running_loop()
        packs = await loop.run_in_executor(shared.executor, _stored, shared, workspace.session_id)
    except StoreUnavailable as error:
        raise SandboxUnavailable(f"the session's files cannot be looked up: {error.message}; try again") from error
    newest = max((name.version for name in packs), default=-1)
    local = (state.version if state is not None else 0) if here else -1
    if here and (local > newest or (local == newest and trusted)):
        if local < workspace.version:
            return Standing("here", notices.FILES_OLDER, state=state)
        return Standing("here", notices.HOST_RESTARTED, shell_only=True, state=state)
    if packs:
        return Standing("store", packs=packs)
    if workspace.version > 0:
        return Standing("nowhere", notices.FILES_LOST)
    return Standing("nowhere", notices.HOST_RESTARTED if workspace.host is not None else None, shell_only=True)


async def recover(root: SandboxRoot, shared: Checkpoints, workspace: Workspace, standing: Standing) -> Recovered:
    """Make the newest sound checkpoint's files in fresh directories, and continue from there as this host.

    Raises SandboxUnavailable, OSError.
    """
    began = time.perf_counter()
    recovery = _Recovery(root, shared, workspace, standing.packs)
    try:
        recovered = await recovery.run()
    except (StoreUnavailable, TimeoutError) as error:
        reason = error.message if isinstance(error, StoreUnavailable) else str(error)
        raise SandboxUnavailable(f"the session's files could not be restored: {reason}; try again") from error
    finally:
        for unused in recovery.made:
            await root.remove(unused.base)
    shared.counts.restores += 1
    shared.counts.restore_seconds += time.perf_counter() - began
    return recovered


class _Recovery:
    """One restore; ``made`` has the directories that nobody uses in the end."""

    def __init__(
        self, root: SandboxRoot, shared: Checkpoints, workspace: Workspace, packs: dict[PackName, int]
    ) -> None:
        assert shared.store is not None, "something is stored"
        self.made: list[SandboxDirs] = []
        self._root = root
        self._shared = shared
        self._store = shared.store
        self._workspace = workspace
        self._packs = packs
        self._deadline = Deadline(shared.settings.timeout_seconds)

    async def run(self) -> Recovered:
        """Raises SandboxUnavailable, StoreUnavailable, TimeoutError, OSError."""
        dirs, stored, restored = await self._soundest()
        older = stored.name.version < self._workspace.version or restored.damaged
        notice = notices.RESTORED_OLDER if older else notices.RESTORED
        if restored.damaged:
            notice = f"{notice} {notices.damaged(restored.damaged)}"
        newest = max(self._workspace.version, *(name.version for name in self._packs))
        state = SessionState(
            version=next_epoch(newest),
            origin=secrets.token_hex(8),
            holder=self._shared.incarnation,
            boot=self._shared.boot,
            notice=notice,
        )
        history = await self._threaded(lambda: self._go_on(stored, dirs, state))
        self.made.remove(dirs)
        return Recovered(dirs, history, state)

    async def _soundest(self) -> tuple[SandboxDirs, StoredVersion, Restored]:
        """Restore the newest version that is whole; when none is, the newest that can be read, less what is damaged."""
        second_best: tuple[SandboxDirs, StoredVersion, Restored] | None = None
        host = PackName(0, writer_of(self._workspace.host)).host if self._workspace.host else None
        for name in newest_first(self._packs, host)[:_MAX_ATTEMPTS]:
            dirs = self._root.make_warm()
            self.made.append(dirs)
            attempt = await self._threaded(partial(self._attempt, name, dirs))
            if attempt is not None and not attempt[1].damaged:
                return dirs, *attempt
            if attempt is not None and second_best is None:
                second_best = (dirs, *attempt)
        if second_best is None:
            raise SandboxUnavailable("no checkpoint of the session's files can be read; the server's log says why")
        return second_best

    def _attempt(self, name: PackName, dirs: SandboxDirs) -> tuple[StoredVersion, Restored] | None:
        session_id = self._workspace.session_id
        try:
            stored = load_version(self._store, session_id, self._packs, name)
        except DamagedPack as error:
            log.warning("checkpoint %s of session %s cannot be read: %s", name, session_id, error)
            return None
        base = os.open(dirs.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            restored = restore(self._store, session_id, stored, base, dirs.uid, self._deadline)
        finally:
            os.close(base)
        if restored.damaged:
            count, first = len(restored.damaged), restored.damaged[0]
            log.warning("checkpoint %s of session %s: %d files are damaged: %s", name, session_id, count, first)
        return stored, restored

    def _go_on(self, stored: StoredVersion, dirs: SandboxDirs, state: SessionState) -> History:
        """Write a checkpoint of the restored files as this host's own, so that nobody goes on from the old one."""
        history = History(self._store, self._workspace.session_id, self._shared.writer, state.origin)
        history.resume(stored, len(self._packs))
        base = os.open(dirs.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = scan(base, history.table, dirs.uid, self._deadline, max_bytes=self._shared.settings.max_bytes)
            history.note_same(adopted(found, history.table))
            plan = Plan({path: dict.fromkeys(names) for path, names in found.gone.items()})
            history.write(plan, FileCopier(base, dirs.uid, self._deadline), state.version, whole=True)
        except (StoreUnavailable, TooManyFiles) as error:
            log.warning("session %s goes on without a checkpoint of its own: %s", self._workspace.session_id, error)
        finally:
            os.close(base)
        write_state(str(dirs.base), state)
        return history

    async def _threaded(self, work: Callable[[], T]) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._shared.executor, work)
        return await to_its_end(running, on_cancel=self._deadline.cancel)


def _local(base: str) -> tuple[bool, SessionState | None]:
    """Whether a session has files here, and what is noted beside them."""
    return os.path.isdir(base), read_state(base)


def _why_new(state: SessionState, shared: Checkpoints) -> str:
    return notices.IDLE if state.away and state.holder == shared.incarnation else notices.HOST_RESTARTED


def _stored(shared: Checkpoints, session_id: str) -> dict[PackName, int]:
    return {} if shared.store is None else stored_names(shared.store, session_id)
