"""Files as they are stored, and the port to them.

A file is a row; its bytes are a blob that other files may share (``blobs``). Invariant: while a row names a blob, the
blob is there. It is held so: who brings bytes *claims* their blob in one transaction, puts them in place, and inserts
the row. Who removes marks a blob as leaving in a transaction that sees no row with it and no claim of late; while it
is leaving, claims are refused. A mark is of one moment and belongs to who made it: nobody else removes that blob until
the mark is so old that its maker has given up.

Whatever takes a blob from a file also claims the blob, so that who has just seen the file (a download, a copy of the
database) still finds its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.clock import rfc3339
from agents.errors import NotFound, PermissionDenied, Unavailable
from agents.ids import new_id
from agents.listing import Listing


class FileKind(StrEnum):
    """How a file came to be."""

    UPLOAD = "upload"
    MOUNT = "mount"
    """An upload as one session sees it: each mount is a file of its own (spec A.7)."""
    OUTPUT = "output"
    """What a session has left in its outputs directory."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One file. ``sha256`` is empty when its bytes are gone, for it has expired."""

    id: str
    filename: str
    mime_type: str
    size: int
    sha256: str
    created_at: datetime
    kind: FileKind = FileKind.UPLOAD
    expires_at: datetime | None = None
    session_id: str | None = None
    """The session that it belongs to, and goes with."""
    path: str | None = None
    """Of an output: where it is below the outputs directory."""
    workspace_id: str = DEFAULT_WORKSPACE

    @property
    def archived_at(self) -> None:
        """Files are not archived; listings ask."""

    @property
    def downloadable(self) -> bool:
        """Whether the API hands out its bytes: what was uploaded, its owner has (as at the hosted service)."""
        return self.kind is FileKind.OUTPUT

    def is_expired(self, now: datetime) -> bool:
        return not self.sha256 or (self.expires_at is not None and self.expires_at <= now)

    def wire(self) -> dict[str, Any]:
        """Return the file as the API shows it."""
        scope = None if self.session_id is None else {"type": "session", "id": self.session_id}
        return {
            "id": self.id,
            "type": "file",
            "filename": self.filename,
            "mime_type": self.mime_type,
            "size_bytes": self.size,
            "created_at": rfc3339(self.created_at),
            "downloadable": self.downloadable,
            "expires_at": rfc3339(self.expires_at) if self.expires_at else None,
            "scope": scope,
        }


@dataclass(frozen=True, slots=True)
class FileListing(Listing):
    """A page of files, with the filters of GET /v1/files."""

    include_archived: bool = True
    session_id: str | None = None
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class OutputBounds:
    """What the outputs of one session may be together."""

    files: int
    bytes: int


class StorageFull(PermissionDenied):
    """The files of the workspace, or the outputs of the session, would take more room than there is."""


class BlobLeaving(Unavailable):
    """The blob is being removed just now; a moment later it may be claimed."""


class FileRecords(Protocol):
    """The files of a platform. Every call may raise Unavailable."""

    async def claim(self, sha256: str, size: int, moment: datetime) -> None:
        """Have the blob stay for a while, for a row with it will follow. Raises BlobLeaving."""
        ...

    async def insert(self, file: FileRecord, *, most_bytes: int, outputs: OutputBounds | None = None) -> None:
        """Store a file whose blob is claimed and in place; an output replaces the one with its session and path.

        Raises StorageFull when its workspace would have more than *most_bytes*, or its session more than *outputs*,
        Conflict for a taken id.
        """
        ...

    async def insert_copy(self, file: FileRecord, source_id: str) -> None:
        """Store a mount of the file *source_id*, if that is there and has the same bytes; again changes nothing.

        Raises NotFound.
        """
        ...

    async def get(self, file_id: str) -> FileRecord:
        """Raises NotFound."""
        ...

    async def list(self, query: FileListing) -> Sequence[FileRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def delete(self, file_id: str, moment: datetime) -> None:
        """Raises NotFound."""
        ...

    async def delete_of_session(self, session_id: str, moment: datetime) -> None:
        """Remove all files of a session."""
        ...

    async def delete_orphans(self, moment: datetime, *, made_before: datetime) -> int:
        """Remove files so old whose session is not there; returns how many."""
        ...

    async def expire(self, now: datetime) -> int:
        """Take the bytes from files that have expired; returns from how many."""
        ...

    async def leaving(
        self, moment: datetime, *, unclaimed_since: datetime, unmarked_since: datetime, limit: int
    ) -> Sequence[str]:
        """Mark blobs that no file has, and nobody has claimed since then, as leaving; returns those it has marked.

        The mark is *moment*. One that another has made is left to it, unless that was before *unmarked_since*.
        """
        ...

    async def gone(self, sha256: str, moment: datetime) -> None:
        """Forget a blob that is removed, if it has the mark of that moment."""
        ...

    async def stay(self, sha256: str, moment: datetime) -> None:
        """Take the mark of that moment away, as if the blob had been claimed then: it could not be removed."""
        ...


def new_file_id() -> str:
    return new_id("file")


def no_file(file_id: str) -> NotFound:
    """Word that a file is not there."""
    return NotFound(f"file {file_id} not found")


def expired(file_id: str) -> NotFound:
    """Word that a file's bytes are gone for good."""
    return NotFound(f"file {file_id} has expired", error_code="file_expired")


def full(most_bytes: int) -> StorageFull:
    """Word that there is no room."""
    words = f"the files of this workspace may have {most_bytes} bytes together, and this one would exceed that"
    return StorageFull(words, error_code="storage_quota_exceeded")


def check_outputs(most: OutputBounds, count: int, size: int) -> None:
    """Raise StorageFull for a session with *count* outputs of *size* bytes, the new one among them."""
    if count > most.files or size > most.bytes:
        raise StorageFull(f"a session may have {most.files} outputs of {most.bytes} bytes together")
