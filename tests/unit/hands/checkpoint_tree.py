"""A session's directories without a sandbox, to take checkpoints of and to restore into."""

from __future__ import annotations

import itertools
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agents.config import CheckpointSettings
from agents.hands.checkpoint_history import load_version, newest_first, stored_names
from agents.hands.checkpoint_manifest import COVERED
from agents.hands.checkpoint_restore import Restored, restore
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.checkpoint_work import Checkpoints, CheckpointWork
from agents.hands.deadline import Deadline
from agents.hands.session_state import read_state

SESSION = "sesn_a"
UID = 200_123
_places = itertools.count()
Snapshot = dict[bytes, tuple[object, ...]]


class Tree:
    """The files of one session on one host, with its checkpoints."""

    def __init__(self, base: Path, store: CheckpointStore, *, uid: int | None = UID, host: str = "h/1") -> None:
        self.base = base
        self.uid = uid
        settings = CheckpointSettings(max_bytes=64 * 1024 * 1024)
        self.shared = Checkpoints(settings, store, host, ThreadPoolExecutor(1))
        self.store = store
        for name in COVERED:
            (base / name).mkdir(parents=True)
            if uid is not None:
                os.chown(base / name, uid, uid)
        self.workspace = base / "workspace"
        self.restart()

    def restart(self) -> None:
        """Forget everything but the state beside the files, as the end of a process does."""
        self.work = CheckpointWork(SESSION, str(self.base), self.shared)
        self.work.uid = self.uid
        if (state := read_state(str(self.base))) is not None:
            self.work.stand_on(state, None)

    def own(self) -> None:
        """Give everything to the sandbox's user, without which a checkpoint leaves it out."""
        if self.uid is not None:
            for folder, folders, files in os.walk(os.fsencode(self.base)):
                for name in (*folders, *files):
                    path = os.path.join(folder, name)
                    if os.lstat(path).st_uid != self.uid:  # it would change the file's time
                        os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def checkpoint(self) -> int | None:
        """Take a checkpoint as the host does; returns the version, None when nothing changed."""
        self.own()
        before = self.work.state.version
        written = self.work.checkpoint(deadline(), lambda: None)
        version = self.work.state.version
        assert (written > 0) == (version > before)
        if self.work.needs_tidying():
            self.work.tidy(deadline())
        return version if written else None

    def restored_into(self, base: Path, *, attempt: int = 0) -> Restored:
        """Restore the newest checkpoint (or an older one) into fresh directories."""
        for name in COVERED:
            (base / name).mkdir(parents=True)
        names = stored_names(self.store, SESSION)
        stored = load_version(self.store, SESSION, names, newest_first(names, None)[attempt])
        fd = os.open(base, os.O_RDONLY)
        try:
            return restore(self.store, SESSION, stored, fd, self.uid, deadline())
        finally:
            os.close(fd)


def deadline() -> Deadline:
    return Deadline(20)


def snapshot(base: Path) -> Snapshot:
    """Describe all that a checkpoint should keep, by path."""
    found: Snapshot = {}
    for top in COVERED:
        for folder, folders, files in os.walk(os.fsencode(base / top)):
            for name in (b"", *folders, *files):
                path = os.path.join(folder, name)
                facts = os.lstat(path)
                described: tuple[object, ...] = (facts.st_mode, facts.st_mtime_ns, facts.st_uid)
                if stat.S_ISREG(facts.st_mode):
                    described += (Path(os.fsdecode(path)).read_bytes(),)
                elif stat.S_ISLNK(facts.st_mode):
                    described += (os.readlink(path),)
                elif not stat.S_ISDIR(facts.st_mode):
                    continue
                found[os.path.relpath(path, os.fsencode(base))] = described
    return found


def packs(tree: Tree) -> list[str]:
    return sorted(tree.store.sizes(SESSION))


def assert_restorable(tree: Tree, where: Path) -> None:
    target = where / f"restored{next(_places)}"
    assert tree.restored_into(target).damaged == []
    assert snapshot(target) == snapshot(tree.base)


class Churn:
    """A thread that changes files all the time."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            self._work(number)
