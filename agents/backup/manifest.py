"""What a backup says of itself: who made it, of what, and each of its files with size and SHA-256.

Its own digest is in it too, so that a damaged manifest is told from damaged files.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict

from agents.errors import InvalidRequest

NAME = "manifest.json"
FORMAT = 1
"""Of what a backup is made of; another number is another layout."""


class BadBackup(InvalidRequest):
    """A backup that cannot be used; the message names what is wrong with it."""


class FileEntry(BaseModel):
    """One file of the backup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    size: int
    sha256: str


class Manifest(BaseModel):
    """Everything that is known of a backup without looking into its files."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    hecaton: str
    """Version of the release that made it."""
    made_at: AwareDatetime
    database: Literal["sqlite", "postgresql"]
    schema_revision: str
    """What the database's tables were like; a release that does not know it must not restore it."""
    sessions: int
    checkpoints: Literal["copied", "left", "off"]
    """Whether copies of sandboxes' files are inside, left where they are (``--no-checkpoints``), or never made."""
    master_keys: tuple[str, ...]
    """Ids of the master keys that open the vaults' secrets in the database. The keys themselves are never inside."""
    left_out: tuple[str, ...]
    """What the data directory has that is not inside."""
    warnings: tuple[str, ...]
    files: tuple[FileEntry, ...]

    @property
    def total_bytes(self) -> int:
        return sum(entry.size for entry in self.files)

    def to_bytes(self) -> bytes:
        """Return the manifest as it is written, with its own digest."""
        content = self.model_dump(mode="json")
        return (json.dumps({**content, "sha256": _digest(content)}, indent=1) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read it back. Raises BadBackup for what is damaged, or of another format."""
        try:
            content = cast("dict[str, object]", json.loads(data))
            digest = content.pop("sha256", None)
            found = content.get("format")
            if found != FORMAT:
                raise BadBackup(f"{NAME}: the backup has format {found}, this release reads format {FORMAT}")
            if digest != _digest(content):
                raise BadBackup(f"{NAME} is damaged: its digest is another")
            return cls.model_validate(content)
        except (ValueError, TypeError, AttributeError) as error:
            raise BadBackup(f"{NAME} is damaged: {error}") from error


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
