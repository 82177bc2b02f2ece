"""What a worker must know of a session beyond its own life: where its files are, and which calls it has sent where.

The server cannot know what became of a call whose worker died: it offers it again. A note of the call's host, made
before the call goes there and dropped once its result is the server's, lets whoever serves the session next ask that
host, which remembers the call if it still lives. Notes are shared by all workers that have the same hands. They need
not survive the machines' own end: sandboxes do not either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

import orjson

from agents.errors import Unavailable

T = TypeVar("T")


class Notes(Protocol):
    """Small JSON values by plain names. Every method raises Unavailable.

    What nobody waits for any more may be done all the same, but before what is asked later: beside that it would spoil
    it, or put back what it had settled.
    """

    async def get(self, name: str) -> Any:
        """Return what was written under *name*; None when nothing was."""
        ...

    async def put(self, name: str, value: Any) -> None: ...

    async def drop(self, name: str) -> None: ...


class FileNotes:
    """Notes of one machine, a file each."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._in_order = ThreadPoolExecutor(1, "worker-notes")

    async def get(self, name: str) -> Any:
        """See Notes.get."""
        return await self._do(self._read, name)

    def _read(self, name: str) -> Any:
        try:
            return orjson.loads((self._root / name).read_bytes())
        except FileNotFoundError:
            return None

    async def put(self, name: str, value: Any) -> None:
        """Write as a whole or not at all: whoever is killed in between leaves what was there."""
        await self._do(self._write, name, orjson.dumps(value))

    def _write(self, name: str, content: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        new = self._root / f".{name}.new"
        new.write_bytes(content)
        new.replace(self._root / name)

    async def drop(self, name: str) -> None:
        """See Notes.drop."""
        await self._do(self._remove, name)

    def _remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    async def _do(self, work: Callable[..., T], *args: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._in_order, work, *args)
        except (OSError, orjson.JSONDecodeError) as error:
            raise Unavailable(f"the worker's notes in {self._root} cannot be used: {error}") from error


class SessionJournal:
    """One session's note, kept up as its calls go out and end."""

    def __init__(self, notes: Notes, name: str) -> None:
        self._notes = notes
        self._name = name
        self._writing = asyncio.Lock()
        self._read = False
        self.host: str | None = None
        """The incarnation that the session's last call went to."""
        self._heard = False
        self.version = 0
        """Version of the session's files, as far as calls have told."""
        self.sent: dict[str, str] = {}
        """Calls without a settled result, and the incarnation that each was sent to."""

    @property
    def result_host(self) -> str | None:
        """The same once any call has had a result; None before: nothing of the session is lost with a host yet."""
        return self.host if self._heard else None

    async def load(self) -> None:
        """Read what is known, once. Raises Unavailable."""
        async with self._writing:
            if not self._read:
                known: dict[str, Any] = await self._notes.get(self._name) or {}
                self.host, self.version = known.get("host"), known.get("version", 0)
                self._heard = known.get("heard", self.host is not None)  # notes of an earlier release do not say
                self.sent = dict(known.get("sent", {}))
                self._read = True

    async def send(self, call_id: str, host: str) -> None:
        """Note that a call is about to go to *host*. Raises Unavailable: then it must not go."""
        self.sent[call_id] = host
        try:
            await self._write()
        except Unavailable:
            self.sent.pop(call_id, None)
            raise
        self.host = host

    def ran(self, host: str | None, version: int | None) -> None:
        """Take what a result says of the session's files; it is written with the next note."""
        self.host = host or self.host
        self.version = max(self.version, version or 0)

    async def settle(self, call_ids: Collection[str]) -> None:
        """Forget calls whose results the log has. Raises Unavailable."""
        if settled := self.sent.keys() & set(call_ids):
            self._heard = True
            for call_id in settled:
                del self.sent[call_id]
            await self._write()

    async def forget(self) -> None:
        """Forget a session that is over. Raises Unavailable."""
        async with self._writing:
            await self._notes.drop(self._name)

    async def _write(self) -> None:
        async with self._writing:
            # Whoever waited for the lock writes what there is by now, so that the last to write has it all.
            note = {"host": self.host, "heard": self._heard, "version": self.version, "sent": self.sent}
            await self._notes.put(self._name, note)


class SessionJournals:
    """The journals of the sessions that are served here, one object for each."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._open: WeakValueDictionary[str, SessionJournal] = WeakValueDictionary()

    def of(self, name: str) -> SessionJournal:
        """Return the journal of the session that is called *name* at the hands."""
        journal = self._open.get(name)
        if journal is None:
            journal = self._open[name] = SessionJournal(self._notes, name)
        return journal
