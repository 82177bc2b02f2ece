"""The checkpoints of one session in the store, as the host that has its files continues them.

Every checkpoint is one pack with the contents that changed; its manifest says for every other file which
earlier pack has it. Now and then small or mostly dead packs are written together into one, and what nothing
refers to any more is removed. Invariants: what a manifest refers to exists for as long as no newer checkpoint
is complete; a host that was overtaken (a newer checkpoint by another one) removes nothing.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from agents.hands.checkpoint_copy import FileCopier, Plan
from agents.hands.checkpoint_manifest import AnyChanges, Changes, DamagedPack, Entry, Manifest, Table, apply, merge
from agents.hands.checkpoint_pack import PackName, PackWriter, read_manifest
from agents.hands.checkpoint_store import CheckpointStore

log = logging.getLogger(__name__)

_MAX_OBJECTS = 32
"""With more packs than this, small ones are written together: it bounds the requests of a restore."""
_SPARE_BYTES = 4 * 1024 * 1024
"""Dead content up to this much, or as much as there is live content, stays where it is."""
_SMALL_TABLE = 500
_SHARE = 8
"""A manifest carries the whole table once an eighth of it has changed since the last whole one; a pack with less
than an eighth of all content is a small one."""


@dataclass(slots=True)
class StoredVersion:
    """A checkpoint as it lies in the store."""

    name: PackName
    manifest: Manifest
    table: Table


def stored_names(store: CheckpointStore, folder: str) -> dict[PackName, int]:
    """Return the packs of a session with their sizes; raises StoreUnavailable."""
    found = ((PackName.parse(name), size) for name, size in store.sizes(folder).items())
    return {name: size for name, size in found if name is not None}


def newest_first(names: Iterable[PackName], host: str | None) -> list[PackName]:
    """Order packs for reading: those of *host* (whose files the log stands on), in any of its lives, before others."""
    return sorted(names, key=lambda name: (name.host == host, name.version), reverse=True)


def load_version(store: CheckpointStore, folder: str, names: dict[PackName, int], name: PackName) -> StoredVersion:
    """Read one checkpoint's table; raises DamagedPack, StoreUnavailable."""
    manifest = read_manifest(store, folder, str(name), names[name])
    if manifest.base is None:
        table: Table = {}
        apply(table, manifest.changes)
        return StoredVersion(name, manifest, table)
    base = PackName.parse(manifest.base)
    if base is None or base not in names:
        raise DamagedPack(f"the pack that it builds on is gone: {manifest.base}")
    whole = read_manifest(store, folder, str(base), names[base])
    if whole.base is not None:
        raise DamagedPack(f"the pack that it builds on builds on another: {manifest.base}")
    table = {}
    apply(table, whole.changes)
    apply(table, manifest.changes)
    return StoredVersion(name, manifest, table)


@dataclass(slots=True)
class History:
    """A session's checkpoints, continued by this process as *writer*. For one thread at a time."""

    store: CheckpointStore
    folder: str
    writer: str
    origin: str
    """Which directory the inode numbers in the table are true for."""
    table: Table = field(default_factory=lambda: {})
    newest: PackName | None = None
    _base: PackName | None = None
    _delta: AnyChanges = field(default_factory=lambda: {})
    """How the table differs from that of the base."""
    _packs: dict[int, tuple[str, int]] = field(default_factory=lambda: {})
    """Name and bytes of content of the packs that the table refers to."""
    _live: Counter[int] = field(default_factory=lambda: Counter())
    """Bytes of content in each pack that the table refers to."""
    _objects: int = 0

    def resume(self, stored: StoredVersion, objects: int) -> None:
        """Continue *stored*, one of so many *objects* in the folder."""
        manifest = stored.manifest
        self.table = stored.table
        self.newest = stored.name
        self._base = stored.name if manifest.base is None else PackName.parse(manifest.base)
        self._delta = {} if manifest.base is None else manifest.changes
        self._packs = dict(manifest.packs)
        self._live = Counter()
        for entries in self.table.values():
            for entry in entries.values():
                _count_in(self._live, entry, 1)
        self._objects = objects

    def note_same(self, same: Changes) -> None:
        """Remember new figures of files that are what they were."""
        apply(self.table, same)

    def write(self, plan: Plan, copier: FileCopier, version: int, *, whole: bool = False) -> int:
        """Store a checkpoint and return its size in bytes; *whole* writes the whole table into it.

        Raises StoreUnavailable, TimeoutError, OSError; the history is then what it was.
        """
        name = PackName(version, self.writer)
        with self.store.writing(self.folder, str(name)) as sink:
            pack = PackWriter(sink)
            start = pack.size
            changes = plan.changes
            merge(changes, copier.copy(plan.unread, version, pack))
            merge(changes, self._moved(copier.copy(plan.scattered, version, pack)))
            content = pack.size - start
            table, live = self._with(changes)
            delta: Changes = {path: dict(entries) for path, entries in self._delta.items()}
            merge(delta, changes)
            whole = whole or self._base is None or _count(table) <= _SMALL_TABLE
            whole = whole or _count(delta) * _SHARE > _count(table)
            packs = {**self._packs, version: (str(name), content)}
            packs = {known: pack for known, pack in packs.items() if live[known] > 0}
            base = None if whole else str(self._base)
            pack.finish(Manifest(version, self.origin, base, packs, table if whole else delta))
        self.table, self._live, self._packs = table, live, packs
        self.newest = name
        self._base, self._delta = (name, {}) if whole else (self._base, delta)
        self._objects += 1
        return pack.size

    def needs_tidying(self) -> bool:
        """Whether there are too many packs, or too much in them that nothing refers to."""
        live = self._live.total()
        dead = sum(size for _, size in self._packs.values()) - live
        return self._objects > _MAX_OBJECTS or dead > max(live, _SPARE_BYTES)

    def scattered(self) -> dict[str, list[str]]:
        """Return the files whose content should move into the next pack: those in small or mostly dead packs."""
        total = self._live.total()
        dead = {version for version, (_, size) in self._packs.items() if self._live[version] * 2 < size}
        small = {version for version in self._packs if self._live[version] * _SHARE < total}
        chosen = dead | small if dead or len(small) > 1 else set[int]()
        found = {
            path: [name for name, entry in entries.items() if entry.digest and entry.pack in chosen]
            for path, entries in self.table.items()
        }
        return {path: names for path, names in found.items() if names}

    def tidy(self) -> bool:
        """Remove what the newest checkpoint does not need; False when another host has gone on from here.

        Raises StoreUnavailable.
        """
        assert self.newest is not None, "something has been written"
        names = stored_names(self.store, self.folder)
        if max(names, default=self.newest) > self.newest and max(names).writer != self.writer:
            return False
        needed = {str(self.newest), str(self._base), *(name for name, _ in self._packs.values())}
        unneeded = [str(name) for name in names if name < self.newest and str(name) not in needed]
        self.store.remove(self.folder, unneeded)
        self._objects = len(names) - len(unneeded)
        return True

    def _moved(self, copied: Changes) -> Changes:
        """Return the entries of files that are copied once more, as far as they are still what the table says.

        What a call has half done by now must not slip in between two checkpoints.
        """
        moved: Changes = {}
        for path, entries in copied.items():
            for name, entry in entries.items():
                known = self.table[path][name]
                if entry is not None and (entry.digest, entry.extents) == (known.digest, known.extents):
                    moved.setdefault(path, {})[name] = known._replace(pack=entry.pack, offset=entry.offset)
        return moved

    def _with(self, changes: Changes) -> tuple[Table, Counter[int]]:
        """Return the table and the live bytes of each pack as they will be; the present ones stay untouched."""
        table = dict(self.table)
        live = self._live.copy()
        for path, entries in changes.items():
            known = table[path] = dict(table.get(path, {}))
            for name, entry in entries.items():
                _count_in(live, known.get(name), -1)
                _count_in(live, entry, 1)
        apply(table, changes)
        return table, live


def _count_in(live: Counter[int], entry: Entry | None, sign: int) -> None:
    if entry is not None and entry.digest:
        live[entry.pack] += sign * entry.stored


def _count(changes: AnyChanges) -> int:
    return sum(map(len, changes.values()))
