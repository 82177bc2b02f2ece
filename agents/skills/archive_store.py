"""Where the archives of skills are: beside the bytes of files, in a folder for each skill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from agents.errors import NotFound, Unavailable
from agents.hands.checkpoint_store import CheckpointStore
from agents.hands.threads import to_its_end

FOLDER = "skills"
_PIECE_BYTES = 1024 * 1024


class StoredArchives:
    """The SkillArchives of a directory, or of anything that fsspec reaches."""

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store

    async def put(self, skill_id: str, version_id: str, archive: bytes) -> None:
        """See SkillArchives.put."""

        def work() -> None:
            with self._store.writing(folder_of(skill_id), version_id) as sink:
                sink.write(archive)

        # A caller who is cancelled waits for the end: what is half there is removed by whoever removes the version.
        await to_its_end(asyncio.to_thread(work))

    async def get(self, skill_id: str, version_id: str, size: int) -> bytes:
        """See SkillArchives.get."""
        return b"".join([piece async for piece in self.pieces(skill_id, version_id, size)])

    async def pieces(self, skill_id: str, version_id: str, size: int) -> AsyncGenerator[bytes]:
        """See SkillArchives.pieces."""
        folder, start = folder_of(skill_id), 0
        while start < size:
            length = min(size - start, _PIECE_BYTES)
            try:
                piece = await to_its_end(asyncio.to_thread(self._store.read, folder, version_id, start, length))
            except FileNotFoundError:
                raise _missing(version_id) from None
            if not piece:
                raise Unavailable(f"the archive of skill version {version_id} is not whole")
            yield piece
            start += len(piece)

    async def remove(self, skill_id: str, version_id: str) -> None:
        """See SkillArchives.remove."""
        await to_its_end(asyncio.to_thread(self._store.remove, folder_of(skill_id), [version_id]))

    async def remove_all(self, skill_id: str) -> None:
        """See SkillArchives.remove_all."""
        await to_its_end(asyncio.to_thread(self._store.remove_folder, folder_of(skill_id)))


class MemoryArchives:
    """The SkillArchives of one process's memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def put(self, skill_id: str, version_id: str, archive: bytes) -> None:
        self.kept[skill_id, version_id] = archive

    async def get(self, skill_id: str, version_id: str, size: int) -> bytes:
        archive = self.kept.get((skill_id, version_id))
        if archive is None:
            raise _missing(version_id)
        return archive[:size]

    async def pieces(self, skill_id: str, version_id: str, size: int) -> AsyncGenerator[bytes]:
        yield await self.get(skill_id, version_id, size)

    async def remove(self, skill_id: str, version_id: str) -> None:
        self.kept.pop((skill_id, version_id), None)

    async def remove_all(self, skill_id: str) -> None:
        self.kept = {place: archive for place, archive in self.kept.items() if place[0] != skill_id}


def folder_of(skill_id: str) -> str:
    """Return the folder of a skill's archives: each is named by its version."""
    return f"{FOLDER}/{skill_id}"


def _missing(version_id: str) -> NotFound:
    return NotFound(f"the archive of skill version {version_id} is not there")
