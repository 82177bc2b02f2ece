"""Making a checkpoint of one session's files: looking through them, storing what changed, keeping the store tidy.

Everything here blocks and is for worker threads, except what says otherwise. Invariants: the version is noted
beside the files before a checkpoint of it can be complete, so that files are never taken for older than they
are; it grows with every change that was seen, whether it could be stored or not.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field

from agents.config import CheckpointSettings
from agents.hands.checkpoint_copy import FileCopier, Plan
from agents.hands.checkpoint_history import History, load_version, stored_names
from agents.hands.checkpoint_manifest import DamagedPack
from agents.hands.checkpoint_scan import scan
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.deadline import Deadline
from agents.hands.session_state import SessionState, boot_id, write_state

log = logging.getLogger(__name__)

EPOCH = 1_000_000
"""Who goes on from a checkpoint that another host wrote counts on from the next multiple: should that host still
live, what it writes is older, whatever it writes."""


@dataclass(slots=True)
class CheckpointCounts:
    """What happened since the host's start."""

    checkpoints: int = 0
    checkpoint_bytes: int = 0
    checkpoint_seconds: float = 0.0
    checkpoint_failures: int = 0
    restores: int = 0
    restore_seconds: float = 0.0
    files_evicted: int = 0


@dataclass(slots=True)
class Checkpoints:
    """What all sessions of a host share: where checkpoints go, who writes them, and the threads that do."""

    settings: CheckpointSettings
    store: CheckpointStore | None
    incarnation: str
    executor: Executor
    counts: CheckpointCounts = field(default_factory=CheckpointCounts)
    boot: str = field(default_factory=boot_id)

    @property
    def writer(self) -> str:
        """The incarnation as it stands in names of packs."""
        return writer_of(self.incarnation)


def writer_of(incarnation: str) -> str:
    """Return how an incarnation stands in the names of the packs that it wrote."""
    return re.sub(r"[^A-Za-z0-9]", "_", incarnation)[-64:]


def next_epoch(version: int) -> int:
    """Return the first version of who goes on elsewhere."""
    return (version // EPOCH + 1) * EPOCH


class CheckpointWork:
    """One session's files on this host and their checkpoints. One thread at a time makes or tidies them."""

    def __init__(self, session_id: str, base: str, shared: Checkpoints) -> None:
        self.state = SessionState(holder=shared.incarnation, boot=shared.boot, origin=secrets.token_hex(8))
        self.uid: int | None = None
        self._session_id = session_id
        self._base = base
        self._shared = shared
        self._history: History | None = None
        self._saving = threading.Lock()
        self._overtaken = False

    def stand_on(self, state: SessionState, history: History | None) -> None:
        """Continue with the files that *state* describes; *history* when they come from the store. On the loop."""
        self.state, self._history = state, history

    def save(self) -> None:
        """Note the state beside the files. On any thread."""
        with self._saving:
            write_state(self._base, self.state)

    def assume_change(self) -> None:
        """Count a change that nobody has looked for. On the loop."""
        self.state.version += 1
        self.save()

    def checkpoint(self, deadline: Deadline, scanned: Callable[[], object]) -> int:
        """Look through the files and store what changed; returns the bytes written, 0 when nothing changed.

        *scanned* is called once the version is known, before anything is stored. Raises StoreUnavailable,
        TooManyFiles, TimeoutError, OSError.
        """
        with _opened(self._base) as base:
            if base is None or self._shared.store is None:
                self.save()
                return 0
            history = self._history = self._history or self._resumed(self._shared.store)
            copier = FileCopier(base, self.uid, deadline)
            found = scan(base, history.table, self.uid, deadline, max_bytes=self._shared.settings.max_bytes)
            plan = copier.plan(found, history.table)
            history.note_same(plan.same)
            if history.newest is None and not plan.unread and set(plan.changes) <= {""}:
                # The directories that every session begins with are no change.
                history.note_same(plan.changes)
                plan = Plan()
            if plan:
                self.state.version += 1
            if plan or self.state.away:
                self.save()
            scanned()
            return self._write(history, plan, copier) if plan else 0

    def secure(self, deadline: Deadline) -> bool:
        """Whether the store has these files, after a checkpoint if need be; nothing may run on them meanwhile.

        Raises StoreUnavailable, TooManyFiles, TimeoutError, OSError, DamagedPack.
        """
        store = self._shared.store
        if store is None:
            return False
        names = stored_names(store, self._session_id)
        if names and max(names).version >= next_epoch(self.state.version):
            load_version(store, self._session_id, names, max(names))
            return True  # the session has gone on elsewhere
        if not names and self.state.stored:
            return False  # somebody took the checkpoints away: these may be the only files
        self.checkpoint(deadline, lambda: None)
        newest = self._history.newest if self._history is not None else None
        return newest is None or newest in stored_names(store, self._session_id)

    def needs_tidying(self) -> bool:
        """Whether the store should be tidied for this session. On any thread."""
        return self._history is not None and not self._overtaken and self._history.needs_tidying()

    def tidy(self, deadline: Deadline) -> None:
        """Bring the contents of small and half-dead packs together and remove what is not needed any more.

        Raises StoreUnavailable, TimeoutError, OSError.
        """
        history = self._history
        assert history is not None, "needs_tidying() has said so"
        scattered = history.scattered()
        with _opened(self._base) as base:
            if base is None:
                return
            if scattered:
                self.state.version += 1
                self.save()
                self._write(history, Plan(scattered=scattered), FileCopier(base, self.uid, deadline))
        if not history.tidy():
            self._overtaken = True
            log.warning("session %s has gone on at another host; no checkpoint of it is removed", self._session_id)

    def _write(self, history: History, plan: Plan, copier: FileCopier) -> int:
        version = self.state.version
        size = history.write(plan, copier, version)
        self.state.stored = version
        if self.state.away:
            self.save()
        return size

    def _resumed(self, store: CheckpointStore) -> History:
        """Return the history that these files continue: the newest checkpoint that was taken of this directory."""
        history = History(store, self._session_id, self._shared.writer, self.state.origin)
        names = stored_names(store, self._session_id)
        for name in sorted(names, reverse=True):
            if name.version > self.state.version:
                continue
            try:
                stored = load_version(store, self._session_id, names, name)
            except DamagedPack as error:
                log.warning("checkpoint %s of session %s cannot be read: %s", name, self._session_id, error)
                continue
            if stored.manifest.origin == self.state.origin:
                history.resume(stored, len(names))
                return history
        if names:  # of other files than these
            self.state.version = max(self.state.version, next_epoch(max(names).version))
        return history


@contextmanager
def _opened(path: str) -> Generator[int | None]:
    """Open a directory; None when there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
