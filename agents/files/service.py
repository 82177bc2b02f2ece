"""Files: bringing them in, handing them out, and clearing away what nobody has any more."""

from __future__ import annotations

import logging
import mimetypes
import posixpath
import re
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from agents.clock import Clock
from agents.config import Settings
from agents.errors import InvalidRequest, Unavailable
from agents.files.blobs import Blob, Blobs, Staged, open_blobs, too_large
from agents.files.records import (
    BlobLeaving,
    FileKind,
    FileRecord,
    FileRecords,
    OutputBounds,
    expired,
    new_file_id,
    no_file,
)
from agents.files.settings import FileSettings
from agents.hands.checkpoint_store import StoreUnavailable
from agents.store.ports import Store

logger = logging.getLogger(__name__)

FILENAME_CHARS = 500  # the API's reference of FileMetadata
MIME_TYPE_CHARS = 255  # likewise
SHORTEST_EXPIRY = 3600  # spec A.10
LONGEST_EXPIRY = 90 * 24 * 3600  # spec A.10
_ANY = "application/octet-stream"
_MIME_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CLAIMED_SECONDS = 3600.0
"""Bytes that were claimed longer ago than this, and have no file, have none coming: it would be there."""
_REMOVALS = 20
"""Rounds of one sweep at most; the next one goes on."""
_AT_ONCE = 10
"""Blobs that are marked together: while they are, nobody can upload their contents."""
_REMOVING_SECONDS = 600.0
"""A mark that is older is used no more by who made it."""
_MARKED_SECONDS = 900.0
"""And from then on it is another's: the rest is for one removal, and for clocks that differ."""
_CLAIM_TRIES = 20
_CLAIM_SECONDS = 0.25
"""To remove those that are marked together takes well less than the two together."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """What is said of a file that comes in."""

    filename: str
    mime_type: str
    expires_in: int | None = None

    @classmethod
    def checked(cls, filename: str | None, mime_type: str | None, expires_in: int | None) -> NewFile:
        """Return what an upload says, completed. Raises InvalidRequest.

        Only the last component of the name is kept; one that has none is called ``unnamed``, with the extension of its
        type.
        """
        kind = (mime_type or "").partition(";")[0].strip().lower()
        name = posixpath.basename((filename or "").replace("\\", "/"))
        if name in (".", ".."):  # a client that writes to this name means a directory
            name = ""
        if not kind or kind == _ANY:
            kind = mimetypes.guess_type(name)[0] or _ANY
        if len(kind) > MIME_TYPE_CHARS or not _MIME_TYPE.fullmatch(kind):
            raise InvalidRequest("file: its content-type must be a media type such as text/plain")
        name = name or f"unnamed{mimetypes.guess_extension(kind) or ''}"
        if len(name) > FILENAME_CHARS or _CONTROL.search(name):
            words = f"must have at most {FILENAME_CHARS} characters, and none that control"
            raise InvalidRequest(f"file: its filename {words}")
        if expires_in is not None and not SHORTEST_EXPIRY <= expires_in <= LONGEST_EXPIRY:
            raise InvalidRequest(f"expires_in_seconds: must be from {SHORTEST_EXPIRY} to {LONGEST_EXPIRY}")
        return cls(name, kind, expires_in)


class Files:
    """The files of a platform. Every call may raise Unavailable or StoreUnavailable."""

    def __init__(self, records: FileRecords, blobs: Blobs, clock: Clock, settings: FileSettings) -> None:
        self.records = records
        self.blobs = blobs
        self._clock = clock
        self._settings = settings

    async def stage(self, chunks: AsyncIterable[bytes], *, size: int = 0) -> Staged:
        """Bring bytes in. Raises PayloadTooLarge; where their *size* is known, before any of them is read."""
        most = self._settings.max_bytes
        if size > most:
            raise too_large(most)
        return await self.blobs.stage(chunks, most=most)

    async def add(self, staged: Staged, new: NewFile, workspace_id: str) -> FileRecord:
        """Make a file of staged bytes. Raises StorageFull; then they are gone."""
        now = self._clock.now()
        file = FileRecord(
            id=new_file_id(),
            filename=new.filename,
            mime_type=new.mime_type,
            size=staged.blob.size,
            sha256=staged.blob.sha256,
            created_at=now,
            expires_at=None if new.expires_in is None else now + timedelta(seconds=new.expires_in),
            workspace_id=workspace_id,
        )
        return await self._keep(staged, file)

    async def add_output(
        self, chunks: AsyncIterable[bytes], size: int, session_id: str, path: str, workspace_id: str, most: OutputBounds
    ) -> FileRecord:
        """Keep what a session has left in its outputs directory at *path*, in place of what was there.

        *size* is what *chunks* have at most.
        Raises InvalidRequest (a name that cannot be a file's), PayloadTooLarge, StorageFull (also for a session that
        would have more outputs than *most*).
        """
        new = NewFile.checked(path, None, None)
        staged = await self.stage(chunks, size=size)
        file = FileRecord(
            id=new_file_id(),
            filename=new.filename,
            mime_type=new.mime_type,
            size=staged.blob.size,
            sha256=staged.blob.sha256,
            created_at=self._clock.now(),
            kind=FileKind.OUTPUT,
            session_id=session_id,
            path=path,
            workspace_id=workspace_id,
        )
        return await self._keep(staged, file, most)

    async def mount(self, file_id: str, session_id: str, workspace_id: str, copy_id: str | None = None) -> FileRecord:
        """Make the copy of a file that one session sees; the one with *copy_id*, if that is given, once.

        Raises NotFound (also another workspace's, or expired).
        """
        source = await self.usable(file_id, workspace_id)
        mounted = replace(
            source,
            id=copy_id or new_file_id(),
            kind=FileKind.MOUNT,
            session_id=session_id,
            path=None,
            created_at=self._clock.now(),
        )
        await self.records.insert_copy(mounted, source.id)
        return mounted

    async def usable(self, file_id: str, workspace_id: str) -> FileRecord:
        """Return a file of a workspace whose bytes are there. Raises NotFound."""
        file = await self.records.get(file_id)
        if file.workspace_id != workspace_id:
            raise no_file(file_id)
        if file.is_expired(self._clock.now()):
            raise expired(file_id)
        return file

    def content(self, file: FileRecord, start: int, length: int) -> AsyncGenerator[bytes]:
        """Yield *length* bytes of a file from *start*."""
        return self.blobs.read(file.sha256, start, length)

    async def delete(self, file_id: str) -> None:
        """Remove a file. Raises NotFound."""
        await self.records.delete(file_id, self._clock.now())

    async def whole(self, file: FileRecord) -> bytes:
        """Return all bytes of a file, for those who have looked at its size."""
        return await self.blobs.whole(Blob(file.sha256, file.size))

    async def sweep(self) -> None:
        """Take the bytes from expired files, and remove what belongs to no file and to no session any more.

        Raises Unavailable.
        """
        try:
            await self._sweep()
        except StoreUnavailable as error:
            raise Unavailable(error.message) from error

    async def _sweep(self) -> None:
        now = self._clock.now()
        await self.records.expire(now)
        # Of late ones the session is perhaps being created.
        long_ago = now - timedelta(seconds=_CLAIMED_SECONDS)
        await self.records.delete_orphans(now, made_before=long_ago)
        if abandoned := await self.blobs.drop_abandoned():
            logger.info("removed %d uploads that were broken off", abandoned)
        for _ in range(_REMOVALS):
            if not await self._remove_some(long_ago):
                break

    async def _remove_some(self, unclaimed_since: datetime) -> bool:
        """Remove a few blobs that no file has; returns whether there may be more. Raises StoreUnavailable.

        One that cannot be removed is claimed by that, so that its turn comes after all others.
        """
        mark = self._clock.now()
        names = await self.records.leaving(
            mark,
            unclaimed_since=unclaimed_since,
            unmarked_since=mark - timedelta(seconds=_MARKED_SECONDS),
            limit=_AT_ONCE,
        )
        failure: StoreUnavailable | None = None
        for sha256 in names:
            if self._clock.now() - mark > timedelta(seconds=_REMOVING_SECONDS):
                return False
            try:
                await self.blobs.delete(sha256)
            except StoreUnavailable as error:
                failure = error
                await self.records.stay(sha256, mark)
            else:
                await self.records.gone(sha256, mark)
        if failure is not None:
            raise failure
        return len(names) == _AT_ONCE

    async def _keep(self, staged: Staged, file: FileRecord, outputs: OutputBounds | None = None) -> FileRecord:
        """Have the bytes stay and insert the row, in the order that ``records`` asks for."""
        try:
            await self._claim(staged.blob)
            await self.blobs.keep(staged)
        except BaseException:
            await self.blobs.drop(staged)
            raise
        # Where this fails, a sweep finds that the blob belongs to nobody.
        await self.records.insert(file, most_bytes=self._settings.workspace_bytes, outputs=outputs)
        return file

    async def _claim(self, blob: Blob) -> None:
        for _ in range(_CLAIM_TRIES):
            try:
                await self.records.claim(blob.sha256, blob.size, self._clock.now())
            except BlobLeaving:
                await self._clock.sleep(_CLAIM_SECONDS)
            else:
                return
        await self.records.claim(blob.sha256, blob.size, self._clock.now())


def open_files(settings: Settings, store: Store, clock: Clock) -> Files:
    """Return the files of a platform. Raises StoreUnavailable for a place of a kind that is not installed."""
    return Files(store.files, open_blobs(settings), clock, settings.files)
