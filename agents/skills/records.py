"""Skills and their versions as they are stored, and the ports to them and to their archives."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.access.workspaces import DEFAULT_WORKSPACE
from agents.listing import Listing

LATEST = "latest"
"""Stands for the newest version wherever a version is named."""
MOST_VERSIONS = 1000  # ours, of one skill


@dataclass(frozen=True, slots=True)
class SkillRecord:
    """One skill. ``name`` never changes, and no other skill of the workspace has it."""

    id: str
    name: str
    display_name: str
    latest_version_id: str
    created_at: datetime
    updated_at: datetime
    workspace_id: str = DEFAULT_WORKSPACE

    @property
    def archived_at(self) -> datetime | None:
        """Skills are deleted, never archived."""
        return None


@dataclass(frozen=True, slots=True)
class SkillVersionRecord:
    """One version, which never changes. ``size`` is its archive's, in bytes."""

    id: str
    skill_id: str
    name: str
    description: str
    size: int
    created_at: datetime

    @property
    def archived_at(self) -> datetime | None:
        """See SkillRecord.archived_at."""
        return None


class SkillRepository(Protocol):
    """Skills and their versions. Every call may raise Unavailable."""

    async def insert(self, skill: SkillRecord, version: SkillVersionRecord) -> None:
        """Store a skill with its first version. Raises Conflict (``skill_name_taken``)."""
        ...

    async def get(self, skill_id: str) -> SkillRecord:
        """Raises NotFound."""
        ...

    async def list(self, query: Listing) -> Sequence[SkillRecord]:
        """Up to ``limit + 1`` rows."""
        ...

    async def delete(self, skill_id: str) -> None:
        """Delete a skill with all versions. Raises NotFound."""
        ...

    async def add_version(self, version: SkillVersionRecord) -> None:
        """Store a version: it is the latest from now on, and the skill changed when it was made.

        Raises NotFound, InvalidRequest for another name than the skill's, and when there are MOST_VERSIONS.
        """
        ...

    async def version(self, skill_id: str, version_id: str) -> SkillVersionRecord:
        """Return a version, or the LATEST. Raises NotFound."""
        ...

    async def versions(self, skill_id: str, query: Listing) -> Sequence[SkillVersionRecord]:
        """Up to ``limit + 1`` rows. Raises NotFound."""
        ...

    async def delete_version(self, skill_id: str, version_id: str, moment: datetime) -> None:
        """Delete a version. The newest that is left is the latest then.

        Raises NotFound, InvalidRequest for the only one that there is.
        """
        ...


class ArchiveSource(Protocol):
    """Where sandbox hosts get the archives of versions from."""

    async def get(self, skill_id: str, version_id: str, size: int) -> bytes:
        """Return an archive of *size* bytes. Raises NotFound, Unavailable, ValueError for what is no skill's."""
        ...


class SkillArchives(ArchiveSource, Protocol):
    """Where the archives of versions are kept. Invariant: a version that is stored has its archive.

    So an archive is put before its version is stored, and removed when the version is gone.
    """

    async def put(self, skill_id: str, version_id: str, archive: bytes) -> None:
        """Raises Unavailable."""
        ...

    def pieces(self, skill_id: str, version_id: str, size: int) -> AsyncGenerator[bytes]:
        """Yield an archive of *size* bytes, little of it at a time. Raises NotFound, Unavailable."""
        ...

    async def remove(self, skill_id: str, version_id: str) -> None:
        """Delete an archive; one that is not there is gone already. Raises Unavailable."""
        ...

    async def remove_all(self, skill_id: str) -> None:
        """Delete all archives of a skill. Raises Unavailable."""
        ...
