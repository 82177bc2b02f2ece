"""Memory stores, memories and their versions as they are stored, and the port to them (spec A.9).

A memory has its content in its newest version, which therefore is never redacted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.listing import Listing

Operation = Literal["created", "modified", "deleted"]
AuthorKind = Literal["api_actor", "session_actor", "service_account_actor"]


@dataclass(frozen=True, slots=True)
class MemoryStoreRecord:
    """One memory store; ``body`` holds name, description and metadata."""

    id: str
    body: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None
    workspace_id: str = DEFAULT_WORKSPACE


@dataclass(frozen=True, slots=True)
class Author:
    """Who changed something: ``id`` is that of an API key, or of a session whose agent did it."""

    kind: AuthorKind
    id: str


@dataclass(frozen=True, slots=True)
class Text:
    """What a memory says; ``content`` is None where it was not asked for, ``size`` is in UTF-8 bytes."""

    content: str | None
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A text at a path of a store, as it is now."""

    id: str
    store_id: str
    version_id: str
    path: str
    text: Text
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MemoryVersionRecord:
    """One change of a memory, and who made it. ``text`` is None of a deletion; with ``path``, once it is redacted."""

    id: str
    store_id: str
    memory_id: str
    operation: Operation
    path: str | None
    text: Text | None
    created_at: datetime
    author: Author | None
    redacted_at: datetime | None = None
    redacted_by: Author | None = None

    @property
    def archived_at(self) -> datetime | None:
        """Never: versions leave the list when their store does."""
        return None


@dataclass(frozen=True, slots=True)
class MemoryEdit:
    """A change of a memory: None keeps. ``expected_sha256`` is of the content that it is made for; None: of any."""

    path: str | None = None
    text: Text | None = None
    expected_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The version that a change leaves: its id, who made it, when."""

    version_id: str
    author: Author | None
    moment: datetime


@dataclass(frozen=True, slots=True)
class MemoryListing:
    """A page of a store's memories by path, byte by byte.

    Those below *prefix*, which ends with ``/``; ``rolled_up``: only its direct children, with the directories among
    them. ``after`` is the path, or the directory, before the page.
    """

    prefix: str = "/"
    rolled_up: bool = False
    after: str | None = None
    limit: int = 20
    with_content: bool = False


@dataclass(frozen=True, slots=True)
class VersionListing(Listing):
    """A page of a store's versions, with the filters of the API; each of *authors* must have written them."""

    memory_id: str | None = None
    operation: str | None = None
    authors: tuple[Author, ...] = ()
    with_content: bool = False


class Memories(Protocol):
    """What is in memory stores. Every call may raise Unavailable and NotFound.

    What changes memories of one store is done one after the other. Changes of a store that is archived are refused
    with InvalidRequest (``memory_store_archived``), deletions apart.
    """

    async def create_memory(self, memory: MemoryRecord, change: Change) -> None:
        """Raises MemoryPathConflict where the path is taken, InvalidRequest when the store is full."""
        ...

    async def memory(self, store_id: str, memory_id: str) -> MemoryRecord:
        """Return a memory with its content."""
        ...

    async def change_memory(self, store_id: str, memory_id: str, edit: MemoryEdit, change: Change) -> MemoryRecord:
        """Edit a memory; an edit after which all is as before leaves no version, and is never refused for what it
        expected. Raises MemoryPreconditionFailed, MemoryPathConflict."""
        ...

    async def delete_memory(
        self, store_id: str, memory_id: str, change: Change, *, expected_sha256: str | None = None
    ) -> None:
        """Delete a memory; its versions stay. Raises MemoryPreconditionFailed."""
        ...

    async def memories(self, store_id: str, query: MemoryListing) -> Sequence[MemoryRecord | str]:
        """Up to ``limit + 1`` memories and, where they are rolled up, paths of directories with a ``/`` behind."""
        ...


class MemoryRepository(Memories, Protocol):
    """Memory stores and what is in them. Every call may raise Unavailable, and NotFound but for ``insert``."""

    async def insert(self, store: MemoryStoreRecord) -> None: ...

    async def get(self, store_id: str) -> MemoryStoreRecord: ...

    async def change(
        self, store_id: str, change: Callable[[MemoryStoreRecord], MemoryStoreRecord]
    ) -> MemoryStoreRecord:
        """Change a store by a plain function, which may run again; id, workspace and birth stay."""
        ...

    async def archive(self, store_id: str, moment: datetime) -> MemoryStoreRecord:
        """Archive for good (idempotent: the first moment stays)."""
        ...

    async def delete(self, store_id: str) -> None:
        """Delete a store with all its memories and their versions."""
        ...

    async def list(self, query: Listing) -> Sequence[MemoryStoreRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def attach(self, store_id: str, session_id: str) -> MemoryStoreRecord:
        """Note that a session has a store (again is no error), and return the store. Refused as a change is."""
        ...

    async def detach(self, store_id: str, session_id: str) -> None:
        """Forget that a session had a store; that it had none is no error."""
        ...

    async def version(self, store_id: str, version_id: str) -> MemoryVersionRecord:
        """Return a version with its content."""
        ...

    async def versions(self, store_id: str, query: VersionListing) -> Sequence[MemoryVersionRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def redact(
        self, store_id: str, version_id: str, author: Author | None, moment: datetime
    ) -> MemoryVersionRecord:
        """Forget what a version said and where (idempotent). Raises InvalidRequest for a memory's newest version."""
        ...
