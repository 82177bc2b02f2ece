"""Keeping a directory and a memory store the same: what ``syncing`` plans, done pass by pass.

Invariant: what a pass could not bring over is as it was on both sides, and is looked at anew by the next one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agents.clock import Clock
from agents.errors import (
    HecatonError,
    InvalidRequest,
    MemoryPathConflict,
    MemoryPreconditionFailed,
    NotFound,
    Unavailable,
)
from agents.ids import new_memory_id, new_memory_version_id
from agents.memory import rules
from agents.memory.records import Author, Change, Memories, MemoryEdit, MemoryListing, MemoryRecord, Text
from agents.memory.syncing import SyncPlan, plan_sync

_PER_PAGE = 500
"""Memories, without contents, that are read at once."""
_LOADED = 40
"""Memories, with contents, that are: 4 MB at most."""


class TooManyEntries(OSError):
    """A directory has more in it than is looked at."""

    def __init__(self, most: int) -> None:
        super().__init__(f"has more than {most} files and directories: until there are fewer, nothing there is kept")


class Directory(Protocol):
    """A directory in a sandbox. Its files are named by the paths of memories: ``/notes/today.md``."""

    async def digests(self) -> Mapping[str, str] | None:
        """Return the SHA-256 of each regular file's bytes; None when the directory is not there.

        Raises TooManyEntries, OSError.
        """
        ...

    async def digest(self, path: str) -> str | None:
        """Return what ``digests`` would for one file; None when it is not there. Raises OSError."""
        ...

    async def read(self, path: str) -> str | None:
        """Return a file's text; None when it is gone, or is no text. Raises OSError."""
        ...

    async def write(self, path: str, content: str) -> None:
        """Make or replace a file, with the directories above it. Raises OSError."""
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, if it is there, and the directories that it leaves empty. Raises OSError."""
        ...


@dataclass(slots=True)
class Base:
    """What a pass goes on from. It brings this up to date step by step: it holds also for one that ends halfway."""

    both: dict[str, str] = field(default_factory=lambda: {})
    """Digests that both sides have, or had last where a change is not brought over yet."""
    sent: dict[str, str] = field(default_factory=lambda: {})
    """Digests that went to the store, whose answer has not come: it may have them."""

    def have(self, path: str, digest: str | None) -> None:
        """Note what both sides have at *path* now; None: nothing."""
        self.sent.pop(path, None)
        if digest is None:
            self.both.pop(path, None)
        else:
            self.both[path] = digest


@dataclass(slots=True)
class SyncPass:
    """What a pass has come to."""

    lost: tuple[str, ...] = ()
    """Files whose changes gave way to the store's."""
    refused: dict[str, str] = field(default_factory=lambda: {})
    """Files that the store does not take as they are, or that the directory does not, and why; "" is all of them."""
    acts: Counter[str] = field(default_factory=Counter[str])
    """How often it did what ``MEMORY_CHANGES`` counts."""
    failed: HecatonError | OSError | None = None
    """Why it ended before all was done."""


class MemoryMirror:
    """Brings directories of sessions and memory stores to one state."""

    def __init__(self, memory: Memories, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock

    async def synchronize(
        self, store_id: str, session_id: str, directory: Directory, base: Base, *, read_only: bool
    ) -> SyncPass:
        """Make one pass from *base* on. Raises NotFound without the store, Unavailable before anything was done."""
        stored = await self._stored(store_id)
        try:
            local = await directory.digests()
        except TooManyEntries as error:
            return SyncPass(refused={"": str(error)})
        if local is None or (not local and len(base.both) > 1):
            # Swept away at once: more likely the directory than each memory in it was to go.
            base.both, base.sent = {}, {}
        local, theirs = local or {}, _digests(stored)
        # What arrived and was not answered is no change of somebody else's.
        last = base.both | {path: digest for path, digest in base.sent.items() if theirs.get(path) == digest}
        plan = plan_sync(last, local, theirs, read_only=read_only)
        same = {path: digest for path, digest in local.items() if theirs.get(path) == digest}
        base.both = {**_pending(plan, last), **same}
        done = SyncPass()
        work = _Work(self._memory, store_id, session_id, self._clock, directory, local, stored, last, base)
        try:
            await _carry_out(plan, work, done)
            base.sent = {}
        except Unavailable as error:
            done.failed = error
        done.lost = tuple(path for path in plan.lost if path in work.undone)
        done.acts["lost"] = len(done.lost)
        return done

    async def _stored(self, store_id: str) -> dict[str, MemoryRecord]:
        found: dict[str, MemoryRecord] = {}
        after: str | None = None
        while True:
            page = await self._memory.memories(store_id, MemoryListing(after=after, limit=_PER_PAGE))
            found.update((each.path, each) for each in page[:_PER_PAGE] if not isinstance(each, str))
            if len(page) <= _PER_PAGE:
                return found
            after = max(found)


def _digests(stored: Mapping[str, MemoryRecord]) -> dict[str, str]:
    return {path: memory.text.sha256 for path, memory in stored.items()}


def _pending(plan: SyncPlan, last: Mapping[str, str]) -> dict[str, str]:
    """Return what both had of what the plan changes: the base to go on from where it fails."""
    changed = {*plan.fetch, *plan.remove, *plan.create, *plan.update, *plan.delete}
    return {path: last[path] for path in changed if path in last}


async def _carry_out(plan: SyncPlan, work: _Work, done: SyncPass) -> None:
    # What goes away goes first: it may be in the way of what comes.
    for name, act, paths in (
        ("delete", work.delete, plan.delete),
        ("remove", work.remove, plan.remove),
        ("update", work.update, plan.update),
        ("create", work.create, plan.create),
    ):
        for path in paths:
            done.acts[await _tried(name, act, path, done)] += 1
    for start in range(0, len(plan.fetch), _LOADED):
        paths = plan.fetch[start : start + _LOADED]
        await work.load(paths)
        for path in paths:
            done.acts[await _tried("fetch", work.fetch, path, done)] += 1


async def _tried(name: str, act: Callable[[str], Awaitable[None]], path: str, done: SyncPass) -> str:
    """Do it, or note why not; returns what it came to, for the count."""
    try:
        await act(path)
    except (MemoryPreconditionFailed, NotFound, _Overtaken):
        return "overtaken"  # somebody was faster: the next pass sees what is there now
    except (InvalidRequest, MemoryPathConflict) as error:
        done.refused[path] = error.message
        return "refused"
    except OSError as error:
        done.refused[path] = error.strerror or type(error).__name__
        return "refused"
    return name


class _Overtaken(Exception):
    """Somebody else changed one side meanwhile."""


@dataclass(slots=True)
class _Work:
    memory: Memories
    store_id: str
    session_id: str
    clock: Clock
    directory: Directory
    local: Mapping[str, str]
    stored: Mapping[str, MemoryRecord]
    last: Mapping[str, str]
    base: Base
    grown: int = 0
    """Memories that the store has more than were listed."""
    archived: InvalidRequest | None = None
    undone: set[str] = field(default_factory=lambda: set())
    """Where the directory has gone back to what the store has."""
    loaded: dict[str, MemoryRecord] = field(default_factory=lambda: {})

    async def load(self, paths: Sequence[str]) -> None:
        """Read the contents of *paths*, which are sorted, at once if nearly all of a stretch of the store is wanted."""
        order = sorted(self.stored)
        first, last = bisect_left(order, paths[0]), bisect_left(order, paths[-1])
        self.loaded = {}
        if 1 < last - first + 1 <= _LOADED:
            after = order[first - 1] if first else None
            listing = MemoryListing(after=after, limit=last - first + 1, with_content=True)
            page = await self.memory.memories(self.store_id, listing)
            self.loaded = {each.path: each for each in page if not isinstance(each, str)}

    async def fetch(self, path: str) -> None:
        memory = self.loaded.get(path) or await self.memory.memory(self.store_id, self.stored[path].id)
        if memory.path != path or memory.text.content is None:
            raise _Overtaken  # it has moved
        await self._check_same(path)
        await self.directory.write(path, memory.text.content)
        self.base.have(path, memory.text.sha256)
        self.undone.add(path)

    async def remove(self, path: str) -> None:
        await self._check_same(path)
        await self.directory.remove(path)
        self.base.have(path, None)
        self.undone.add(path)

    async def _check_same(self, path: str) -> None:
        """Raise _Overtaken for a file that is written while the pass runs: the next one decides about it."""
        seen = self.local.get(path)  # None also of a link, of which the directory knows what to do
        if seen is not None and await self.directory.digest(path) != seen:
            raise _Overtaken

    async def create(self, path: str) -> None:
        self._refuse_archived()
        if len(self.stored) + self.grown >= rules.MAX_MEMORIES:
            # Not asked for each of what may be very many.
            raise InvalidRequest(f"memory store {self.store_id} is full")
        content = await self.directory.read(path)
        if content is None:
            raise InvalidRequest("is no text in UTF-8")
        text, change = rules.text_of(content), self._change()
        moment = change.moment
        record = MemoryRecord(
            new_memory_id(), self.store_id, change.version_id, rules.checked_path(path), text, moment, moment
        )
        await self._taken(path, text, self.memory.create_memory(record, change))
        self.grown += 1

    async def update(self, path: str) -> None:
        self._refuse_archived()
        content = await self.directory.read(path)
        if content is None:
            raise InvalidRequest("is no text in UTF-8")
        text = rules.text_of(content)
        edit = MemoryEdit(text=text, expected_sha256=self.last[path])
        memory_id = self.stored[path].id
        await self._taken(path, text, self.memory.change_memory(self.store_id, memory_id, edit, self._change()))

    async def delete(self, path: str) -> None:
        memory, expected = self.stored[path], self.last[path]
        await self.memory.delete_memory(self.store_id, memory.id, self._change(), expected_sha256=expected)
        self.grown -= 1
        self.base.have(path, None)

    async def _taken(self, path: str, text: Text, answer: Awaitable[object]) -> None:
        """Wait until the store has what is written to it."""
        self.base.sent[path] = text.sha256
        try:
            await answer
        except InvalidRequest as error:
            if error.error_code == "memory_store_archived":
                self.archived = error
            raise
        self.base.have(path, text.sha256)

    def _refuse_archived(self) -> None:
        if self.archived is not None:
            # Not asked for each of what may be very many.
            raise self.archived

    def _change(self) -> Change:
        return Change(new_memory_version_id(), Author("session_actor", self.session_id), self.clock.now())
